"""The models that the gates compare with: what the operator would give, without the operator."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shops import settings_with

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.domain.gates.quality import QualityThresholds
from recdeploy_ops.evaluation.behaviour import Folders, measure_files
from recdeploy_ops.evaluation.champion_sides import ChampionSide, train_champion_side
from recdeploy_ops.evaluation.comparisons import Comparison, train_comparison
from recdeploy_ops.evaluation.list_matrix import read_matrix
from recdeploy_ops.training import gate_models, train
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models
from recdeploy_ops.training.recommendations import ITEMS, USERS, read_ids

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = settings_with()
SOURCE = SETTINGS.source
TOP_K, SEED = 5, 42


def write_extract(folder: Path, *, weeks: int) -> Path:
    """Write interactions of two tastes: even users like even items, and rate them higher."""
    random, rows = np.random.default_rng(3), []
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for user in range(80):
        items = random.choice(
            60, 20, replace=False, p=[(3 if (item + user) % 2 == 0 else 1) / 120 for item in range(60)]
        )
        for number, item in enumerate(items):
            week = number * 10 // 20
            rating = 4.0 + random.integers(0, 2) if (item + user) % 2 == 0 else 1.0 + random.integers(0, 3)
            rows.append((f"u{user:02}", f"p{item:02}", float(rating), start + dt.timedelta(weeks=week, minutes=number)))
    rows = sorted(row for row in rows if row[3] < start + dt.timedelta(weeks=weeks))
    users, products, ratings, times = (list(column) for column in zip(*rows, strict=True))
    folder.mkdir(parents=True)
    columns = {"user_id": users, "product_id": products, "rating": ratings}
    times = pa.array(times, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**columns, "ordered_at": times}), folder / "interactions.parquet")
    pq.write_table(pa.table({"user_id": sorted(set(users))}), folder / USERS)
    items = sorted({f"p{item:02}" for item in range(60)})
    pq.write_table(pa.table({"product_id": items, "title": [f"title of {item}" for item in items]}), folder / ITEMS)
    return folder


def recipe(**changes: Any) -> dict[str, Any]:
    return {**SETTINGS.training.model_dump(), **changes}


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Today's extract and the champion's."""
    folder = tmp_path_factory.mktemp("extracts")
    return write_extract(folder / "today", weeks=10), write_extract(folder / "approved", weeks=9)


