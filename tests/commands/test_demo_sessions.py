"""Which data a demo trains on, and which releases it does not touch."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from demo import sessions, shops
from demo.__main__ import run_tool
from demo.console import Console
from demo.errors import DemoError
from demo.homes import Home
from demo.options import Options
from demo.predictions import predict
from demo.releases import Outcome
from demo.services import Running, Services
from demo.sessions import Session
from demo.shops import Shop
from demo.store import generate_store
from recdeploy_ops.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TODAY = date(2026, 11, 23)
SMALL = 20  # users


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make generated stores small."""
    monkeypatch.setattr(shops, "generate_store", partial(generate_store, size=SMALL))


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options that name the user's own shop."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "users.csv").write_text("user_id\nmine\n", encoding="utf-8")
    (data / "items.csv").write_text("product_id\n1\n", encoding="utf-8")
    (data / "interactions.csv").write_text("user_id,product_id,rating\nmine,1,5\n", encoding="utf-8")
    return Options(home=tmp_path / "demo", data=data)


def make_shop(options: Options, *, today: date = TODAY) -> Shop:
    home = Home(options.home)
    home.path.mkdir(parents=True, exist_ok=True)
    shop = Shop(home, options, Console(), today=today)
    shop.prepare()
    if not shop.is_other:
        shop.fill()
    return shop


def users(options: Options) -> list[str]:
    with closing(sqlite3.connect(Home(options.home).store)) as store:
        return [user for (user,) in store.execute("SELECT user_id FROM users")]


