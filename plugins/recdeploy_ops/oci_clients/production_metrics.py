"""Requests, failures and latency of a deployment, as OCI's Monitoring has measured them.

https://docs.oracle.com/en-us/iaas/data-science/using/metrics-model-deploy.htm
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.oci_clients.monitoring import read_windows

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.oci_clients.sessions import OciSession

HOURS = 24
# Metric, further dimension and statistic of each measure; one window is an hour.
MEASURES = {
    "requests": ("PredictRequestCount", "", "sum()"),
    "failures": ("PredictResponse", ', result = "Failure"', "count()"),
    "p50": ("PredictLatency", "", "percentile(0.5)"),
    "p95": ("PredictLatency", "", "percentile(0.95)"),
}


@dataclass(frozen=True)
class MeasuredHour:
    """What OCI has measured in one hour; None where it has no data, which is not the same as none.

    Attributes:
        end: of the hour, ISO 8601, UTC.
        requests: their number.
        failures: number of answers with another status than 2XX; 0 where OCI counts requests and no failure.
        p50: median latency, milliseconds.
        p95: 95th percentile of the latency, milliseconds.
    """

    end: str
    requests: float | None = None
    failures: float | None = None
    p50: float | None = None
    p95: float | None = None


def read_production_metrics(session: OciSession, deployment_id: str, now: datetime) -> list[MeasuredHour]:
    """Return the last `HOURS` hours of a deployment, oldest first; those without any data are left out.

    Args:
        session: signs the requests.
        deployment_id: OCID.
        now: UTC; the newest hour ends then.

    Raises:
        CloudRefusedError: the user may not read metrics.
        CloudUnavailableError: OCI does not answer.
    """
    measured: dict[str, dict[str, float]] = {}
    client = session.monitoring(posts=False)
    period = (now - timedelta(hours=HOURS - 1), now + timedelta(minutes=1))  # the end is not included itself
    for name, (metric, dimension, statistic) in MEASURES.items():
        query = f'{metric}[1h]{{resourceId = "{deployment_id}"{dimension}}}.grouping().{statistic}'
        for end, value in read_windows(client, session.profile.compartment_id, query, period, "1h"):
            measured.setdefault(end.isoformat(timespec="seconds"), {})[name] = value
    for hour in measured.values():
        if "requests" in hour:
            hour.setdefault("failures", 0.0)
    return [MeasuredHour(end, **measured[end]) for end in sorted(measured)]
