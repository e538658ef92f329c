"""The endpoints of Monitoring."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain
from oci_emulator.monitoring.alarms import Alarms
from oci_emulator.monitoring.metrics import Metrics


@dataclass(frozen=True)
class Monitoring:
    """The service."""

    metrics: Metrics
    alarms: Alarms

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "PostMetricData": Plain(self.metrics.post),
            "SummarizeMetricsData": Plain(self.metrics.summarize),
            "CreateAlarm": Plain(self.alarms.create),
            "GetAlarm": Plain(self.alarms.get),
            "ListAlarms": Plain(self.alarms.list_all),
            "UpdateAlarm": Plain(self.alarms.update),
            "DeleteAlarm": Plain(self.alarms.delete),
        }