def test_without_data_the_present_store_is_kept(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    make_shop(options)

    shop = make_shop(replace(options, data=None))
    shop.grow()

    assert users(options) == ["mine"]
    assert not shop.is_other
    assert load_settings(Home(options.home).settings).source.timestamp_column is None
    assert f"kept ({options.data})" in capsys.readouterr().out


def test_different_data_waits_beside_the_store(options: Options) -> None:
    make_shop(replace(options, data=None))

    shop = make_shop(options)

    assert shop.is_other
    assert len(users(options)) >= SMALL
    shop.fill()
    assert users(options) == ["mine"]
    assert not shop.is_other


class Airflow:
    """Stands for Airflow's API: a run that is marked as failed ends as a success."""

    def __init__(self, runs: list[str]) -> None:
        self.runs = runs
        self.failed: list[str] = []
        self.triggered: list[str] = []

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def unfinished_runs(self) -> list[str]:
        return [run for run in self.runs if run not in self.failed]

    def trigger(self, run_id: str, _: object) -> None:
        self.triggered.append(run_id)

    def fail_run(self, run_id: str) -> None:
        self.failed.append(run_id)

    def run_state(self, run_id: str) -> str:
        return "success" if run_id in self.failed else "running"


@pytest.fixture
def replaced(options: Options, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Airflow]:
    """Replace the store with different data while these runs are under way."""
    make_shop(replace(options, data=None))

    def replaced(runs: list[str]) -> Airflow:
        airflow = Airflow(runs)
        monkeypatch.setattr(sessions, "AirflowApi", lambda url, user: airflow)
        session = Session(options, Console())
        session._shop.prepare()
        running: Any = Running(cloud=None, airflow_url="http://airflow", attached=True)  # type: ignore[arg-type]
        session._replace_store(running)
        return airflow

    return replaced


def test_a_release_that_a_person_has_started_is_not_ended(
    options: Options, replaced: Callable[[list[str]], Airflow]
) -> None:
    with pytest.raises(DemoError, match=r"under way: manual__2026,.*DEMO_HOME="):
        replaced(["demo-20260101T000000", "manual__2026"])

    assert len(users(options)) >= SMALL, "its store is still there"


def test_unfinished_releases_of_an_earlier_demo_end_as_failed(
    options: Options, replaced: Callable[[list[str]], Airflow]
) -> None:
    airflow = replaced(["demo-20260101T000000"])

    assert airflow.failed == ["demo-20260101T000000"] * 2, "once to end it, once to correct its state"
    assert users(options) == ["mine"]


def test_a_release_that_a_person_has_started_is_not_answered(options: Options) -> None:
    watch: Any = None
    airflow: Any = Airflow(["manual__2026"])
    session = Session(replace(options, data=None, decision="promote"), Console())

    with pytest.raises(DemoError, match=r"manual__2026.* DECISION=promote would answer it"):
        session._follow(airflow, watch)


class Ended:
    """Stands for the watch over releases: each ends as it is told."""

    def __init__(self, state: str) -> None:
        self._state = state

    def follow(self, run_id: str, *_: object) -> Outcome:
        return Outcome(run_id, self._state)


@pytest.mark.parametrize(
    ("runs", "state", "triggered", "grown"),
    [
        ([], "success", 1, 1),
        (["demo-20260101T000000"], "success", 0, 0),
        (["manual__2026"], "failed", 1, 0),
    ],
    ids=["a new release", "a resumed one", "a new one beside another that still reads the store"],
)
def test_the_store_grows_before_a_new_release_while_no_other_reads_it(
    options: Options, runs: list[str], state: str, triggered: int, grown: int
) -> None:
    generated, airflow, watch = replace(options, data=None), Airflow(runs), Ended(state)
    shop = make_shop(generated)
    shop.note_release()
    before = shop.calendar
    session = Session(generated, Console())
    session._shop = shop

    session._follow(airflow, watch)  # type: ignore[arg-type]

    assert before is not None
    assert shop.calendar is not None
    assert len(airflow.triggered) == triggered
    assert shop.calendar.week - before.week == grown
    assert shop.calendar.is_released


@pytest.mark.parametrize("planted", [None, "titles"])
def test_damage_is_not_planted_while_a_release_reads_the_store(options: Options, planted: str | None) -> None:
    make_shop(replace(options, data=None, damage=planted)).grow()
    wanted = replace(options, data=None, damage="flipped")
    airflow: Any = Airflow(["demo-20260101T000000"])

    with pytest.raises(DemoError, match=r"demo-20260101T000000 is in progress.*DAMAGE=flipped cannot be planted now"):
        Session(wanted, Console())._follow(airflow, Ended("success"))  # type: ignore[arg-type]

    assert not airflow.triggered


def test_a_damaged_release_that_was_interrupted_is_resumed(options: Options) -> None:
    wanted = replace(options, data=None, damage="flipped")
    make_shop(wanted).grow()
    airflow: Any = Airflow(["demo-20260101T000000"])

    outcome = Session(wanted, Console())._follow(airflow, Ended("success"))  # type: ignore[arg-type]

    assert outcome.run_id == "demo-20260101T000000"
    assert not airflow.triggered


def test_unusable_data_is_reported_before_any_service_starts(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Services, "start", lambda *_: pytest.fail("a service was started"))
    (options.data / "interactions.csv").write_text("user_id,product_id,rating\nmine,1,high\n", encoding="utf-8")  # type: ignore[operator]

    with pytest.raises(DemoError, match="'high' is not a number"):
        Session(options, Console()).run()


class TestPredicting:
    def test_without_a_demo_the_error_tells_how_to_start_one(self, options: Options) -> None:
        home = Home(options.home)

        with pytest.raises(DemoError, match=r"No demo runs in .* make demo KEEP=1"):
            predict(home, Services(home, Console()), None)

    def test_the_request_and_the_answer_are_shown(self, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
        home = Home(options.home)
        make_shop(options)
        monkeypatch.setattr(Services, "emulator_ready", lambda _: {})
        monkeypatch.setattr("demo.predictions.Cloud", Tenancy)

        output = predict(home, Services(home, Console()), None)

        assert output.splitlines()[0] == "POST http://md/predict"
        request, answer = output.partition("\n")[2].split("\n\n")
        assert json.loads(request)["user_id"] == "mine"
        assert json.loads(answer) == {"user_id": "mine", "recommendations": []}
        assert "other" in predict(home, Services(home, Console()), "other")


@pytest.mark.parametrize("command", ["verify", "rollback"])
def test_a_tool_that_needs_the_stopped_cloud_says_how_to_start_it(
    options: Options, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    home = Home(options.home)
    home.environment.parent.mkdir(parents=True)
    home.environment.write_text("{}")
    monkeypatch.delenv("RECDEPLOY_SETTINGS", raising=False)

    with pytest.raises(DemoError, match=r"is stopped, and this needs its OCI: make demo KEEP=1"):
        run_tool(home, Services(home, Console()), ["python", "-m", "recdeploy_ops", command])


class Tenancy:
    """Stands for the emulated tenancy."""

    def __init__(self, _: object) -> None:
        self.url = "http://md"

    def production(self) -> Tenancy:
        return self

    def recommend(self, _: object, user: str, top_k: int) -> dict[str, object]:
        return {"user_id": user, "recommendations": []}
