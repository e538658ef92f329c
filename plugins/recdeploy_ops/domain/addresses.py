"""Addresses that people follow: pages of Airflow and of the OCI console."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

APPROVAL_TASK = "request_approval"
CONSOLE = "https://cloud.oracle.com/data-science/model-deployments"


@dataclass(frozen=True)
class AirflowAddresses:
    """Addresses of Airflow's pages.

    Attributes:
        base: Airflow's own address (``api.base_url``); where it is unknown, addresses are relative to it.
    """

    base: str = ""

    def approval(self, dag_id: str, run_id: str) -> str:
        """Return where the question of a run is answered, after a login."""
        return self._of(f"{self._run(dag_id, run_id)}/tasks/{APPROVAL_TASK}/required_actions")

    def report(self, dag_id: str, run_id: str) -> str:
        """Return where the report of a run is."""
        return self._of(f"recdeploy/report/{dag_id}/{quote(run_id, safe='')}")

    def run(self, dag_id: str, run_id: str) -> str:
        """Return where the tasks of a run and their logs are."""
        return self._of(self._run(dag_id, run_id))

    def page(self) -> str:
        """Return where the page *Recommender* is."""
        return self._of("plugin/recommender")

    def _of(self, path: str) -> str:
        return f"{self.base.rstrip('/')}/{path}" if self.base else path

    def _run(self, dag_id: str, run_id: str) -> str:
        return f"dags/{dag_id}/runs/{quote(run_id, safe='')}"


def console_address(deployment_id: str, region: str | None) -> str:
    """Return where the OCI console shows a model deployment.

    Args:
        deployment_id: OCID.
        region: e.g. ``eu-frankfurt-1``; without one the console takes the region that it showed last.
    """
    query = f"?{urlencode({'region': region})}" if region else ""
    return f"{CONSOLE}/{quote(deployment_id, safe='')}{query}"
