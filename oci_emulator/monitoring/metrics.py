"""PostMetricData and SummarizeMetricsData.

The rules of a posted metric are those of the SDK's `oci.monitoring.models.MetricDataDetails`.
"""

import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from oci_emulator.data_science.catalog import require
from oci_emulator.errors import InvalidParameterError, NotImplementedByEmulatorError, OciError
from oci_emulator.messages import OciRequest, document
from oci_emulator.monitoring.observations import DEPLOYMENTS, DETERMINED, Observation, Observations, Stream
from oci_emulator.monitoring.queries import Query, duration, parse_query
from oci_emulator.monitoring.statistics import statistic_of
from oci_emulator.store import Json
from oci_emulator.tenancies import Tenancy, parse_timestamp, timestamp_of

_NAMESPACE = re.compile(r"[A-Za-z]\w*", re.ASCII)
_NAME = re.compile(r"[A-Za-z][\w.$-]*", re.ASCII)
_RESERVED = ("oci_", "oracle_")
_MAX_STREAMS = 50
_MAX_DIMENSIONS = 20
_MAX_POINTS = 100_000
_MAX_AGE, _MAX_AHEAD = 2 * 3600, 600
_LAST_HOURS = 3 * 3600


@dataclass(frozen=True)
class Metrics:
    """The metrics of the tenancy."""

    observations: Observations
    tenancy: Tenancy

    def post(self, request: OciRequest) -> Response:
        """Answer PostMetricData: store the valid metric objects, and name the others."""
        body = request.json()
        posted = require(body, "metricData")
        atomicity = body.get("batchAtomicity") or "NON_ATOMIC"
        if not isinstance(posted, list) or atomicity not in ("ATOMIC", "NON_ATOMIC"):
            raise InvalidParameterError("metricData is not a list, or batchAtomicity not ATOMIC or NON_ATOMIC.")
        if len(posted) > _MAX_STREAMS:
            raise InvalidParameterError(
                f"{len(posted)} metric streams were posted; at most {_MAX_STREAMS} are allowed."
            )
        accepted, failed = [], []
        for metric in posted:
            try:
                accepted.append(self._checked(metric))
            except OciError as err:
                failed.append({"message": err.message, "metricData": metric})
        if failed and (atomicity == "ATOMIC" or not accepted):
            raise InvalidParameterError(failed[0]["message"])
        for metric in accepted:
            self.observations.post(metric)
        return document({"failedMetricsCount": len(failed), "failedMetrics": failed})

    def summarize(self, request: OciRequest) -> Response:
        """Answer SummarizeMetricsData."""
        compartment = self.tenancy.check_compartment(request.required_query("compartmentId"))
        if request.query.get("compartmentIdInSubtree", "false").lower() == "true":
            raise NotImplementedByEmulatorError("Queries of a whole subtree of compartments are not emulated.")
        body = request.json()
        namespace, query = require(body, "namespace"), parse_query(require(body, "query"))
        _check_determined(namespace, query)
        statistic = statistic_of(query)
        times = _times(body, query.interval)
        first, last = (times[0], times[-1]) if times else (0.0, 0.0)
        found = self.observations.between(namespace, query.metric, compartment, first - query.interval, last)
        found = [item for item in found if item.stream.resource_group == body.get("resourceGroup")]
        answer = []
        for stream, members in _streams(found, query):
            windows = ((end, [item for item in members if end - query.interval < item.time <= end]) for end in times)
            points = [(end, statistic(window)) for end, window in windows if window]
            if points:
                where = {"namespace": namespace, "compartmentId": compartment, "name": query.metric}
                answer.append({**where, **_shown(stream, points), "resolution": body.get("resolution")})
        return document(answer)

    def _checked(self, metric: Any) -> Json:
        """Return a metric object with the times of its points. Raises OciError for an invalid one."""
        if not isinstance(metric, dict):
            raise InvalidParameterError("A metric object is not an object.")
        self.tenancy.check_compartment(metric.get("compartmentId"))
        namespace, name = metric.get("namespace"), metric.get("name")
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise InvalidParameterError(f"namespace {namespace!r} is not a letter, then letters, digits and _.")
        if namespace.startswith(_RESERVED):
            raise InvalidParameterError(f"namespace {namespace!r} begins with {' or '.join(_RESERVED)}.")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidParameterError(f"name {name!r} is not a letter, then letters, digits, ., _, - and $.")
        group = metric.get("resourceGroup")
        if group is not None and (not isinstance(group, str) or not _NAME.fullmatch(group)):
            raise InvalidParameterError(
                f"resourceGroup {group!r} is not a letter, then letters, digits, ., _, - and $."
            )
        _check_texts(metric, "dimensions", 512)
        _check_texts({"metadata": {}} | metric, "metadata", 256)
        if not 1 <= len(metric["dimensions"]) <= _MAX_DIMENSIONS:
            raise InvalidParameterError(f"A metric has 1 to {_MAX_DIMENSIONS} dimensions.")
        points = metric.get("datapoints")
        if not isinstance(points, list) or not points:
            raise InvalidParameterError("datapoints has no data point.")
        return {**metric, "datapoints": [_point(point) for point in points]}


