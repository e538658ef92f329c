"""Recipes that rank items, through ADS's operator: their lists, their files, and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from shops import settings_with

from recdeploy_ops.domain.new_users import NewUserList
from recdeploy_ops.evaluation.list_matrix import read_matrix
from recdeploy_ops.training import train
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models
from recdeploy_ops.training.recommendations import ITEMS, USERS, read_ids, read_new_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.settings import Settings

CASE = Path(__file__).parents[3] / "shared/cases/purchases-as-ones"
RANKERS = ("ease", "als")
TOP_K = 5


def settings_of(recipe: str, *, implicit: bool = False, **training: Any) -> Settings:
    settings = settings_with()
    changed = settings.training.model_copy(update={"recipe": recipe, **training})
    source = settings.source.model_copy(update={"implicit": implicit})
    return settings.model_copy(update={"training": changed, "source": source})


def write_extract(folder: Path, rows: list[tuple[str, str, float]], users: list[str], items: list[str]) -> Path:
    folder.mkdir(parents=True)
    taken = zip(*rows, strict=True)
    columns = dict(zip(("user_id", "product_id", "rating"), map(list, taken), strict=True))
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    pq.write_table(pa.table({"user_id": users}), folder / USERS)
    pq.write_table(pa.table({"product_id": items}), folder / ITEMS)
    return folder


def two_tastes(folder: Path) -> Path:
    """Write purchases of 60 customers: even ones bought 8 of 20 tools three times, odd ones 8 of 20 teas."""
    random, rows = np.random.default_rng(5), []
    for user in range(60):
        kind = ("tool", "tea")[user % 2]
        rows += [(f"c{user:02}", f"{kind}-{item:02}", 3.0) for item in random.choice(20, 8, replace=False)]
    items = [f"{kind}-{item:02}" for kind in ("tea", "tool") for item in range(20)]
    return write_extract(folder, sorted(rows), [f"c{user:02}" for user in range(60)], items)


def trained(extract: Path, folder: Path, settings: Settings, seed: int = 42) -> tuple[dict[str, Any], list[str]]:
    folder.mkdir(exist_ok=True)
    lines: list[str] = []
    return train(extract, folder, settings, top_k=TOP_K, seed=seed, report=lines.append), lines


def lists_of(folder: Path) -> dict[str, list[tuple[str, float]]]:
    table = pa.csv.read_csv(folder / "recommendations.csv").to_pydict()
    lists: dict[str, list[tuple[str, float]]] = {}
    for user, item, rating in zip(*table.values(), strict=True):
        lists.setdefault(user, []).append((item, rating))
    return lists


@dataclass(frozen=True)
class Training:
    """A training on the two tastes: its extract and settings, its results, its metrics and what it reported."""

    extract: Path
    settings: Settings
    results: Path
    metrics: dict[str, Any]
    lines: list[str]


@pytest.fixture(scope="module")
def of_tastes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Training]:
    """Returns the training of a recipe on the two tastes, with seed 42. Each recipe is trained once."""

    @cache
    def train_once(recipe: str) -> Training:
        folder = tmp_path_factory.mktemp(recipe)
        extract = two_tastes(folder / "extract")
        settings = settings_of("svd", ensemble=3) if recipe == "svd" else settings_of(recipe, implicit=True)
        return Training(extract, settings, folder / "results", *trained(extract, folder / "results", settings))

    return train_once


@pytest.mark.parametrize("recipe", RANKERS)
def test_who_bought_tools_gets_tools_and_who_bought_tea_gets_tea(
    recipe: str, of_tastes: Callable[[str], Training]
) -> None:
    training = of_tastes(recipe)

    lists = lists_of(training.results)
    assert len(lists) == 60
    for user, entries in lists.items():
        kind = ("tool", "tea")[int(user[1:]) % 2]
        assert [item for item, _ in entries if not item.startswith(kind)] == []
    assert training.metrics["recipe"] == recipe
    assert "rmse" not in training.metrics
    assert any("GB of memory" in line for line in training.lines)


@pytest.mark.more
@pytest.mark.skipif(not CASE.is_dir(), reason="needs the case purchases-as-ones beside the repository")
@pytest.mark.parametrize("recipe", RANKERS)
def test_the_case_of_purchases_as_ones(recipe: str, tmp_path: Path) -> None:
    tables = {name: pa.csv.read_csv(CASE / f"{name}.csv").to_pydict() for name in ("interactions", "users", "items")}
    taken = tables["interactions"]
    rows = list(zip(taken["customer"], taken["article"], map(float, taken["rating"]), strict=True))
    extract = write_extract(tmp_path / "extract", rows, tables["users"]["customer"], tables["items"]["article"])

    trained(extract, tmp_path / "results", settings_of(recipe, implicit=True))

    bought = {(user, item) for user, item, _ in rows}
    taste = {user: item.partition("-")[0] for user, item, _ in rows}
    lists = lists_of(tmp_path / "results")
    assert len(lists) == 60
    for user, entries in lists.items():
        assert {item.partition("-")[0] for item, _ in entries} == {taste[user]}
        assert not {(user, item) for item, _ in entries} & bought


@pytest.mark.parametrize("recipe", RANKERS)
def test_ratings_fall_along_each_list_within_the_shops_scale(recipe: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pairs = sorted({(int(random.integers(40)), int(random.zipf(1.5) % 30)) for _ in range(600)})
    rows = [(f"u{user:02}", f"p{item:02}", float(random.integers(1, 6))) for user, item in pairs]
    users, items = [f"u{user:02}" for user in range(42)], [f"p{item:02}" for item in range(33)]
    extract = write_extract(tmp_path / "extract", rows, users, items)

    trained(extract, tmp_path / "results", settings_of(recipe))

    lists = lists_of(tmp_path / "results")
    new_users = read_new_users(tmp_path / "results", settings_of(recipe).source)
    assert new_users is not None
    for entries in (*lists.values(), new_users):
        ratings = [rating for _, rating in entries]
        assert ratings == sorted(ratings, reverse=True)
        assert all(1 < rating < 5 for rating in ratings)
    popular = sorted(items, key=lambda item: -sum(row[1] == item for row in rows))
    assert [item for item, _ in new_users] == popular[:TOP_K]
    # Nobody knows anything about these two users.
    assert [item for item, _ in lists["u40"]] == [item for item, _ in lists["u41"]] == popular[:TOP_K]


@pytest.mark.parametrize("recipe", RANKERS)
def test_the_report_says_what_does_not_apply(recipe: str, of_tastes: Callable[[str], Training]) -> None:
    report = (of_tastes(recipe).results / "report.html").read_text(encoding="utf-8")
    assert f"generated using {recipe.upper()}" in report
    assert "RMSE and MAE do not apply" in report


@pytest.mark.more
@pytest.mark.parametrize(("recipe", "seed"), [("ease", 7), ("als", 42)])
def test_equal_rows_give_equal_bytes_and_ease_needs_no_equal_seed(
    recipe: str, seed: int, of_tastes: Callable[[str], Training], tmp_path: Path
) -> None:
    one = of_tastes(recipe)
    trained(one.extract, tmp_path / "other", one.settings, seed=seed)
    for name in ("recommendations.csv", "new_users.csv"):
        assert (one.results / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("recipe", [*RANKERS, pytest.param("svd", id="an ensemble of svd")])
def test_the_gates_models_give_the_operators_lists(
    recipe: str, of_tastes: Callable[[str], Training], tmp_path: Path
) -> None:
    training = of_tastes(recipe)
    model = GateModel("own", "candidate", 42, TOP_K, is_backtest=False)

    own = train_gate_models(
        tmp_path / "work",
        {"candidate": Side(training.extract, training.settings.model)},
        [model],
        [],
        settings=training.settings,
        report=lambda line: None,
    )

    users, items = read_ids(training.extract / USERS, "user_id"), read_ids(training.extract / ITEMS, "product_id")
    written = read_matrix(training.results, training.settings.source).within(users, items)
    assert (own.lists["own"] == written).all()


@pytest.mark.parametrize(("setting", "kind"), [("operator", "operator"), ("best", "popularity")])
def test_new_users_get_the_list_that_the_setting_chooses(setting: str, kind: str, tmp_path: Path) -> None:
    random, shares = np.random.default_rng(1), 1 / np.arange(2, 62)
    rows = [
        (f"u{user:03}", f"p{item:02}", float(random.integers(1, 6)))
        for user in range(320)
        for item in random.choice(60, 12, replace=False, p=shares / shares.sum())
    ]
    users, items = sorted({row[0] for row in rows}), [f"p{item:02}" for item in range(60)]
    extract = write_extract(tmp_path / "extract", rows, users, items)
    settings = settings_of("svd", new_users=setting)

    metrics, lines = trained(extract, tmp_path / "results", settings)

    chosen = NewUserList.from_plain(metrics["new_users"])
    assert (chosen.setting, chosen.kind, chosen.advises_popularity) == (setting, kind, setting == "operator")
    assert chosen.compared is not None
    assert chosen.compared.judged.low > 0
    assert chosen.describe()[-1] in lines
    popular = sorted(items, key=lambda item: -sum(row[1] == item for row in rows))[:TOP_K]
    listed = [item for item, _ in read_new_users(tmp_path / "results", settings.source) or ()]
    assert (listed == popular) == (kind == "popularity")
