"""The backtest: what is held out, how lists are scored, and what the gate makes of the difference."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import nDCG
from shops import settings_with

from recdeploy_ops.domain.gates.quality import QualityFacts, QualityThresholds, judge_quality
from recdeploy_ops.domain.gates.training import TrainingThresholds, explained_variance, judge_training
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.backtests import (
    collect_held_out,
    compare_quality,
    hold_out_last,
    list_popular,
    ndcg,
    random_ndcg,
    relative_difference,
)
from recdeploy_ops.evaluation.interactions import read_interactions

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.evaluation.interactions import Interactions

BOUNDS = QualityThresholds()
PASS, HOLD, FAIL = Verdict
SOURCE = settings_with().source
FACTS = QualityFacts(
    users=900,
    hits=500,
    relative=0.01,
    low=-0.04,
    high=0.06,
    champion=0.08,
    candidate=0.081,
    at_10=(0.03, -0.1, 0.16),
    random=0.02,
    popularity=0.16,
    depth=100,
    champion_trainings=5,
    candidate_trainings=5,
)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, PASS, "ranks +1.0% (95 % interval -4.0% to +6.0%)"),
        ({"low": -0.11}, HOLD, "may be worse by more than the margin"),
        ({"relative": -0.12, "low": -0.2, "high": -0.01}, FAIL, "It ranks worse"),
        ({"relative": -0.09, "low": -0.13, "high": -0.05}, HOLD, "may be worse by more than the margin"),
        ({"relative": -0.12, "low": -0.25, "high": 0.01}, HOLD, "about 1,52"),
        ({"users": 199, "relative": -0.5, "low": -0.6, "high": -0.4}, HOLD, "at least 200 users"),
        ({"hits": 99}, HOLD, "100 of them with a hit; there are 900 and 99"),
        ({"relative": math.nan, "low": math.nan, "high": math.nan, "hits": 0}, HOLD, "Too little evidence"),
    ],
)
def test_a_recipe_that_ranks_worse_is_seen(changes: dict[str, Any], verdict: Verdict, words: str) -> None:
    finding = judge_quality(replace(FACTS, **changes), BOUNDS, why="")
    assert finding.verdict is verdict
    assert words in finding.message
    assert ("the most popular items 0.16" in finding.message) is math.isfinite(changes.get("low", 0.0))


def test_a_backtest_without_hits_can_be_stored() -> None:
    nothing = replace(FACTS, relative=math.nan, low=math.nan, high=math.nan, at_10=(math.nan, math.nan, math.nan))
    plain = nothing.to_plain()
    assert (plain["relative"], plain["at_10"]) == (None, [None, None, None])
    json.dumps(plain, allow_nan=False)
    assert str(QualityFacts.from_plain(plain)) == str(nothing)
    assert QualityFacts.from_plain(json.loads(json.dumps(FACTS.to_plain()))) == FACTS


def test_without_a_backtest_it_holds() -> None:
    finding = judge_quality(None, BOUNDS, why="this is the first release")
    assert (finding.verdict, finding.value) == (HOLD, None)
    assert finding.message == "Not measured: this is the first release."


# What is held out


def interactions(folder: Path, rows: list[tuple[str, str, int]], *, has_times: bool = True) -> Interactions:
    """Return interactions of user, item and day."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    columns: dict[str, Any] = {
        "user_id": [user for user, _, _ in rows],
        "product_id": [item for _, item, _ in rows],
        "rating": [3.0] * len(rows),
    }
    if has_times:
        times = [start + dt.timedelta(days=day) for _, _, day in rows]
        columns["ordered_at"] = pa.array(times, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    return read_interactions(folder, SOURCE)


def history_of(user: str, count: int) -> list[tuple[str, str, int]]:
    return [(user, f"p{number:02}", number) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "held"), [(9, []), (10, ["p08", "p09"]), (14, ["p12", "p13"]), (15, ["p12", "p13", "p14"])]
)
def test_the_last_interactions_of_users_with_enough_are_held_out(tmp_path: Path, count: int, held: list[str]) -> None:
    rows = [row for pair in zip(history_of("u1", count), history_of("u2", count), strict=True) for row in pair]
    measured = interactions(tmp_path, rows[::-1])
    pairs = collect_held_out(measured, hold_out_last(measured, BOUNDS)).pairs
    assert sorted(pairs) == [(user, item) for user in ("u1", "u2") for item in held]


def test_no_more_than_ten_are_held_out_of_a_user(tmp_path: Path) -> None:
    measured = interactions(tmp_path, history_of("u1", 99))
    assert len(hold_out_last(measured, BOUNDS)) == 10


def test_without_timestamps_the_same_rows_are_drawn_in_any_order(tmp_path: Path) -> None:
    rows = history_of("u1", 20)
    held = []
    for order in (rows, rows[::-1]):
        measured = interactions(tmp_path, order, has_times=False)
        held.append(collect_held_out(measured, hold_out_last(measured, BOUNDS)).pairs)
    assert sorted(held[0]) == sorted(held[1])
    assert len(held[0]) == 4


def test_of_many_users_the_same_sample_is_asked_about(tmp_path: Path) -> None:
    rows = [row for number in range(50) for row in history_of(f"u{number}", 10)]
    bounds = replace(BOUNDS, most_users=20, fewest_users=20)
    samples = []
    for order in (rows, rows[::-1]):
        measured = interactions(tmp_path, order)
        samples.append({user for user, _ in collect_held_out(measured, hold_out_last(measured, bounds)).pairs})
    assert samples[0] == samples[1]
    assert len(samples[0]) == 20


