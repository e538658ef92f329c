"""Statistics of a window of data points.

Source: https://docs.oracle.com/en-us/iaas/Content/Monitoring/Tasks/query-metric-statistic.htm
"""

import math
from collections.abc import Callable, Mapping, Sequence

from oci_emulator.errors import NotImplementedByEmulatorError
from oci_emulator.monitoring.observations import Observation
from oci_emulator.monitoring.queries import Query, percentile_of


def statistic_of(query: Query) -> Callable[[Sequence[Observation]], float]:
    """Return the query's statistic, a function of at least one observation, the oldest first.

    Raises NotImplementedByEmulatorError for `absent`, `increment` and `rate`.
    """
    if query.statistic == "percentile":
        fraction = percentile_of(query.argument)
        return lambda window: _percentile(window, fraction)
    if query.statistic not in _STATISTICS:
        raise NotImplementedByEmulatorError(f"The statistic {query.statistic}() is not emulated.")
    return _STATISTICS[query.statistic]


def _sum(window: Sequence[Observation]) -> float:
    return math.fsum(item.value * item.count for item in window)


def _count(window: Sequence[Observation]) -> float:
    return float(sum(item.count for item in window))


def _mean(window: Sequence[Observation]) -> float:
    return _sum(window) / _count(window)


def _percentile(window: Sequence[Observation], fraction: float) -> float:
    """Return the smallest value that at least this fraction does not exceed (OCI estimates it)."""
    rank, passed = fraction * _count(window), 0
    ordered = sorted(window, key=lambda item: item.value)
    for item in ordered:
        passed += item.count
        if passed >= rank:
            return item.value
    return ordered[-1].value


_STATISTICS: Mapping[str, Callable[[Sequence[Observation]], float]] = {
    "avg": _mean,
    "count": _count,
    "first": lambda window: window[0].value,
    "last": lambda window: window[-1].value,
    "max": lambda window: max(item.value for item in window),
    "mean": _mean,
    "min": lambda window: min(item.value for item in window),
    "sum": _sum,
}
