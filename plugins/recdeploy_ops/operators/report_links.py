"""Where the report of a run is, and the button *Report* that opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

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
        return find_report(ti_key.dag_id, ti_key.run_id) or _locate(ti_key.dag_id, ti_key.run_id)


def find_report(dag_id: str, run_id: str) -> str | None:
    """Return the address of the report of a run; None if Airflow does not know its own (``api.base_url``)."""
    base = conf.get("api", "base_url", fallback="")
    return f"{base.rstrip('/')}/{_locate(dag_id, run_id)}" if base else None


def _locate(dag_id: str, run_id: str) -> str:
    return f"recdeploy/report/{dag_id}/{quote(run_id, safe='')}"
