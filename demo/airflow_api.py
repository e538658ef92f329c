"""The few calls of Airflow's REST API that a demo needs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx

from demo.errors import DemoError
from demo.homes import ANSWER_SECONDS, DAG_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
RUN_ENDED = frozenset({"success", "failed"})
LOCKED = "database is locked"  # SQLite's message: the request has changed nothing
TRIES, RETRY_SECONDS = 10, 1.0  # in addition to the database's own timeout


@dataclass(frozen=True)
class Task:
    """One task of a run.

    Attributes:
        name: its task id.
        state: Airflow's task state; ``none`` before it is scheduled.
        attempt: number of the try, from 1.
        seconds: how long the try took or has taken so far.
        started: ISO 8601.
    """

    name: str
    state: str
    attempt: int
    seconds: float | None
    started: str | None


class AirflowApi:
    """Airflow's REST API, as one user, for the runs of one DAG.

    Args:
        url: of the API server.
        user: a user of the demo; the password equals the name.
        dag_id: the DAG.
    """

    def __init__(self, url: str, user: str, dag_id: str = DAG_ID) -> None:
        self.url = url
        self.dag_id = dag_id
        self._dag = f"/api/v2/dags/{dag_id}"
        self._user = user
        # The environment's proxies are not for 127.0.0.1.
        self._client = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def unhealthy(self) -> list[str]:
        """Return the components that are not healthy yet; all of them if Airflow does not answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return list(COMPONENTS)
        if answer.status_code != httpx.codes.OK:
            return list(COMPONENTS)
        health = answer.json()
        return [name for name in COMPONENTS if (health.get(name) or {}).get("status") != "healthy"]

    def has_dag(self) -> bool:
        """Say whether the DAG's current file can be triggered; unpause it if it is paused."""
        answer = self._send("GET", self._dag, accept=(httpx.codes.NOT_FOUND,))
        if answer.status_code == httpx.codes.NOT_FOUND or answer.json()["has_import_errors"]:
            return False
        if answer.json()["is_paused"]:
            self._send("PATCH", self._dag, json={"is_paused": False})
        return True

    def import_errors(self) -> list[str]:
        """Return the errors of DAG files that could not be read."""
        errors = self._send("GET", "/api/v2/importErrors").json()["import_errors"]
        return [f"{error['filename']}:\n{error['stack_trace']}" for error in errors]

    def trigger(self, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf)}
        self._send("POST", f"{self._dag}/dagRuns", json=body, accept_again=(httpx.codes.CONFLICT,))

    def run_state(self, run_id: str) -> str:
        """Return the state of a run."""
        return str(self._send("GET", f"{self._dag}/dagRuns/{run_id}").json()["state"])

    def unfinished_runs(self) -> list[str]:
        """Return the ids of runs that are queued or running, the oldest first."""
        params: dict[str, str | list[str]] = {
            "state": ["queued", "running"],
            "order_by": "id",
            "limit": "100",
        }
        runs = self._send("GET", f"{self._dag}/dagRuns", params=params).json()["dag_runs"]
        return [run["dag_run_id"] for run in runs]

    def fail_run(self, run_id: str) -> None:
        """Mark a run as failed; Airflow then runs its teardown."""
        self._send("PATCH", f"{self._dag}/dagRuns/{run_id}", json={"state": "failed"})

    def tasks(self, run_id: str) -> list[Task]:
        """Return the tasks of a run, ordered by start."""
        instances = self._send("GET", f"{self._dag}/dagRuns/{run_id}/taskInstances", params={"limit": "100"}).json()
        tasks = [
            Task(
                name=item["task_id"],
                state=item["state"] or "none",
                attempt=max(1, item["try_number"]),
                seconds=item["duration"],
                started=item["start_date"],
            )
            for item in instances["task_instances"]
        ]
        return sorted(tasks, key=lambda task: (task.started is None, task.started or "", task.name))

    def answer(self, run_id: str, task: str, option: str, comment: str) -> bool:
        """Answer an approval; return False if it was already answered."""
        body = {"chosen_options": [option], "params_input": {"comment": comment}}
        answer = self._send("PATCH", self._question(run_id, task), json=body, accept=(httpx.codes.CONFLICT,))
        return answer.status_code != httpx.codes.CONFLICT

    def question_body(self, run_id: str, task: str) -> str:
        """Return what an approval shows to a person."""
        return str(self._send("GET", self._question(run_id, task)).json().get("body") or "")

    def _question(self, run_id: str, task: str) -> str:
        return f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}/-1/hitlDetails"

    def task_log(self, run_id: str, task: str, attempt: int) -> list[dict[str, Any]]:
        """Return the events of one try's log; none if the log is missing."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}/logs/{attempt}"
        answer = self._send("GET", path, params={"full_content": "true"}, accept=(httpx.codes.NOT_FOUND,))
        content = answer.json().get("content", [])
        return [event for event in content if isinstance(event, dict)]

    def xcom(self, run_id: str, task: str, key: str = "return_value") -> Any:
        """Return an XCom value of a task; None if it is missing."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/{key}"
        answer = self._send("GET", path, params={"deserialize": "false"}, accept=(httpx.codes.NOT_FOUND,))
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()["value"]

    def _send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str | list[str]] | None = None,
        accept: tuple[int, ...] = (),
        accept_again: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Send a request, repeat it while Airflow's database is locked, and return the answer.

        Args:
            method: GET, POST or PATCH.
            path: of the resource.
            json: the body.
            params: the query.
            accept: error codes that are returned, not raised.
            accept_again: the same for a repeated request, which Airflow may have carried out the first time.

        Raises:
            DemoError: Airflow does not answer, or answers with another error.
        """
        answer = self._answer(method, path, json, params)
        for _ in range(TRIES - 1):
            if not is_locked(answer.status_code, answer.text):
                break
            time.sleep(RETRY_SECONDS)
            answer, accept = self._answer(method, path, json, params), (*accept, *accept_again)
        if answer.is_error and answer.status_code not in accept:
            raise DemoError(f"Airflow answers {method} {path} with {answer.status_code}: {answer.text[:1000]}")
        return answer

    def _answer(
        self, method: str, path: str, json: Any, params: Mapping[str, str | list[str]] | None
    ) -> httpx.Response:
        """Return the answer to a request; log in if necessary."""
        try:
            answer = self._client.request(method, path, json=json, params=params)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._log_in()
                answer = self._client.request(method, path, json=json, params=params)
        except httpx.TransportError as err:
            raise DemoError(f"Airflow at {self.url} does not answer {method} {path}: {err!r}") from err
        return answer

    def _log_in(self) -> None:
        answer = self._client.post("/auth/token", json={"username": self._user, "password": self._user})
        if answer.is_error:
            raise DemoError(f"Airflow refuses the user {self._user}: {answer.status_code} {answer.text[:500]}")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def is_locked(status: int, body: str) -> bool:
    """Say whether an answer of Airflow means that its database was locked, and that nothing was changed."""
    return status >= httpx.codes.INTERNAL_SERVER_ERROR and LOCKED in body


def progress_of(tasks: list[Task]) -> list[tuple[str, str, int]]:
    """Return values that change whenever a run makes progress."""
    return [(task.name, task.state, task.attempt) for task in tasks]
