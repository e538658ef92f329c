"""OCI Monitoring: what OCI counts of a deployment, this project's own metrics, and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.oci_clients.tags import PROJECT_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from recdeploy_ops.oci_clients.sessions import OciSession

DEPLOYMENTS = "oci_datascience_modeldeploy"  # OCI's namespace of the metrics of model deployments
NAMESPACE = "recdeploy"  # of this project's metrics
SERVER_ERROR = "5XX"
MINUTE = timedelta(minutes=1)
PENDING = "PT5M"  # how long a rule must hold before an alarm fires


@dataclass(frozen=True)
class Counts:
    """What OCI has counted of a deployment in a time.

    Attributes:
        requests: predict requests.
        errors: of them, answered with a status of 500 or more.
        p95_ms: 95th percentile of the milliseconds of successful answers; None without any.
    """

    requests: int
    errors: int
    p95_ms: float | None


@dataclass(frozen=True)
class Alarm:
    """An alarm as this project wants it.

    Attributes:
        name: its display name, by which it is found again.
        namespace: of the metric.
        query: in the Monitoring Query Language, with the rule that fires it.
        severity: ``CRITICAL``, ``ERROR``, ``WARNING`` or ``INFO``.
        body: what a person reads.
    """

    name: str
    namespace: str
    query: str
    severity: str
    body: str


class Monitoring:
    """Metrics and alarms of one compartment.

    Args:
        session: signs the requests.
    """

    def __init__(self, session: OciSession) -> None:
        self._session = session

    @cached_property
    def _client(self) -> Any:
        return self._session.monitoring(posts=False)

    @cached_property
    def _posting_client(self) -> Any:
        return self._session.monitoring(posts=True)

    @property
    def _compartment(self) -> str:
        return self._session.profile.compartment_id

    def count_answers(self, deployment_id: str, start: datetime, end: datetime) -> Counts:
        """Return what OCI has counted of a deployment's answers from start to end; it counts with a delay of minutes.

        Raises:
            CloudRefusedError: the metrics may not be read.
            CloudUnavailableError: Monitoring does not answer.
        """
        where = f'{{resourceId = "{deployment_id}"}}'
        requests = self._per_minute(f"PredictRequestCount[1m]{where}.grouping().sum()", start, end)
        failed = f'{{resourceId = "{deployment_id}", statusFamily = "{SERVER_ERROR}"}}'
        errors = self._per_minute(f"PredictResponse[1m]{failed}.grouping().count()", start, end)
        total = int(sum(requests))
        return Counts(total, min(int(sum(errors)), total), self._read_p95(deployment_id, start, end))

    def post(self, values: Mapping[str, float], dimensions: Mapping[str, str], at: datetime) -> None:
        """Publish one value of each metric in the namespace `NAMESPACE`.

        Args:
            values: by the metric's name.
            dimensions: of all of them.
            at: when they were measured, UTC; OCI accepts two hours ago to ten minutes ahead.

        Raises:
            CloudRefusedError: they may not be posted, or are invalid.
            CloudUnavailableError: Monitoring does not answer.
        """
        import oci.monitoring.models as sdk

        metrics = [
            sdk.MetricDataDetails(
                namespace=NAMESPACE,
                compartment_id=self._compartment,
                name=name,
                dimensions=dict(dimensions),
                datapoints=[sdk.Datapoint(timestamp=at, value=value)],
            )
            for name, value in values.items()
        ]
        details = sdk.PostMetricDataDetails(metric_data=metrics, batch_atomicity="ATOMIC")
        with calling(f"post the metrics {', '.join(values)}"):
            self._posting_client.post_metric_data(details)

    def keep_alarm(self, alarm: Alarm, *, project: str, topic_id: str) -> str:
        """Create an alarm, or update it where it differs; return ``created``, ``updated`` or ``kept``.

        Whether a person has switched it off, and for how long a rule must hold, stays as it is in OCI.

        Args:
            alarm: as it is to be.
            project: for its tag.
            topic_id: OCID of the Notifications topic that it publishes to.
        """
        wanted = self._details(alarm, topic_id)
        known = self._find_alarm(alarm.name)
        if known is None:
            self._create_alarm(wanted, project)
            return "created"
        if all(getattr(known, name) == value for name, value in wanted.items()):
            return "kept"
        self._update_alarm(known.id, wanted)
        return "updated"

    def _details(self, alarm: Alarm, topic_id: str) -> dict[str, Any]:
        """Return the fields of an alarm that this project determines."""
        return {
            "display_name": alarm.name,
            "metric_compartment_id": self._compartment,
            "namespace": alarm.namespace,
            "query": alarm.query,
            "severity": alarm.severity,
            "body": alarm.body,
            "destinations": [topic_id],
        }

    def _find_alarm(self, name: str) -> Any | None:
        """Return the alarm with a display name in full; None if there is none."""
        with calling(f"list the alarms named {name!r}"):
            found = self._client.list_alarms(self._compartment, display_name=name, lifecycle_state="ACTIVE").data
        if not found:
            return None
        with calling(f"read the alarm {name!r}"):
            return self._client.get_alarm(found[0].id).data

    def _create_alarm(self, wanted: Mapping[str, Any], project: str) -> None:
        import oci.monitoring.models as sdk

        details = sdk.CreateAlarmDetails(
            compartment_id=self._compartment,
            is_enabled=True,
            pending_duration=PENDING,
            freeform_tags={PROJECT_TAG: project},
            **wanted,
        )
        # The SDK's own retry token, new each time: with a constant one, an alarm that somebody deletes would stay away
        # for a day.
        with calling(f"create the alarm {wanted['display_name']!r}"):
            self._client.create_alarm(details)

    def _update_alarm(self, alarm_id: str, wanted: Mapping[str, Any]) -> None:
        import oci.monitoring.models as sdk

        with calling(f"update the alarm {wanted['display_name']!r}"):
            self._client.update_alarm(alarm_id, sdk.UpdateAlarmDetails(**wanted))

    def _read_p95(self, deployment_id: str, start: datetime, end: datetime) -> float | None:
        """Return the percentile over the last hour at most; None without successful answers, or for under a minute."""
        minutes = min(int((end - start) / MINUTE), 60)
        if minutes < 1:
            return None
        query = (
            f'PredictLatency[{minutes}m]{{resourceId = "{deployment_id}", result = "Success"}}'
            ".grouping().percentile(0.95)"
        )
        points = self._points(query, end, end + MINUTE)
        return points[-1] if points else None

    def _per_minute(self, query: str, start: datetime, end: datetime) -> Sequence[float]:
        """Return the values of the minutes from start to end: OCI names a window by the moment at which it ends."""
        return self._points(query, start + MINUTE, end + MINUTE)

    def _points(self, query: str, first: datetime, until: datetime) -> Sequence[float]:
        """Return the values of the windows that end from the first moment on and before the other, a minute apart."""
        return [value for _, value in read_windows(self._client, self._compartment, query, (first, until), "1m")]


def read_windows(
    client: Any, compartment: str, query: str, period: tuple[datetime, datetime], step: str
) -> list[tuple[datetime, float]]:
    """Return what a query over a deployment's metrics gives: the end of each window, UTC, and its value.

    Args:
        client: the SDK's, which reads.
        compartment: OCID.
        query: in the Monitoring Query Language.
        period: the windows that end from the first moment on, and before the other.
        step: from one window to the next, ``1m`` or ``1h``.

    Raises:
        CloudRefusedError: the metrics may not be read.
        CloudUnavailableError: Monitoring does not answer.
    """
    import oci.monitoring.models as sdk

    first, until = period
    details = sdk.SummarizeMetricsDataDetails(
        namespace=DEPLOYMENTS, query=query, start_time=first, end_time=until, resolution=step
    )
    with calling(f"read {query}"):
        streams = client.summarize_metrics_data(compartment, details).data
    return [(point.timestamp, point.value) for stream in streams for point in stream.aggregated_datapoints]
