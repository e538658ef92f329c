"""Whose data a demo trains on, and whose releases it leaves alone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from demo import sessions
from demo.console import Console
from demo.errors import DemoError
from demo.homes import Home
from demo.options import Options
from demo.predictions import predict
from demo.services import Running, Services
from demo.sessions import Session
from demo.shops import Shop
from demo.store import write_store
from recdeploy_ops.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Ask for a shop of one's own."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "users.csv").write_text("user_id\nmine\n", encoding="utf-8")
    (data / "items.csv").write_text("product_id\n1\n", encoding="utf-8")
    (data / "interactions.csv").write_text("user_id,product_id,rating\nmine,1,5\n", encoding="utf-8")
    return Options(home=tmp_path / "demo", data=data)


def made(options: Options, *, attached: bool = False) -> Shop:
    home = Home(options.home)
    home.path.mkdir(parents=True, exist_ok=True)
    shop = Shop(home, options, Console())
    shop.prepare()
    if not shop.is_other:
        shop.fill(attached=attached)
    return shop


def users(options: Options) -> list[str]:
    with closing(sqlite3.connect(Home(options.home).store)) as store:
        return [user for (user,) in store.execute("SELECT user_id FROM users")]


@pytest.mark.parametrize("attached", [True, False])
def test_without_data_the_store_that_is_there_is_kept(
    options: Options, capsys: pytest.CaptureFixture[str], *, attached: bool
) -> None:
    made(options)

    shop = made(replace(options, data=None), attached=attached)

    assert users(options) == ["mine"]
    assert not shop.is_other
    assert load_settings(Home(options.home).settings).source.timestamp_column is None
    assert f"the store that is there is kept ({options.data})" in capsys.readouterr().out


def test_a_generated_store_is_made_anew_unless_a_release_may_be_reading_it(options: Options) -> None:
    generated = replace(options, data=None)
    made(generated)
    write_store(Home(options.home).store, users=[("marked", None, None, None)], products=[], interactions=[])

    made(generated, attached=True)
    assert users(options) == ["marked"]
    made(generated)
    assert len(users(options)) > 1000


def test_other_data_waits_beside_the_store(options: Options) -> None:
    made(replace(options, data=None))

    shop = made(options)

    assert shop.is_other
    assert len(users(options)) > 1000
    shop.fill(attached=False)
    assert users(options) == ["mine"]
    assert not shop.is_other


class Airflow:
    """Stands for Airflow's API: runs that end, as successes, when they are told to fail."""

    def __init__(self, runs: list[str]) -> None:
        self.runs = runs
        self.failed: list[str] = []

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def unfinished_runs(self) -> list[str]:
        return self.runs

    def fail_run(self, run_id: str) -> None:
        self.failed.append(run_id)

    def run_state(self, run_id: str) -> str:
        return "success" if run_id in self.failed else "running"


@pytest.fixture
def replaced(options: Options, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Airflow]:
    """Put other data in the store's place while these runs are under way."""
    made(replace(options, data=None))

    def replaced(runs: list[str]) -> Airflow:
        airflow = Airflow(runs)
        monkeypatch.setattr(sessions, "AirflowApi", lambda url, user: airflow)
        session = Session(options, Console())
        session._shop.prepare()
        running: Any = Running(cloud=None, airflow_url="http://airflow", attached=True)  # type: ignore[arg-type]
        session._replace_store(running)
        return airflow

    return replaced


def test_a_release_that_a_person_has_started_is_not_given_up(
    options: Options, replaced: Callable[[list[str]], Airflow]
) -> None:
    with pytest.raises(DemoError, match="A release of other data is under way: manual__2026, which no make demo has"):
        replaced(["demo-20260101T000000", "manual__2026"])

    assert len(users(options)) > 1000, "its store is still there"


def test_what_an_earlier_demo_left_is_given_up_and_ends_as_failed(
    options: Options, replaced: Callable[[list[str]], Airflow]
) -> None:
    airflow = replaced(["demo-20260101T000000"])

    assert airflow.failed == ["demo-20260101T000000"] * 2, "once to end it, once more for what Airflow calls it"
    assert users(options) == ["mine"]


def test_a_release_that_a_person_has_started_is_not_answered(options: Options) -> None:
    watch: Any = None
    airflow: Any = Airflow(["manual__2026"])
    session = Session(replace(options, data=None, decision="promote"), Console())

    with pytest.raises(DemoError, match=r"The release manual__2026 is under way.* DECISION=promote would answer it"):
        session._follow(airflow, watch)


def test_data_that_cannot_be_used_is_said_before_anything_is_started(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Services, "start", lambda *_: pytest.fail("something was started"))
    (options.data / "interactions.csv").write_text("user_id,product_id,rating\nmine,1,high\n", encoding="utf-8")  # type: ignore[operator]

    with pytest.raises(DemoError, match="'high' is not a number"):
        Session(options, Console()).run()


class TestPredicting:
    def test_without_a_demo_says_how_to_start_one(self, options: Options) -> None:
        home = Home(options.home)

        with pytest.raises(DemoError, match=r"No demo runs in .* make demo KEEP=1"):
            predict(home, Services(home, Console()), None)

    def test_shows_the_request_and_the_answer(self, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
        home = Home(options.home)
        made(options)
        monkeypatch.setattr(Services, "emulator_ready", lambda _: {})
        monkeypatch.setattr("demo.predictions.Cloud", Tenancy)

        said = predict(home, Services(home, Console()), None)

        assert said.splitlines()[0] == "POST http://md/predict"
        request, answer = said.partition("\n")[2].split("\n\n")
        assert json.loads(request)["user_id"] == "mine"
        assert json.loads(answer) == {"user_id": "mine", "recommendations": []}
        assert "other" in predict(home, Services(home, Console()), "other")


class Tenancy:
    """Stands for the emulated tenancy."""

    def __init__(self, _: object) -> None:
        self.url = "http://md"

    def production(self) -> Tenancy:
        return self

    def recommend(self, _: object, user: str, top_k: int) -> dict[str, object]:
        return {"user_id": user, "recommendations": []}
