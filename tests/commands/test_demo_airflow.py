"""The demo's client of Airflow's API, against a server that answers like a busy Airflow."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from web_servers import SilentHandler, serving

from demo import airflow_api, releases
from demo.airflow_api import TRIES, AirflowApi
from demo.console import Console
from demo.errors import DemoError
from demo.homes import Home
from demo.patience import Patience
from demo.releases import ReleaseRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKED = (500, {"detail": {"reason": "Database error", "orig_error": "(sqlite3.OperationalError) database is locked"}})
OTHER_ERROR = (500, {"detail": {"reason": "Database error", "orig_error": "no such table: dag_run"}})
DONE, CONFLICT = (200, {"state": "success"}), (409, {"detail": "A run with this id exists"})


class Airflow:
    """An API server that gives scripted answers in order, and records the requests."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Airflow]:
        airflow = self

        class Handler(SilentHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                airflow.requests.append((self.command, self.path, json.loads(body) if body else None))
                status, content = airflow.answers.pop(0)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

        with serving(Handler) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    monkeypatch.setattr(airflow_api, "RETRY_SECONDS", 0)
    with Airflow().running() as airflow:
        yield airflow


@pytest.fixture
def api(airflow: Airflow) -> Iterator[AirflowApi]:
    with AirflowApi(airflow.url, "admin") as api:
        yield api


def test_a_request_is_sent_again_while_the_database_is_locked(airflow: Airflow, api: AirflowApi) -> None:
    airflow.answers = [LOCKED, LOCKED, DONE]

    assert api.run_state("demo-1") == "success"
    assert len(airflow.requests) == 3


def test_a_run_that_was_created_despite_an_error_is_not_created_twice(airflow: Airflow, api: AirflowApi) -> None:
    airflow.answers = [LOCKED, CONFLICT]

    api.trigger("demo-1", {"seed": 3})

    assert [body["dag_run_id"] for _, _, body in airflow.requests] == ["demo-1", "demo-1"]


def test_a_run_whose_id_is_taken_is_refused(airflow: Airflow, api: AirflowApi) -> None:
    airflow.answers = [CONFLICT]

    with pytest.raises(DemoError, match=r"409: .*A run with this id exists"):
        api.trigger("demo-1", {})


@pytest.mark.parametrize(("answer", "sent"), [(LOCKED, TRIES), (OTHER_ERROR, 1)])
def test_a_lasting_error_is_raised(airflow: Airflow, api: AirflowApi, answer: tuple[int, Any], sent: int) -> None:
    airflow.answers = [answer] * sent

    with pytest.raises(DemoError, match=r"Airflow answers GET .*/dagRuns/demo-1 with 500"):
        api.run_state("demo-1")
    assert len(airflow.requests) == sent


def task(state: str) -> dict[str, Any]:
    return {"task_id": "request_approval", "state": state, "try_number": 1, "duration": None, "start_date": "2026"}


def test_the_demo_answers_only_when_the_scheduler_has_parked_the_task(
    airflow: Airflow,
    api: AirflowApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(releases, "POLL_SECONDS", 0)
    look = [(200, {"state": "running"}), (200, {"task_instances": [task("awaiting_input")]})]
    ended = [(200, {"state": "success"}), (200, {"task_instances": [task("success")]})]
    question = (200, {"body": "### **HOLD** A person must look\n\nmore"})
    airflow.answers = [*look, *look, *look, (200, {}), question, *look, *ended]
    knows = iter([False, False, True])
    services: Any = SimpleNamespace(
        require_alive=lambda: None,
        patience=Patience,
        scheduler_log=SimpleNamespace(has_parked=lambda *_: next(knows)),
    )
    watch = ReleaseRun(api, Home(tmp_path), Console(), services=services, timeout_minutes=1)

    outcome = watch.follow("demo-1", "promote", "ship it")

    assert (outcome.state, outcome.answers) == ("success", 1)
    answers = [number for number, (method, _, _) in enumerate(airflow.requests) if method == "PATCH"]
    assert answers == [6]
    assert airflow.requests[6][2] == {"chosen_options": ["Promote"], "params_input": {"comment": "ship it"}}
    assert "answered 'Promote'; the question was: HOLD A person must look\n" in capsys.readouterr().out
