"""The Monitoring Query Language, as far as it is emulated.

`metric[interval]{dimension = "value", ...}.grouping().statistic() > threshold`; instead of `grouping()`,
`groupBy(dimension, ...)`; dimensions, grouping and threshold are optional. Anything else answers 501.
Source: https://docs.oracle.com/en-us/iaas/Content/Monitoring/Reference/mql.htm
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oci_emulator.errors import InvalidParameterError, NotImplementedByEmulatorError

_DIMENSION = r'\s*([\w.-]+)\s*=\s*"((?:[^"\\]|\\.)*)"\s*'
_QUERY = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w.$-]*)\s*\[\s*(?P<interval>\w+)\s*\]\s*"
    r'(?:\{(?P<dimensions>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s*)?'
    r"(?P<functions>(?:\.\s*\w+\s*\([^()]*\)\s*)+)"
    r"(?P<rule>(?:[<>]=?|==|!=)\s*-?[\d.]+|(?:not\s+)?in\s*\(\s*-?[\d.]+\s*,\s*-?[\d.]+\s*\))?\s*"
)
_FUNCTION = re.compile(r"\.\s*(\w+)\s*\(([^()]*)\)")
_STATISTICS = frozenset(
    {"absent", "avg", "count", "first", "increment", "last", "max", "mean", "min", "percentile", "rate", "sum"}
)
_SECONDS = {"m": (60, 60), "h": (3600, 24), "d": (86400, 1)}  # of the unit, and its highest number


@dataclass(frozen=True)
class Query:
    """A parsed query.

    Attributes:
        metric: the metric's name.
        interval: the length of a window in seconds.
        dimensions: values that a stream must have.
        groups: the dimensions to group by; empty for one group of all streams, None without grouping.
        statistic: its name.
        argument: the argument of the statistic, or an empty text.
        rule: the trigger rule, such as `> 85`; None if there is none.
    """

    metric: str
    interval: int
    dimensions: Mapping[str, str]
    groups: Sequence[str] | None
    statistic: str
    argument: str
    rule: str | None


def parse_query(text: object) -> Query:
    """Parse a query.

    Raises:
        InvalidParameterError: no such interval, statistic or percentile.
        NotImplementedByEmulatorError: anything else that was not understood.
    """
    match = _QUERY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _not_emulated(text)
    *grouping, (statistic, argument) = _FUNCTION.findall(match["functions"])
    if statistic not in _STATISTICS:
        raise InvalidParameterError(f"{statistic}() is not one of {', '.join(sorted(_STATISTICS))}.")
    if statistic == "percentile":
        percentile_of(argument)
    return Query(
        metric=match["metric"],
        interval=duration(match["interval"], "The interval"),
        dimensions=_dimensions(match["dimensions"], text),
        groups=_groups(grouping, text),
        statistic=statistic,
        argument=argument.strip(),
        rule=match["rule"],
    )


def duration(text: object, what: str) -> int:
    """Return the seconds of `1m` to `60m`, `1h` to `24h` or `1d`. Raises InvalidParameterError."""
    match = re.fullmatch(r"([1-9]\d?)([mhd])", text) if isinstance(text, str) else None
    if match:
        seconds, highest = _SECONDS[match[2]]
        if int(match[1]) <= highest:
            return int(match[1]) * seconds
    raise InvalidParameterError(f"{what} is {text!r}, not 1m to 60m, 1h to 24h, or 1d.")


def percentile_of(argument: str) -> float:
    """Return the argument of `percentile`, more than 0 and less than 1. Raises InvalidParameterError."""
    try:
        fraction = float(argument)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise InvalidParameterError(f"percentile({argument}) is not between 0 and 1, such as percentile(0.95).")
    return fraction


def _dimensions(text: str | None, query: object) -> dict[str, str]:
    if text is None:
        return {}
    if not re.fullmatch(f"{_DIMENSION}(?:,{_DIMENSION})*", text):
        raise _not_emulated(query)
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in re.findall(_DIMENSION, text)}


def _groups(functions: Sequence[tuple[str, str]], query: object) -> Sequence[str] | None:
    if not functions:
        return None
    [(name, argument), *more] = functions
    if more or name not in ("grouping", "groupBy") or (name == "grouping") == bool(argument.strip()):
        raise _not_emulated(query)
    return [part.strip() for part in argument.split(",")] if name == "groupBy" else []


def _not_emulated(query: object) -> NotImplementedByEmulatorError:
    return NotImplementedByEmulatorError(
        f'The query {query!r} is not emulated; use metric[1m]{{dimension = "value"}}.groupBy(dimension).mean() > 1, '
        "where all but metric, interval and statistic is optional."
    )
