"""Interval estimates of rates and of a 95th percentile, by scipy. `domain.baking` judges them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, quantile_test

from recdeploy_ops.domain.baking import Percentile, Rate
from recdeploy_ops.domain.gates.endpoint import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95  # of a rate's interval, two-sided
# Of a percentile's. One measurement of the champion is compared with every window of a bake: with 0.95 an unlucky one
# rolled back healthy versions, 2 in 10,000 windows of 500 requests.
P95_CONFIDENCE = 0.98
P95 = 0.95


@lru_cache(maxsize=4096)
def measure_rate(count: int, of: int) -> Rate:
    """Return a rate with Wilson's interval.

    Args:
        count: answers with a fault.
        of: answers.
    """
    if not of:
        return Rate(0, 0, None, None)
    interval = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return Rate(count, of, float(interval.low), float(interval.high))


def measure_p95(seconds: Sequence[float]) -> Percentile:
    """Return the 95th percentile with the interval of order statistics, which assumes no distribution.

    A bound is None if there are too few values for it: fewer than 90 have no upper bound.

    Args:
        seconds: of answers, in any order.
    """
    if not seconds:
        return Percentile(None, None, None)
    ordered = sorted(seconds)
    low, high = _bounds(len(ordered))
    return Percentile(
        percentile(ordered, P95),
        None if low is None else ordered[low - 1],
        None if high is None else ordered[high - 1],
    )


@lru_cache(maxsize=4096)
def _bounds(count: int) -> tuple[int | None, int | None]:
    """Return the ranks, from 1, of the values that are the bounds: they depend on the number of values alone."""
    interval = quantile_test(np.arange(1.0, count + 1), q=1.0, p=P95).confidence_interval(P95_CONFIDENCE)
    return _rank(interval.low), _rank(interval.high)


def _rank(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