@pytest.fixture(scope="module")
def results(extracts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's results on today's extract."""
    folder = tmp_path_factory.mktemp("results")
    train(extracts[0], folder, SETTINGS, top_k=TOP_K, seed=SEED, report=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def side(extracts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> ChampionSide:
    """The champion's side of the backtest."""
    work = tmp_path_factory.mktemp("side")
    return train_champion_side(work, Side(extracts[1], recipe()), SETTINGS, seed=SEED, report=lambda line: None)


@pytest.fixture(scope="module")
def comparison(extracts: tuple[Path, Path], side: ChampionSide, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return train_comparison(
        tmp_path_factory.mktemp("work"),
        Side(extracts[0], recipe()),
        side,
        SETTINGS,
        top_k=TOP_K,
        seed=SEED,
        why="",
        report=lambda line: None,
    )


def test_the_same_rows_recipe_and_seed_give_the_operators_lists(
    extracts: tuple[Path, Path], results: Path, tmp_path: Path
) -> None:
    model = GateModel("own", "candidate", SEED, TOP_K, is_backtest=False)
    lines: list[str] = []
    trained = train_gate_models(
        tmp_path, {"candidate": Side(extracts[0], recipe())}, [model], [], settings=SETTINGS, report=lines.append
    )
    users, items = read_ids(extracts[0] / USERS, "user_id"), read_ids(extracts[0] / ITEMS, "product_id")
    assert (trained.lists["own"] == read_matrix(results, SOURCE).within(users, items)).all()
    assert "Training 1 models for the gates" in lines
    assert 0 < trained.measures["own"]["rmse"] ** 2 < trained.measures["own"]["variance"] * 2


def test_twins_are_of_one_kind_with_the_candidate_and_not_the_same(
    extracts: tuple[Path, Path], results: Path, comparison: Comparison
) -> None:
    own = Folders(results, extracts[0])
    measured, radius = measure_files(own, own, comparison.twins, settings=SETTINGS)
    assert measured.twins is not None
    assert measured.twins.users == 80
    assert 0.05 < measured.twins.floor < 0.99
    assert measured.twins.agreement == pytest.approx(measured.twins.floor, abs=0.15)
    assert measured.champion is not None
    assert measured.champion.agreement == 1.0
    assert radius is not None
    assert radius.kept == (0,) * TOP_K + (80,)
    assert radius.changed == ()


def test_the_backtest_asks_both_sides_for_the_champions_last_interactions(comparison: Comparison) -> None:
    quality = comparison.quality
    assert quality is not None
    assert (quality.users, quality.champion_trainings, quality.candidate_trainings, quality.depth) == (80, 5, 5, 10)
    assert quality.low <= quality.relative <= quality.high
    assert quality.champion > quality.random > 0
    assert quality.popularity > 0


def test_the_recipe_is_ranked_beside_popular_items_and_a_challenger(comparison: Comparison) -> None:
    rankings = comparison.rankings
    assert rankings is not None
    assert rankings.configured.name == "svd"
    assert [ranked.name for ranked in rankings.others] == ["popularity", "ease", "random"]
    assert comparison.quality is not None
    assert rankings.configured.quality == comparison.quality.candidate
    ease = rankings.others[1]
    assert ease.low is not None
    assert ease.high is not None
    assert ease.relative is not None
    assert ease.low < ease.relative < ease.high


def test_a_challenger_that_would_take_too_long_is_left_out_and_named(
    extracts: tuple[Path, Path], side: ChampionSide, tmp_path: Path
) -> None:
    training = SETTINGS.training.model_copy(update={"challenger_minutes": 1e-9})
    compared = train_comparison(
        tmp_path,
        Side(extracts[0], recipe()),
        side,
        SETTINGS.model_copy(update={"training": training}),
        top_k=TOP_K,
        seed=SEED,
        why="",
        report=lambda line: None,
    )
    assert compared.quality is not None
    assert compared.rankings is not None
    assert "more than the 1e-09 of training.challenger_minutes" in compared.rankings.why


def test_a_side_is_read_as_it_was_written(side: ChampionSide, tmp_path: Path) -> None:
    again = ChampionSide.read(tmp_path, side.write(tmp_path))
    held_out, known = again.backtest.held_out, side.backtest.held_out
    assert (held_out.pairs, held_out.users, held_out.items) == (known.pairs, known.users, known.items)
    assert (held_out.keys == known.keys).all()
    assert (held_out.counts == known.counts).all()
    assert np.array_equal(again.lists, side.lists)
    numbers = ("depth", "random", "popularity")
    assert [getattr(again.backtest, name) for name in numbers] == [getattr(side.backtest, name) for name in numbers]
    assert (again.backtest.row_hashes == side.backtest.row_hashes).all()


def test_the_same_seed_does_not_give_both_sides_the_same_trainings(
    extracts: tuple[Path, Path], side: ChampionSide, tmp_path: Path
) -> None:
    same = train_comparison(
        tmp_path,
        Side(extracts[1], recipe()),
        side,
        SETTINGS,
        top_k=TOP_K,
        seed=SEED,
        why="",
        report=lambda line: None,
    )
    assert same.quality is not None
    assert same.quality.candidate != same.quality.champion


def test_a_side_asks_for_the_rows_of_its_extract_only(extracts: tuple[Path, Path], side: ChampionSide) -> None:
    assert side.asks_for_rows_of(extracts[1], SETTINGS)
    assert not side.asks_for_rows_of(extracts[0], SETTINGS)


def test_a_recipe_that_learns_nothing_ranks_worse(
    extracts: tuple[Path, Path], side: ChampionSide, tmp_path: Path
) -> None:
    worse = train_comparison(
        tmp_path,
        Side(extracts[0], recipe(learning_rate=1e-6, epochs=1)),
        side,
        SETTINGS,
        top_k=TOP_K,
        seed=SEED,
        why="",
        report=lambda line: None,
    )
    assert worse.quality is not None
    assert worse.quality.candidate < worse.quality.champion


def test_without_a_champion_only_twins_are_trained(extracts: tuple[Path, Path], tmp_path: Path) -> None:
    first = train_comparison(
        tmp_path,
        Side(extracts[0], recipe(refit=True)),
        None,
        SETTINGS,
        top_k=TOP_K,
        seed=2**32 - 1,
        why="of a reason",
        report=lambda line: None,
    )
    assert (first.quality, first.why) == (None, "of a reason")
    assert first.rankings is not None  # on its own data
    assert first.rankings.users == 80
    assert [twin.shape for twin in first.twins] == [(80, TOP_K)] * 2


def test_too_little_history_is_not_asked_about(extracts: tuple[Path, Path], tmp_path: Path) -> None:
    bounds = QualityThresholds(fewest_interactions=50)
    gates = SETTINGS.gates.model_copy(update={"quality": bounds})
    settings = SETTINGS.model_copy(update={"gates": gates})
    champion = Side(extracts[1], recipe())
    nothing = train_champion_side(tmp_path, champion, settings, seed=SEED, report=lambda line: None)
    folder = tmp_path / "stored"
    folder.mkdir()
    first = train_comparison(
        tmp_path / "work",
        Side(extracts[0], recipe()),
        ChampionSide.read(folder, nothing.write(folder)),
        settings,
        top_k=TOP_K,
        seed=SEED,
        why="",
        report=lambda line: None,
    )
    assert first.quality is None
    assert first.why == "no user of the champion's extract has 50 interactions"


def test_a_comparison_is_read_as_it_was_written(comparison: Comparison, tmp_path: Path) -> None:
    again = Comparison.read(tmp_path, comparison.write(tmp_path))
    assert again.quality == comparison.quality
    assert again.rankings == comparison.rankings
    assert all((one == other).all() for one, other in zip(again.twins, comparison.twins, strict=True))


def test_a_process_that_leaves_no_lists_is_an_error(
    extracts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "silent.py"
    script.write_text("print('nothing to do')")
    monkeypatch.setattr(gate_models, "SCRIPT", script)
    model = GateModel("own", "candidate", SEED, TOP_K, is_backtest=False)
    with pytest.raises(TrainingFailedError, match=r"left no lists.*\n  nothing to do"):
        train_gate_models(
            tmp_path / "work",
            {"candidate": Side(extracts[0], recipe())},
            [model],
            [],
            settings=SETTINGS,
            report=lambda line: None,
        )
