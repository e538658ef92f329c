"""Where the report of a run is, and the button *Report* that opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink, conf

from recdeploy_ops.domain.addresses import AirflowAddresses

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ReportLink(BaseOperatorLink):
    """Opens the report from a task's page in Airflow, once the task's attribute ``has_report`` is set.

    Airflow stores the address when a process of the task ends, also when it fails or begins to wait for an answer.
    """

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the report, below Airflow's own; an empty text, without a button, if there is none.

        Where Airflow does not know its own address (``api.base_url``), it is relative: a browser adds the rest.
        """
        if not getattr(operator, "has_report", False):
            return ""
        return AirflowAddresses(_base()).report(ti_key.dag_id, ti_key.run_id)


def find_report(dag_id: str, run_id: str) -> str | None:
    """Return the address of the report of a run; None if Airflow does not know its own (``api.base_url``)."""
    return AirflowAddresses(_base()).report(dag_id, run_id) if _base() else None


def _base() -> str:
    return str(conf.get("api", "base_url", fallback=""))
