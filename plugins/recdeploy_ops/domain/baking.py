"""The bake of a promoted version: windows of requests are judged, and decide whether it stays in production.

Everything here is pure. The intervals are measured in `evaluation.intervals`; a bound of None was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_REQUESTS = 200  # in a window; with fewer it is missing
RECENT, ENOUGH = 5, 3  # windows: what is true in 3 of the last 5 is acted on
LONGEST = 2  # times the planned number of windows: then it is held


class Health(StrEnum):
    """What one window says about production."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    MISSING = "missing"


class BakeMove(StrEnum):
    """What a bake does after a window."""

    CONTINUE = "continue"
    PASS = "pass"  # noqa: S105 - a word of this project
    HOLD = "hold"
    ROLL_BACK = "roll back"


class BakeResult(StrEnum):
    """How a bake ended."""

    PASSED = "passed"
    HELD = "held"
    ROLLED_BACK = "rolled back"
    ROLLBACK_FAILED = "rollback failed"
    NOT_BAKED = "not baked"


class Tolerances(Protocol):
    """What counts as degraded, named as in the settings."""

    @property
    def max_error_rate(self) -> float:
        """Return the share of server errors that is tolerated even where the previous champion had fewer."""
        ...

    @property
    def max_wrong_share(self) -> float:
        """Return the tolerated share of answers with another release, another list, or a fallback."""
        ...

    @property
    def max_latency_ratio(self) -> float:
        """Return the tolerated ratio of the 95th percentile to the previous champion's."""
        ...

    @property
    def max_latency_excess_ms(self) -> float:
        """Return by how many milliseconds the 95th percentile may exceed the previous champion's."""
        ...


@dataclass(frozen=True)
class Rate:
    """How many of a number of answers have a fault, with the interval of the true share.

    Attributes:
        count: answers with the fault.
        of: answers.
        low: lower bound of the share; None without answers.
        high: upper bound of the share; None without answers.
    """

    count: int
    of: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Percentile:
    """The 95th percentile of the seconds of answers, with its interval.

    Attributes:
        seconds: the estimate; None without answers.
        low: lower bound; None if there are too few answers for one.
        high: upper bound; None if there are too few answers for one.
    """

    seconds: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measurements:
    """What production answered in a window.

    Attributes:
        requests: probes that were answered, and customers' requests that OCI has counted.
        errors: of them, answered with a status of 500 or more.
        wrong_release: of the probes, answered with another version or digest.
        wrong_lists: of the probes for known users, answered with another list than the artifact's.
        fallbacks: of the probes for known users, answered as for a new user.
        latency: of the probes for users that got a list.
    """

    requests: int
    errors: Rate
    wrong_release: Rate
    wrong_lists: Rate
    fallbacks: Rate
    latency: Percentile


@dataclass(frozen=True)
class Baseline:
    """How the previous champion behaved right before the switch.

    Attributes:
        requests: that were measured.
        errors: of them, answered with a status of 500 or more.
        latency: of the probes that got a list.
    """

    requests: int
    errors: Rate
    latency: Percentile

    @property
    def is_measured(self) -> bool:
        """Return whether a version can be compared with it."""
        latency = self.latency
        return self.requests >= LEAST_REQUESTS and latency.seconds is not None and latency.high is not None


class Judgement(NamedTuple):
    """What a window says, and why, one reason each."""

    health: Health
    reasons: tuple[str, ...]


class NextStep(NamedTuple):
    """What a bake does next, and why."""

    move: BakeMove
    reason: str


def judge_window(found: Measurements, baseline: Baseline | None, tolerances: Tolerances) -> Judgement:
    """Judge one window: it is degraded only if an interval as a whole is beyond what is tolerated.

    Args:
        found: in the window.
        baseline: of the previous champion; None if nothing served before: latency is then not compared.
        tolerances: the bounds.
    """
    if found.requests < LEAST_REQUESTS:
        return Judgement(Health.MISSING, (f"{found.requests} requests were seen, {LEAST_REQUESTS} are needed",))
    problems = [*_find_wrong_answers(found, baseline, tolerances), *_find_slowness(found, baseline, tolerances)]
    if problems:
        return Judgement(Health.DEGRADED, tuple(problems))
    unmeasured = _find_unmeasured(found, baseline)
    if unmeasured:
        return Judgement(Health.MISSING, tuple(unmeasured))
    return Judgement(Health.HEALTHY, ())


