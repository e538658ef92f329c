"""What production answers in a window, drawn at random: healthy, or degraded in one way on purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

Z_95 = 1.6448536269514722  # the 95th percentile of the standard normal distribution


@dataclass(frozen=True)
class Traffic:
    """How a production answers.

    Attributes:
        error_rate: share of requests that end in a server error.
        p95_seconds: 95th percentile of the seconds of an answer.
        spread: standard deviation of their logarithm: with 0.5 the median is 0.44 of the 95th percentile.
        wrong_release: share of answers that name another version.
        wrong_lists: share of known users who get another list.
        fallbacks: share of known users who are answered as new users; their lists are wrong too.
    """

    error_rate: float = 0.001
    p95_seconds: float = 0.25
    spread: float = 0.5
    wrong_release: float = 0.0
    wrong_lists: float = 0.0
    fallbacks: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """The answers of one window.

    Attributes:
        requests: probes that were sent.
        errors: of them, answered with a server error.
        served: probes for users that got an answer.
        wrong_release: of them, with another version.
        known: probes for known users that got an answer.
        wrong_lists: of them, with another list.
        fallbacks: of them, as for a new user.
        seconds: of the answers for known and unknown users.
    """

    requests: int
    errors: int
    served: int
    wrong_release: int
    known: int
    wrong_lists: int
    fallbacks: int
    seconds: tuple[float, ...]


HEALTHY = Traffic()
# Each in one way; the latency exactly at both of its bounds: 20 % and 50 ms above 250 ms.
DEGRADATIONS: dict[str, Traffic] = {
    "errors from 0.1 % to 2 %": replace(HEALTHY, error_rate=0.02),
    "p95 from 250 ms to 300 ms: +20 % and +50 ms": replace(HEALTHY, p95_seconds=0.3),
    "wrong version in one answer of four": replace(HEALTHY, wrong_release=0.25),
    "wrong version in all answers": replace(HEALTHY, wrong_release=1.0),
    "a wrong list for 5 % of known users": replace(HEALTHY, wrong_lists=0.05),
    "fallback for 5 % of known users": replace(HEALTHY, fallbacks=0.05),
    "fallback for all known users": replace(HEALTHY, fallbacks=1.0),
}


def draw_window(traffic: Traffic, known: int, unknown: int, malformed: int, rng: Generator) -> Drawn:
    """Draw the answers to a number of probes of each kind; no two depend on each other."""
    requests = known + unknown + malformed
    errors = int(rng.binomial(requests, traffic.error_rate))
    failed = rng.multivariate_hypergeometric([known, unknown, malformed], errors)
    answered, others = known - int(failed[0]), unknown - int(failed[1])
    fallbacks = int(rng.binomial(answered, traffic.fallbacks))
    wrong = fallbacks + int(rng.binomial(answered - fallbacks, traffic.wrong_lists))
    median = np.log(traffic.p95_seconds) - Z_95 * traffic.spread
    return Drawn(
        requests=requests,
        errors=errors,
        served=answered + others,
        wrong_release=int(rng.binomial(answered + others, traffic.wrong_release)),
        known=answered,
        wrong_lists=wrong,
        fallbacks=fallbacks,
        seconds=tuple(rng.lognormal(median, traffic.spread, answered + others).tolist()),
    )
