"""What is measured: data points that clients posted, and answers of model deployments.

The metrics of a deployment are those of https://docs.oracle.com/en-us/iaas/data-science/using/metrics-model-deploy.htm
that a request shows: PredictRequestCount, PredictResponse and PredictLatency.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from oci_emulator.calls import Call
from oci_emulator.data_science.catalog import DEPLOYMENT
from oci_emulator.store import Json, Store

DEPLOYMENTS = "oci_datascience_modeldeploy"
PREDICT = "Predict"
# Of each metric: the unit, and the statistics whose result Oracle's documentation determines; None for all.
_UNITS = {"PredictRequestCount": "Count", "PredictResponse": "Count", "PredictLatency": "Milliseconds"}
DETERMINED: Mapping[str, frozenset[str] | None] = {
    "PredictRequestCount": frozenset({"sum"}),
    "PredictResponse": frozenset({"count"}),
    "PredictLatency": None,
}
KEEP_SECONDS = 90 * 86400


@dataclass(frozen=True)
class Stream:
    """Whose data it is: dimensions identify it within a metric, metadata only describes it."""

    dimensions: Mapping[str, str]
    resource_group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what identifies the stream."""
        return json.dumps([self.resource_group, self.dimensions], sort_keys=True)


@dataclass(frozen=True)
class Observation:
    """One data point of a stream: Unix time, value, and how often the value occurred."""

    stream: Stream
    time: float
    value: float
    count: int = 1


@dataclass(frozen=True)
class Observations:
    """The data points of the tenancy."""

    store: Store

    def post(self, metric: Json) -> None:
        """Store the data points of a posted metric object; `datapoints` has their `time`, `value` and `count`."""
        stream = json.dumps([metric["dimensions"], metric.get("resourceGroup"), metric.get("metadata") or {}])
        where = (metric["namespace"], metric["name"], metric["compartmentId"], stream)
        self.store.connection.executemany(
            "INSERT INTO datapoints VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*where, point["time"], point["value"], point["count"]) for point in metric["datapoints"]],
        )

    def observe(self, call: Call, seconds: float) -> None:
        """Count an answer to Predict, if the deployment exists and the request was authenticated."""
        deployment = call.deployment_id
        if call.operation != PREDICT or call.status in (None, HTTPStatus.UNAUTHORIZED) or deployment is None:
            return
        if self.store.find(DEPLOYMENT, deployment):
            answer = (time.time(), deployment, call.status, seconds * 1000)
            self.store.connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", answer)

    def remove_old(self) -> None:
        """Remove what is older than 90 days: so long does OCI keep metrics."""
        for table in ("datapoints", "answers"):
            query = f"DELETE FROM {table} WHERE time < ?"  # noqa: S608 - a table's name cannot be a bind variable
            self.store.connection.execute(query, (time.time() - KEEP_SECONDS,))

    def between(self, namespace: str, metric: str, compartment: str, start: float, end: float) -> list[Observation]:
        """Return the observations after `start` until `end`, both Unix times, the oldest first."""
        if namespace == DEPLOYMENTS:
            return list(self._answers(metric, compartment, start, end)) if metric in _UNITS else []
        rows = self.store.connection.execute(
            "SELECT stream, time, value, count FROM datapoints WHERE namespace = ? AND name = ? AND compartment = ?"
            " AND time > ? AND time <= ? ORDER BY time, rowid",
            (namespace, metric, compartment, start, end),
        )
        return [Observation(Stream(*json.loads(stream)), *point) for stream, *point in rows]

    def _answers(self, metric: str, compartment: str, start: float, end: float) -> Iterator[Observation]:
        resources = self.store.all_of(DEPLOYMENT)
        there = {resource.id for resource in resources if resource.body["compartmentId"] == compartment}
        rows = self.store.connection.execute(
            "SELECT time, deployment, status, milliseconds FROM answers WHERE time > ? AND time <= ? ORDER BY time",
            (start, end),
        )
        for moment, deployment, status, milliseconds in rows:
            if deployment in there:
                stream = Stream(_dimensions(metric, deployment, status), metadata={"unit": _UNITS[metric]})
                yield Observation(stream, moment, milliseconds if metric == "PredictLatency" else 1.0)


def _dimensions(metric: str, deployment: str, status: int) -> dict[str, str]:
    result = "Success" if status // 100 == 2 else "Failure"
    of_answer = {"statusCode": str(status), "statusFamily": f"{status // 100}XX", "result": result}
    shown = {"PredictRequestCount": (), "PredictResponse": tuple(of_answer), "PredictLatency": ("result",)}[metric]
    return {"resourceId": deployment, **{name: of_answer[name] for name in shown}}