def count_windows(bake_minutes: float, window_minutes: float) -> int:
    """Return how many windows a bake has: at least one, rounded up."""
    return max(1, -int(-bake_minutes // window_minutes))


def decide(windows: Sequence[Health], planned: int, *, can_roll_back: bool) -> NextStep:
    """Decide what a bake does after its newest window. A missing window counts for nothing, least of all as healthy.

    Args:
        windows: all so far, the oldest first.
        planned: how many must be healthy or degraded.
        can_roll_back: whether there is a previous champion.
    """
    recent = windows[-RECENT:]
    degraded, missing = recent.count(Health.DEGRADED), recent.count(Health.MISSING)
    seen = f"of the last {len(recent)} windows {degraded} were degraded and {missing} missing"
    if degraded >= ENOUGH:
        if can_roll_back:
            return NextStep(BakeMove.ROLL_BACK, seen)
        return NextStep(BakeMove.HOLD, f"{seen}, and there is no previous champion to go back to")
    if missing >= ENOUGH:
        return NextStep(BakeMove.HOLD, seen)
    judged = len(windows) - windows.count(Health.MISSING)
    if judged >= planned and windows[-1] is Health.HEALTHY and degraded < ENOUGH - 1:
        return NextStep(BakeMove.PASS, f"{judged} windows were judged; {seen}")
    if len(windows) >= max(LONGEST * planned, RECENT):
        return NextStep(BakeMove.HOLD, f"after {len(windows)} windows it has not passed; {seen}")
    return NextStep(BakeMove.CONTINUE, seen)


def _find_wrong_answers(found: Measurements, baseline: Baseline | None, tolerances: Tolerances) -> list[str]:
    before = baseline.errors.high if baseline is not None and baseline.is_measured else None
    allowed = max(tolerances.max_error_rate, before or 0.0)
    wrong = tolerances.max_wrong_share
    checks = (
        (found.errors, allowed, "requests ended in a server error"),
        (found.wrong_release, wrong, "probes were answered by another version or digest"),
        (found.wrong_lists, wrong, "known users got another list than the artifact's"),
        (found.fallbacks, wrong, "known users were answered as new users"),
    )
    return [
        f"{rate.count} of {rate.of} {what}: certainly more than {bound:.2%} (at least {rate.low:.2%})"
        for rate, bound, what in checks
        if rate.low is not None and rate.low > bound
    ]


def _find_slowness(found: Measurements, baseline: Baseline | None, tolerances: Tolerances) -> list[str]:
    if baseline is None or not baseline.is_measured:
        return []
    now, before = found.latency, baseline.latency
    if now.low is None or now.seconds is None or before.high is None or before.seconds is None:
        return []
    is_certain = now.low > before.high
    excess_ms = (now.seconds - before.seconds) * 1000
    is_relevant = (
        now.seconds > before.seconds * tolerances.max_latency_ratio and excess_ms > tolerances.max_latency_excess_ms
    )
    if not (is_certain and is_relevant):
        return []
    return [
        f"the 95th percentile is {now.seconds * 1000:.0f} ms (at least {now.low * 1000:.0f} ms); "
        f"the previous champion's was {before.seconds * 1000:.0f} ms (at most {before.high * 1000:.0f} ms)"
    ]


def _find_unmeasured(found: Measurements, baseline: Baseline | None) -> list[str]:
    """Return what could not be judged although there were enough requests."""
    missing = []
    if not found.wrong_lists.of:
        missing.append("no known user was answered")
    if baseline is not None and not baseline.is_measured:
        missing.append("the previous champion was not measured before the switch")
    if baseline is not None and found.latency.low is None:
        missing.append("too few answers to know the 95th percentile")
    return missing
