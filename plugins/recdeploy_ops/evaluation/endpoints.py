"""Probe an endpoint or an artifact like its users, and compare the answers with the expected ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.domain.gates.endpoint import (
    Agreement,
    ChangeFacts,
    EndpointFacts,
    LatencyFacts,
    describe_release,
    jaccard,
    percentile,
)
from recdeploy_ops.domain.records import Reply
from recdeploy_ops.evaluation.probes import MALFORMED, Expectation, Probe, Ranking, plan_probes

if TYPE_CHECKING:
    from pathlib import Path


Ask = Callable[[object], Reply]

SCORE = "score"  # the guide's authors' name for a rating
NEW_USER = "Recommendations for new user (popular items)"
PROBLEMS = 3  # reported of each kind


def probe_endpoint(ask: Ask, *, expected: Expectation, malformed: int = len(MALFORMED)) -> EndpointFacts:
    """Probe an endpoint for every user of the expectation, and with ``malformed`` malformed requests."""
    probes = plan_probes(expected, malformed)
    return measure_replies(probes, [ask(probe.request) for probe in probes], expected)


def probe_artifact(folder: Path, *, expected: Expectation, malformed: int = len(MALFORMED)) -> EndpointFacts:
    """Probe an artifact likewise in a clean process, before it is deployed.

    Raises:
        IntegrityError: it does not load, or does not answer.
    """
    probes = plan_probes(expected, malformed)
    answers = load_in_clean_process(folder, [probe.request for probe in probes])
    return measure_replies(probes, [Reply(200, answer, 0.0) for answer in answers], expected)


def compare_latency(ask_test: Ask, ask_production: Ask | None, requests: Sequence[object]) -> LatencyFacts:
    """Measure both endpoints in turn, so that a slow network affects both.

    The first request to each opens the connection and is not counted.

    Args:
        ask_test: the endpoint to judge.
        ask_production: the endpoint to compare with; None before the first release.
        requests: well-formed ones.
    """
    asks = [ask_test] if ask_production is None else [ask_test, ask_production]
    replies: list[list[Reply]] = [[] for _ in asks]
    for number, request in enumerate([*requests[:1], *requests]):
        turn = range(len(asks)) if number % 2 else reversed(range(len(asks)))
        for which in turn:
            reply = asks[which](request)
            if number:
                replies[which].append(reply)
    seconds = [[reply.seconds for reply in side if _served_ranking(reply) is not None] for side in replies]
    production = seconds[1] if ask_production else []
    return LatencyFacts(
        requests=len(requests),
        test_p50=percentile(seconds[0], 0.5),
        test_p95=percentile(seconds[0], 0.95),
        production_p50=percentile(production, 0.5),
        production_p95=percentile(production, 0.95),
        production_asked=ask_production is not None,
        test_failed=len(requests) - len(seconds[0]),
        production_failed=len(requests) - len(production) if ask_production else 0,
    )


def compare_with_production(ask_production: Ask, expected: Expectation) -> ChangeFacts:
    """Compare the candidate's lists of the sampled users with production's answers for them."""
    changed, unreadable, overlaps = 0, 0, []
    for user, ranking in expected.known.items():
        served = _served_ranking(ask_production({"user_id": user, "top_k": expected.top_k}))
        if served is None:
            unreadable += 1
            continue
        changed += served != ranking
        overlaps.append(jaccard([item for item, _ in served], [item for item, _ in ranking]))
    mean = sum(overlaps) / len(overlaps) if overlaps else None
    return ChangeFacts(len(overlaps), changed, mean, unreadable)


def measure_replies(probes: Sequence[Probe], replies: Sequence[Reply], expected: Expectation) -> EndpointFacts:
    """Compare the replies with what the probes expect."""
    known: list[str] = []
    unknown: list[str] = []
    malformed: list[str] = []
    releases: list[tuple[object, object]] = []
    for probe, reply in zip(probes, replies, strict=True):
        if probe.recommendations is None:
            malformed.append(_find_fault_in_error(probe, reply))
            continue
        (known if probe.user_id in expected.known else unknown).append(
            _find_fault(probe, reply, is_known=probe.user_id in expected.known)
        )
        if isinstance(reply.body, dict):
            releases.append((reply.body.get("model_version"), reply.body.get("digest")))
    return EndpointFacts(
        version=expected.version,
        digest=expected.digest,
        known=_agreement(known),
        unknown=_agreement(unknown),
        malformed=_agreement(malformed),
        server_errors=sum(reply.status >= 500 or reply.status <= 0 for reply in replies),
        served=tuple(dict.fromkeys(describe_release(*release) for release in releases)),
        wrong_release=sum(release != (expected.version, expected.digest) for release in releases),
    )


def _find_fault(probe: Probe, reply: Reply, *, is_known: bool) -> str:
    """Return what is wrong with the answer for a user, empty when nothing is."""
    body = reply.body
    if reply.status != 200 or not isinstance(body, dict):
        return f"{probe.user_id} got status {reply.status}"
    if body.get("user_id") != probe.user_id:
        return f"{probe.user_id} was answered as {_quote(body.get('user_id'))}"
    if not is_known and body.get("message") != NEW_USER:
        return f"{probe.user_id} is unknown but was answered with {_quote(body.get('message'))}"
    if _ranking_of(reply) != probe.recommendations:
        return f"{probe.user_id} got {_describe(_ranking_of(reply))} instead of {_describe(probe.recommendations)}"
    return "" if body.get("count") == len(probe.recommendations or ()) else f"{probe.user_id} got a wrong count"


def _find_fault_in_error(probe: Probe, reply: Reply) -> str:
    error = reply.body.get("error") if isinstance(reply.body, dict) else None
    if reply.status >= 500 or reply.status <= 0:
        return f"{json.dumps(probe.request)[:80]} got status {reply.status}"
    fields = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None,)
    has_error = all(isinstance(field, str) and field for field in fields)
    return "" if has_error else f"{json.dumps(probe.request)[:80]} got no error object"


def _ranking_of(reply: Reply, rating: str = "rating") -> Ranking | None:
    """Return the list in an answer, with this field of its rows as rating; None when there is none."""
    rows = reply.body.get("recommendations") if reply.status == 200 and isinstance(reply.body, dict) else None
    try:
        return None if rows is None else tuple((str(row["product_id"]), row[rating]) for row in rows)
    except (TypeError, KeyError):
        return None


def _served_ranking(reply: Reply) -> Ranking | None:
    """Return the list in an answer of production, which may be of another project: those call the rating `score`."""
    ranking = _ranking_of(reply)
    return _ranking_of(reply, SCORE) if ranking is None else ranking


def _describe(ranking: Ranking | None) -> str:
    if ranking is None:
        return "no list"
    return (
        f"{len(ranking)} items ({', '.join(f'{_quote(item)} {_quote(rating)}' for item, rating in ranking[:2])}, ...)"
    )


def _quote(value: object) -> str:
    """Return any value from an endpoint in a form that can be stored and printed."""
    return ascii(value)[:60]


def _agreement(faults: list[str]) -> Agreement:
    problems = [fault for fault in faults if fault]
    return Agreement(len(faults), len(faults) - len(problems), tuple(problems[:PROBLEMS]))
