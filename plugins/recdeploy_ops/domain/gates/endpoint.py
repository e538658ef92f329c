"""The endpoint gates: whether an endpoint answers as its release says, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


class LatencyThresholds(Protocol):
    """The latency bounds, named as in the settings; the test deployment is too slow only beyond both of them."""

    @property
    def max_latency_ratio(self) -> float:
        """Return the largest ratio of the test deployment's 95th percentile to production's."""
        ...

    @property
    def max_latency_excess_ms(self) -> float:
        """Return by how many milliseconds the test deployment's 95th percentile may exceed production's."""
        ...


@dataclass(frozen=True)
class Agreement:
    """How many answers were exactly as expected.

    Attributes:
        asked: requests sent.
        agreed: of them, answered as expected.
        problems: the faults of the first others.
    """

    asked: int
    agreed: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndpointFacts:
    """What an endpoint answered to the probes.

    Attributes:
        version: that must be served.
        digest: that must be served.
        known: users of the model, against ``recommendations.csv``.
        unknown: users who are not in the model, against the list for new users.
        malformed: malformed requests, which must get an error object.
        server_errors: answers with a status of 500 or more, or none at all.
        served: every version and digest seen in the answers, in words.
        wrong_release: answers with another version or digest.
    """

    version: int
    digest: str
    known: Agreement
    unknown: Agreement
    malformed: Agreement
    server_errors: int
    served: tuple[str, ...]
    wrong_release: int


@dataclass(frozen=True)
class LatencyFacts:
    """Seconds per answer of two endpoints that were probed in turn.

    Attributes:
        requests: sent to each.
        test_p50: median; None without answers.
        test_p95: 95th percentile.
        production_p50: of production; None when there is none, or without answers.
        production_p95: likewise.
        production_asked: whether production was probed.
        test_failed: requests that got no answer, or another status than 200.
        production_failed: likewise.
    """

    requests: int
    test_p50: float | None
    test_p95: float | None
    production_p50: float | None = None
    production_p95: float | None = None
    production_asked: bool = False
    test_failed: int = 0
    production_failed: int = 0


@dataclass(frozen=True)
class ChangeFacts:
    """What would change for a sample of users if the candidate were promoted.

    Attributes:
        users: compared.
        changed: of them, those whose list would change in any way.
        jaccard: mean Jaccard index of a user's two lists; None without users.
        unreadable: users to whom production gave no list.
    """

    users: int
    changed: int
    jaccard: float | None
    unreadable: int = 0


def judge_endpoint(
    facts: EndpointFacts, latency: Finding | None = None, changes: ChangeFacts | None = None
) -> GateReport:
    """Judge whether an endpoint serves its release.

    Args:
        facts: from the probes.
        latency: from `judge_latency`; None if latency does not matter (offline, after a promotion).
        changes: against production; None if there is none.
    """
    findings = [
        _judge_agreement("known_users", facts.known, "users of the model got their list of recommendations.csv"),
        _judge_agreement("unknown_users", facts.unknown, "users outside the model got the list for new users"),
        _judge_agreement("malformed_requests", facts.malformed, "malformed requests got an error object"),
        _judge_server_errors(facts),
        _judge_served(facts),
    ]
    if latency is not None:
        findings.append(latency)
    if changes is not None:
        findings.append(_report_changes(changes))
    return GateReport(tuple(findings))


def judge_latency(latency: LatencyFacts, gates: LatencyThresholds) -> Finding:
    """Judge whether the test deployment is slower than production beyond the thresholds.

    Args:
        latency: measured in turn with production.
        gates: the thresholds of the settings.
    """
    verdict, remark = _compare_latency(latency, gates)
    message = f"p50 {_ms(latency.test_p50)}, p95 {_ms(latency.test_p95)}"
    if latency.production_asked:
        message += f"; production in turn: p50 {_ms(latency.production_p50)}, p95 {_ms(latency.production_p95)}"
    message += f". {remark}"
    percent = (gates.max_latency_ratio - 1) * 100
    bound = f"<= production +{percent:g}% or +{gates.max_latency_excess_ms:g} ms"
    return Finding("latency_p95", verdict, latency.test_p95, bound, message, latency.requests, scale=Scale.SECONDS)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that ``share`` of the values do not exceed (nearest rank); None without values."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)), 1) - 1] if ranked else None


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """Return ``|A and B| / |A or B|`` of two lists of items; 1 for two empty ones."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 1.0


def _judge_agreement(gate: str, agreement: Agreement, what: str) -> Finding:
    share = agreement.agreed / agreement.asked if agreement.asked else None
    verdict = Verdict.PASS if agreement.asked and agreement.agreed == agreement.asked else Verdict.FAIL
    message = f"{agreement.agreed} of {agreement.asked} {what}."
    if agreement.problems:
        message += f" First: {'; '.join(agreement.problems)}."
    return Finding(gate, verdict, share, "== 1", message, agreement.asked)


def _judge_server_errors(facts: EndpointFacts) -> Finding:
    asked = facts.known.asked + facts.unknown.asked + facts.malformed.asked
    verdict = Verdict.PASS if asked and not facts.server_errors else Verdict.FAIL
    message = f"{facts.server_errors} of {asked} requests ended in a server error or got no answer."
    return Finding("server_errors", verdict, float(facts.server_errors), "== 0", message, asked)


def _judge_served(facts: EndpointFacts) -> Finding:
    expected = describe_release(facts.version, facts.digest)
    verdict = Verdict.PASS if facts.served and not facts.wrong_release else Verdict.FAIL
    served = " and ".join(facts.served) or "no release that they name"
    message = f"The answers come from {served}; expected: {expected}."
    return Finding("served_release", verdict, float(facts.wrong_release), "== 0", message)


def describe_release(version: object, digest: object) -> str:
    """Return version and digest as the words of a finding."""
    return f"version {ascii(version)[:20]}, digest {str(digest)[:12].encode('ascii', 'backslashreplace').decode()}"


def _compare_latency(latency: LatencyFacts, gates: LatencyThresholds) -> tuple[Verdict, str]:
    test, production = latency.test_p95, latency.production_p95
    if test is None or not math.isfinite(test) or latency.test_failed:
        return Verdict.HOLD, f"{latency.test_failed} of {latency.requests} requests got no list."
    if not latency.production_asked:
        return Verdict.PASS, "Nothing is in production to compare with."
    if production is None or not math.isfinite(production) or latency.production_failed:
        return Verdict.HOLD, f"Production gave no list to {latency.production_failed} of {latency.requests} requests."
    excess_ms = (test - production) * 1000
    if test > production * gates.max_latency_ratio and excess_ms > gates.max_latency_excess_ms:
        return Verdict.HOLD, "Slower than production beyond the bound: look at the test deployment's shape and logs."
    return Verdict.PASS, "Not slower than production beyond the bound."


def _report_changes(changes: ChangeFacts) -> Finding:
    share = changes.changed / changes.users if changes.users else None
    message = f"{changes.changed} of {changes.users} lists would change"
    if changes.jaccard is not None:
        message += f"; on average they share {changes.jaccard:.0%} of their items (Jaccard)"
    if changes.unreadable:
        message += f"; production gave no list to {changes.unreadable} users"
    return Finding("changed_lists", Verdict.PASS, share, "reported", message + ".", changes.users)


def _ms(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds * 1000:.1f} ms"
