"""Airflow's REST API, with the requests that only tests make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.airflow_api import AirflowApi
from demo.releases import last_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx


APPROVAL, AWAITING = "request_approval", "awaiting_input"


class Rest(AirflowApi):
    """Airflow's REST API, with the requests that only tests make."""

    def question(self, run_id: str) -> dict[str, Any]:
        """Return the approval as shown to a person."""
        detail: dict[str, Any] = self._send("GET", self._approval(run_id)).json()
        return detail

    def required_actions(self) -> list[str]:
        """Return the runs that wait for an answer, of any DAG."""
        params = {"response_received": "false", "state": AWAITING}
        details = self._send("GET", "/api/v2/dags/~/dagRuns/~/hitlDetails", params=params).json()["hitl_details"]
        return [detail["task_instance"]["dag_run_id"] for detail in details]

    def respond(self, run_id: str, option: str, comment: str = "") -> httpx.Response:
        """Answer the approval; return the response, also an error."""
        body = {"chosen_options": [option], "params_input": {"comment": comment}}
        return self._send("PATCH", self._approval(run_id), json=body, accept=(400, 403, 404, 409))

    def clear(self, run_id: str, task: str) -> list[str]:
        """Clear a task and its downstream tasks, like the button; return the cleared tasks."""
        body = {
            "dag_run_id": run_id,
            "task_ids": [task],
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        cleared = self._send("POST", f"{self._dag}/clearTaskInstances", json=body).json()
        return [item["task_id"] for item in cleared["task_instances"]]

    def mark_success(self, run_id: str, task: str) -> None:
        """Mark a task as successful, like the button."""
        self._send("PATCH", f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}", json={"new_state": "success"})

    def try_trigger(self, conf: Mapping[str, Any]) -> httpx.Response:
        """Trigger a run; return the response, also an error."""
        body = {"logical_date": None, "conf": dict(conf)}
        return self._send("POST", f"{self._dag}/dagRuns", json=body, accept=(400, 422))

    def add_connection(self, **fields: Any) -> None:
        """Define a connection, as its form does."""
        self._send("POST", "/api/v2/connections", json=fields)

    def runs(self) -> list[str]:
        """Return the ids of all runs of the DAG."""
        return [run["dag_run_id"] for run in self._send("GET", f"{self._dag}/dagRuns").json()["dag_runs"]]

    def task_instance_id(self, run_id: str, task: str) -> str:
        """Return the id in the title of the task's process."""
        return str(self._send("GET", f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}").json()["id"])

    def log_text(self, run_id: str, task: str, attempt: int = 1) -> str:
        """Return the log of one try, a line for each event."""
        return "\n".join(str(event.get("event", "")) for event in self.task_log(run_id, task, attempt))

    def error_of(self, run_id: str, task: str, attempt: int = 1) -> str:
        """Return the last error in the log of one try."""
        return str(last_error(self.task_log(run_id, task, attempt)))

    def links(self, run_id: str, task: str) -> dict[str, str | None]:
        """Return the addresses of a task's buttons by their names; None for a button that opens nothing yet."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}/links"
        links: dict[str, str | None] = self._send("GET", path).json()["extra_links"]
        return links

    def get(self, path: str) -> httpx.Response:
        """Return a page of Airflow's web server."""
        return self._send("GET", path)

    def _approval(self, run_id: str) -> str:
        return f"{self._dag}/dagRuns/{run_id}/taskInstances/{APPROVAL}/-1/hitlDetails"