def _check_texts(metric: Json, name: str, longest: int) -> None:
    texts = metric.get(name)
    if not isinstance(texts, dict):
        raise InvalidParameterError(f"{name} is not an object.")
    for key, value in texts.items():
        if not re.fullmatch(r"[!-~]{1,256}", key) or not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise InvalidParameterError(f"{name}: {key!r} has no text of 1 to {longest} characters.")


def _point(point: Any) -> Json:
    if not isinstance(point, dict):
        raise InvalidParameterError("A data point is not an object.")
    value, count = point.get("value"), point.get("count", 1)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidParameterError(f"The value {value!r} is not a number.")
    if not isinstance(count, int) or count < 1:
        raise InvalidParameterError(f"The count {count!r} is not a positive integer.")
    moment, now = parse_timestamp(point.get("timestamp"), "timestamp").timestamp(), time.time()
    if not now - _MAX_AGE < moment < now + _MAX_AHEAD:
        raise InvalidParameterError(
            "The timestamp is 2 hours or more in the past, or 10 minutes or more in the future."
        )
    return {"time": moment, "value": float(value), "count": count}


def _check_determined(namespace: str, query: Query) -> None:
    """Refuse what Oracle's documentation does not determine, and rules, which belong to alarms."""
    if query.rule:
        raise NotImplementedByEmulatorError("A trigger rule is emulated in an alarm's query only.")
    determined = DETERMINED.get(query.metric) if namespace == DEPLOYMENTS else None
    if determined is not None and query.statistic not in determined:
        raise NotImplementedByEmulatorError(
            f"{query.statistic}() of {query.metric}: OCI does not document the values of single requests; "
            f"{' and '.join(determined)}() is emulated."
        )


def _times(body: Json, interval: int) -> list[float]:
    """Return the ends of the windows: from startTime, which counts, to endTime, which does not, by the resolution."""
    now = time.time()
    start = parse_timestamp(body["startTime"], "startTime").timestamp() if body.get("startTime") else now - _LAST_HOURS
    end = parse_timestamp(body["endTime"], "endTime").timestamp() if body.get("endTime") else now
    step = duration(body.get("resolution") or "1m", "resolution")
    if step > interval:
        raise InvalidParameterError("The resolution is longer than the interval of the query.")
    if end <= start:
        raise InvalidParameterError("endTime is not after startTime.")
    count = math.ceil((end - start) / step)
    if count > _MAX_POINTS:
        raise InvalidParameterError(f"The query would return more than {_MAX_POINTS} data points.")
    return [start + number * step for number in range(count)]


def _streams(found: Sequence[Observation], query: Query) -> Iterator[tuple[Stream, list[Observation]]]:
    """Yield each stream, or group of streams, that the query selects."""
    members: dict[str, list[Observation]] = defaultdict(list)
    streams: dict[str, Stream] = {}
    for item in found:
        dimensions = item.stream.dimensions
        if any(dimensions.get(name) != value for name, value in query.dimensions.items()):
            continue
        stream = item.stream
        if query.groups is not None:
            shown = {name: dimensions[name] for name in query.groups if name in dimensions}
            stream = Stream(shown, stream.resource_group, stream.metadata)
        streams.setdefault(stream.key, stream)
        members[stream.key].append(item)
    for key, stream in streams.items():
        yield stream, members[key]


def _shown(stream: Stream, points: Sequence[tuple[float, float]]) -> Json:
    return {
        "resourceGroup": stream.resource_group,
        "dimensions": stream.dimensions,
        "metadata": stream.metadata,
        "aggregatedDatapoints": [{"timestamp": timestamp_of(end), "value": value} for end, value in points],
    }
