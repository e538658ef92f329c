"""The generated store week after week: how it grows, what damage is planted in it, and what is remembered."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from demo import shops
from demo.calendars import WEEKS_AGO, Calendar
from demo.console import Console
from demo.errors import DemoError
from demo.homes import PROJECT, SQL, Home
from demo.options import Options
from demo.shops import Shop
from demo.store import Counts, generate_store
from recdeploy_ops.extraction.statements import read_query
from recdeploy_ops.settings import load_settings
from simulation.generated import WEEKS

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 11, 23)
BEGINNING = TODAY - timedelta(weeks=WEEKS_AGO)
MAX_AGE = load_settings(PROJECT / "include" / "recommender.yaml").gates.max_age_hours


@pytest.mark.parametrize(
    ("week", "is_released", "days", "damage", "expected"),
    [
        (0, False, 0, None, 0),
        (0, True, 0, None, 1),
        (0, True, 0, "flipped", 1),
        (3, False, 0, "flipped", 3),
        (WEEKS_AGO - 1, True, 0, None, WEEKS_AGO),
        (WEEKS_AGO - 1, True, -1, None, WEEKS_AGO - 1),
        (WEEKS_AGO, True, 6, None, WEEKS_AGO),
        (WEEKS_AGO, True, 7, None, WEEKS_AGO + 1),
        (WEEKS, True, 7000, None, WEEKS),
    ],
    ids=[
        "a new shop",
        "after a release",
        "after a release, with damage",
        "damage without a release before",
        "the last week",
        "a week that is not over",
        "today reached",
        "a week later",
        "the end of the generated life",
    ],
)
def test_a_calendar_advances_by_one_week_after_a_release(
    week: int, days: int, damage: str | None, expected: int, *, is_released: bool
) -> None:
    calendar = Calendar(BEGINNING.isoformat(), week, "titles", is_released)

    advanced = calendar.advance(TODAY + timedelta(days=days), damage)

    assert advanced == Calendar(BEGINNING.isoformat(), expected, damage, is_released=False)


@pytest.mark.parametrize(("week", "hours"), [(0, WEEKS_AGO * 168), (1, (WEEKS_AGO - 1) * 168), (WEEKS_AGO, 0)])
def test_a_calendar_says_how_long_ago_the_store_was_like_that(week: int, hours: int) -> None:
    calendar = replace(Calendar.begin(TODAY), week=week)

    assert calendar.beginning == BEGINNING
    assert calendar.lag_hours(TODAY) == hours


class Generator:
    """Stands for the generation of a store: an empty one, and the arguments."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, path: Path, **arguments: Any) -> Counts:
        self.calls.append(arguments)
        with closing(sqlite3.connect(path)) as store:
            store.execute("CREATE TABLE IF NOT EXISTS users (user_id, segment)")
        return Counts(0, 0, 0)

    @property
    def weeks(self) -> list[tuple[int, str | None]]:
        return [(call["weeks"], call["damage"]) for call in self.calls]


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Generator:
    generator = Generator()
    monkeypatch.setattr(shops, "generate_store", generator)
    return generator


def release(folder: Path, damage: str | None = None, *, today: date = TODAY, is_triggered: bool = True) -> Shop:
    """Do with the store what a call of ``make demo`` does."""
    home = Home(folder)
    home.path.mkdir(parents=True, exist_ok=True)
    shop = Shop(home, Options(home=folder, damage=damage), Console(), today=today)
    shop.prepare()
    shop.fill()
    shop.grow()
    if is_triggered:
        shop.note_release()
    return shop


def test_each_release_finds_the_store_a_week_later(tmp_path: Path, generator: Generator) -> None:
    for _ in range(3):
        release(tmp_path)

    assert generator.weeks == [(0, None), (1, None), (2, None)]
    assert {call["first_day"] for call in generator.calls} == {BEGINNING}
    remembered = json.loads((tmp_path / "run" / "shop.json").read_text(encoding="utf-8"))["calendar"]
    assert remembered == {"first_day": BEGINNING.isoformat(), "week": 2, "damage": None, "is_released": True}


def test_a_demo_that_triggered_no_release_adds_no_week(tmp_path: Path, generator: Generator) -> None:
    release(tmp_path, is_triggered=False)
    release(tmp_path)

    assert generator.weeks == [(0, None)]