# How lists are scored


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_ndcg_is_that_of_trec_eval(data: st.DataObject) -> None:
    depth, items = data.draw(st.integers(1, 8)), 12
    ranked = data.draw(st.lists(st.permutations(range(items)), min_size=1, max_size=4))
    relevant = [data.draw(st.sets(st.integers(0, items - 1), min_size=1, max_size=6)) for _ in ranked]
    hits = np.array([[item in wanted for item in row[:depth]] for row, wanted in zip(ranked, relevant, strict=True)])

    ours = ndcg(hits, np.array([len(wanted) for wanted in relevant]))

    qrels = {str(user): {str(item): 1 for item in wanted} for user, wanted in enumerate(relevant)}
    run = {
        str(user): {str(item): -float(rank) for rank, item in enumerate(row[:depth])} for user, row in enumerate(ranked)
    }
    theirs = {score.query_id: score.value for score in ir_measures.iter_calc([nDCG @ depth], qrels, run)}
    assert ours == pytest.approx([theirs[str(user)] for user in range(len(ranked))])


def test_random_lists_score_as_expected() -> None:
    random, catalogue, relevant, depth = np.random.default_rng(1), 40, 5, 10
    lists = random.random((20_000, catalogue)).argsort(axis=1)[:, :depth]
    counts = np.full(len(lists), relevant)
    measured = ndcg(lists < relevant, counts).mean()
    assert random_ndcg(counts, np.full(len(lists), catalogue), depth) == pytest.approx(measured, rel=0.02)


def test_the_most_popular_items_leave_out_what_a_user_has_rated_before(tmp_path: Path) -> None:
    rows = [*history_of("u1", 10), *[(f"v{n}", "p09", 0) for n in range(5)], *[(f"v{n}", "q", 0) for n in range(4)]]
    rows += [(f"v{n}", "p00", 0) for n in range(9)]
    measured = interactions(tmp_path, rows)
    held = hold_out_last(measured, BOUNDS)
    held_out = collect_held_out(measured, held)
    asked = np.unique(measured.users.codes[held])
    [best] = list_popular(measured.without(held), asked, 3)
    assert held_out.items.take(pa.array(best[:2])).to_pylist() == ["p09", "q"]  # p00 is rated, p09 held out
    assert best[2] not in {held_out.items.index(f"p{n:02}").as_py() for n in range(8)}


def test_two_equal_sides_differ_by_nothing(tmp_path: Path) -> None:
    measured = interactions(tmp_path, [row for number in range(30) for row in history_of(f"u{number}", 10)])
    rows = hold_out_last(measured, BOUNDS)
    held_out = collect_held_out(measured, rows)
    wanted = [held_out.items.index(item).as_py() for item in ("p08", "p00", "p09")]
    lists = np.tile(np.array(wanted, np.int32), (30, 1))
    facts = compare_quality([lists, lists], [lists, lists], held_out, (0.1, 0.2))
    assert (facts.relative, facts.low, facts.high, facts.users, facts.hits) == (0.0, 0.0, 0.0, 30, 30)
    assert facts.champion == pytest.approx((1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3)))
    nothing = np.full((30, 3), -1, np.int32)
    worse = compare_quality([lists, lists], [nothing, nothing], held_out, (0.1, 0.2))
    assert (round(worse.relative, 9), worse.candidate, worse.hits) == (-1.0, 0.0, 30)
    assert math.isnan(compare_quality([nothing] * 2, [lists] * 2, held_out, (0.1, 0.2)).relative)


def test_the_interval_covers_the_difference_as_often_as_it_says() -> None:
    """Users vary, and a seed moves all of them: an interval over users alone would miss every third time."""
    random, covered, trials = np.random.default_rng(7), 0, 400
    for _ in range(trials):
        users = random.normal(1, 0.5, 200)
        sides = [users + random.normal(0, 0.3, (5, 200)) + random.normal(0, 0.05, (5, 1)) for _ in range(2)]
        _, low, high = relative_difference(*sides)
        covered += low <= 0 <= high
    assert 0.92 <= covered / trials <= 0.995


# Training


@pytest.mark.parametrize(
    ("own", "champion", "verdict"),
    [
        (0.3, 0.32, PASS),
        (0.3, 0.331, HOLD),
        (0.4, 0.3, PASS),
        (0.0, 0.3, FAIL),
        (-0.2, 0.04, HOLD),
        (0.4, None, HOLD),
        (None, 0.3, HOLD),
        (math.nan, 0.3, HOLD),
    ],
)
def test_a_model_that_explains_less_is_seen(own: float | None, champion: float | None, verdict: Verdict) -> None:
    assert judge_training(own, champion, 20_000, TrainingThresholds(), why="").verdict is verdict


def test_without_the_champions_number_its_absence_is_the_reason() -> None:
    finding = judge_training(0.4, None, 20_000, TrainingThresholds(), why="this is the first release")
    assert (finding.value, finding.unmeasured) == (0.4, "this is the first release")


@pytest.mark.parametrize(
    ("metrics", "explained"),
    [
        ({"rmse": 0.5, "variance": 1.0}, 0.75),
        ({"rmse": 2.0, "variance": 1.0}, -3.0),
        ({"rmse": 0.5}, None),
        ({"rmse": 0.5, "variance": 0.0}, None),
        ({"variance": 1.0}, None),
    ],
)
def test_explained_variance_needs_error_and_variance(metrics: dict[str, object], explained: float | None) -> None:
    assert explained_variance(metrics) == explained