def test_after_damage_the_next_week_is_honest(tmp_path: Path, generator: Generator) -> None:
    release(tmp_path)
    damaged = release(tmp_path, "flipped")
    honest = release(tmp_path)

    assert (damaged.damage, honest.damage) == ("flipped", None)
    assert generator.weeks == [(0, None), (1, "flipped"), (2, None)]


def test_when_the_calendar_has_reached_today_the_demo_says_so(
    tmp_path: Path, generator: Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(WEEKS_AGO):
        release(tmp_path)
    release(tmp_path, is_triggered=False)
    release(tmp_path)
    assert "reached today" not in capsys.readouterr().out

    release(tmp_path)
    assert f"has reached today with week {WEEKS_AGO}, so this release gets no new orders" in capsys.readouterr().out
    assert generator.weeks[-1] == (WEEKS_AGO, None)
    assert len(generator.calls) == WEEKS_AGO + 1

    release(tmp_path, "flipped")
    release(tmp_path)
    assert generator.weeks[-2:] == [(WEEKS_AGO, "flipped"), (WEEKS_AGO, None)]


@pytest.mark.usefixtures("generator")
def test_the_settings_of_a_generated_store_allow_for_its_calendar(tmp_path: Path) -> None:
    for week in range(2):
        release(tmp_path)

        settings = load_settings(Home(tmp_path).settings)
        assert settings.gates.max_age_hours == MAX_AGE + (WEEKS_AGO - week) * 168
        assert settings.source.segment_column == "segment"


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize(
    ("text", "is_copied"),
    [
        ("SELECT user_id FROM users", True),
        ("SELECT user_id FROM users WHERE user_id <> 'u2' -- who asked us to", True),
        ("SELECT user_id, segment FROM users", False),
    ],
)
def test_users_of_a_generated_store_have_segments_whatever_the_query_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, is_copied: bool
) -> None:
    project = tmp_path / "project"
    shutil.copytree(SQL, project)
    (project / "users.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr("demo.homes.SQL", project)
    monkeypatch.setattr("demo.shops.SQL", project)

    release(tmp_path / "demo")

    settings = load_settings(Home(tmp_path / "demo").settings)
    assert settings.sql_folder == (tmp_path / "demo" / "sql" if is_copied else project)
    assert sorted(path.name for path in settings.sql_folder.iterdir()) == ["interactions.sql", "items.sql", "users.sql"]
    with closing(sqlite3.connect(Home(tmp_path / "demo").store)) as store:
        store.executemany("INSERT INTO users VALUES (?, ?)", [("u1", "early"), ("u2", "late"), ("u3", "late")])
        rows = store.execute(read_query(settings.sql_folder / "users.sql").text).fetchall()
    assert set(rows) == {("u1", "early"), ("u3", "late")} | ({("u2", "late")} if "<>" not in text else set())


@pytest.mark.parametrize(
    ("data", "named"), [("/mine", "is from /mine"), ("generated", "is from an earlier version of the demo")]
)
def test_a_store_without_a_calendar_is_kept_and_gets_no_damage(
    tmp_path: Path, generator: Generator, data: str, named: str
) -> None:
    generator(tmp_path / "store.db")
    (tmp_path / "run").mkdir()
    origin = {"data": data, "columns": {}, "has_timestamps": True}
    (tmp_path / "run" / "shop.json").write_text(json.dumps(origin), encoding="utf-8")

    release(tmp_path)

    assert len(generator.calls) == 1
    assert load_settings(Home(tmp_path).settings).gates.max_age_hours == MAX_AGE
    with pytest.raises(DemoError, match=rf"DAMAGE=flipped is for a generated store.*{named}.*DEMO_HOME="):
        release(tmp_path, "flipped")


def test_damage_changes_the_store_and_the_next_week_undoes_it(tmp_path: Path) -> None:
    def ratings(week: int, damage: str | None) -> dict[tuple[str, str], float]:
        generate_store(tmp_path / "store.db", first_day=BEGINNING, weeks=week, size=60, damage=damage)
        with closing(sqlite3.connect(tmp_path / "store.db")) as store:
            rows = store.execute("SELECT user_id, product_id, rating FROM interactions")
            return {(user, product): rating for user, product, rating in rows}

    honest, damaged, later = ratings(1, None), ratings(1, "flipped"), ratings(2, None)

    assert damaged == {pair: 6 - rating for pair, rating in honest.items()}
    assert honest.items() < later.items()
