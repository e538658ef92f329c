"""The candidate's lists against its twins' and the champion's: what is measured, and what the gates make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from artifacts import SETTINGS, write_results
from hypothesis import given
from hypothesis import strategies as st

from recdeploy_ops.domain.gates.behaviour import ListThresholds, Slice, TwinFacts, judge_twins
from recdeploy_ops.domain.gates.changes import (
    ChampionFacts,
    Concentration,
    Floors,
    judge_changes,
    judge_lists_alone,
)
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.recipes import ALS, EASE, SVD
from recdeploy_ops.evaluation.behaviour import measure_champion, measure_twins
from recdeploy_ops.evaluation.list_matrix import count_shared, jaccard, measure_concentration, read_matrix
from recdeploy_ops.evaluation.slices import Slices

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.domain.gates.verdicts import Finding

BOUNDS = ListThresholds()
PASS, HOLD, FAIL = Verdict
USERS, ITEMS, TOP_K = 600, 200, 10
TWINS = TwinFacts(users=1000, agreement=0.24, floor=0.24, error=0.003, strangers=0.02, usual_strangers=0.02)
OWN = Concentration(distinct_items=100, top_share=0.5, shared=0.0)
CHAMPION = ChampionFacts(users=1000, agreement=0.24, concentration=OWN, own=OWN)
FLOORS = Floors(0.24, 0.24)


def by_gate(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.gate: finding for finding in findings}


@pytest.mark.parametrize(
    ("changes", "gate", "verdict"),
    [
        ({}, "twin_agreement", PASS),
        ({"agreement": 0.3}, "twin_agreement", PASS),
        ({"agreement": 0.24 * 0.87}, "twin_agreement", HOLD),
        ({"agreement": 0.24 * 0.79}, "twin_agreement", FAIL),
        ({"agreement": 0.24 * 0.79, "users": 499}, "twin_agreement", HOLD),
        ({"agreement": 0.14 * 0.79, "floor": 0.14}, "twin_agreement", HOLD),
        ({"agreement": 0.0, "floor": 0.0}, "twin_agreement", HOLD),
        ({"strangers": 0.0335}, "strangers", PASS),
        ({"strangers": 0.035}, "strangers", HOLD),
        ({"strangers": 0.055}, "strangers", FAIL),
        ({"strangers": 0.055, "users": 499}, "strangers", HOLD),
        ({"strangers": 0.36, "usual_strangers": 0.3}, "strangers", PASS),
        ({"strangers": 0.38, "usual_strangers": 0.3}, "strangers", HOLD),
        ({"worst_slice": Slice("country = DE", 0.61, 50, 0.24)}, "worst_slice", PASS),
        ({"worst_slice": Slice("country = DE", 0.59, 500, 0.24)}, "worst_slice", FAIL),
        ({"worst_slice": Slice("country = DE", 0.59, 499, 0.24)}, "worst_slice", HOLD),
        ({"worst_slice": Slice("country = DE", 0.59, 500, 0.14)}, "worst_slice", HOLD),
    ],
)
def test_lists_that_are_not_what_the_recipe_gives_are_seen(
    changes: dict[str, Any], gate: str, verdict: Verdict
) -> None:
    assert by_gate(judge_twins(replace(TWINS, **changes), BOUNDS, why=""))[gate].verdict is verdict


@pytest.mark.parametrize(
    ("changes", "gate", "verdict", "by_chance"),
    [
        ({}, "twin_agreement", PASS, PASS),
        ({"agreement": 0.9991}, "twin_agreement", PASS, PASS),
        ({"agreement": 0.998}, "twin_agreement", HOLD, PASS),
        ({"agreement": 0.97}, "twin_agreement", FAIL, PASS),
        ({"agreement": 0.97, "users": 499}, "twin_agreement", HOLD, PASS),
        ({"strangers": 0.002}, "strangers", HOLD, PASS),
        ({"strangers": 0.02}, "strangers", FAIL, HOLD),
        ({"worst_slice": Slice("country = DE", 0.98, 500, 1.0)}, "worst_slice", HOLD, PASS),
        ({"worst_slice": Slice("country = DE", 0.89, 500, 1.0)}, "worst_slice", FAIL, PASS),
    ],
)
def test_ease_must_agree_with_its_twin(
    changes: dict[str, Any], gate: str, verdict: Verdict, by_chance: Verdict
) -> None:
    same = TwinFacts(users=1000, agreement=1.0, floor=1.0, error=0.0, strangers=0.0, usual_strangers=0.0)
    facts = replace(same, **changes)
    for recipe, expected in ((EASE, verdict), (SVD, by_chance), (ALS, by_chance)):
        assert by_gate(judge_twins(facts, BOUNDS.of(recipe), why=""))[gate].verdict is expected


def test_a_slice_is_named_as_text_on_one_line() -> None:
    facts = replace(TWINS, worst_slice=Slice("country = Österreich\n\u202e", 0.59, 1200, 0.24))
    finding = by_gate(judge_twins(facts, BOUNDS, why=""))["worst_slice"]
    assert finding.message.startswith(
        'In the slice "country = Österreich\\n\\u202e" (1,200 users) the lists agree with the twins\' by 59 % of the'
    )
    assert (finding.scale.show(finding.value or 0), finding.threshold) == ("59 %", "HOLD < 60 %, FAIL < 60 %")


@pytest.mark.parametrize(
    ("own", "champion", "floors", "gate", "verdict"),
    [
        ({}, {}, FLOORS, "churn", PASS),
        ({}, {"agreement": 0.24 * 0.59}, FLOORS, "churn", HOLD),
        ({}, {"agreement": 0.24 * 0.24}, FLOORS, "churn", FAIL),
        ({}, {"agreement": 0.24 * 0.24, "users": 499}, FLOORS, "churn", HOLD),
        ({}, {}, Floors(None, 0.24), "churn", HOLD),
        ({}, {}, FLOORS, "noise_floor", PASS),
        ({}, {}, Floors(0.24, 0.2), "noise_floor", PASS),
        ({}, {}, Floors(0.24, 0.19), "noise_floor", HOLD),
        ({}, {}, Floors(0.24, 0.33), "noise_floor", HOLD),
        ({}, {}, Floors(0.24, None), "noise_floor", HOLD),
        ({"distinct_items": 75}, {}, FLOORS, "distinct_items", PASS),
        ({"distinct_items": 74}, {}, FLOORS, "distinct_items", HOLD),
        ({"distinct_items": 126}, {}, FLOORS, "distinct_items", HOLD),
        ({"top_share": 0.75}, {}, FLOORS, "top_item", PASS),
        ({"top_share": 0.76}, {}, FLOORS, "top_item", HOLD),
        ({"top_share": 0.0}, {}, FLOORS, "top_item", PASS),
        ({"shared": 0.01}, {}, FLOORS, "more_shared_lists", PASS),
        ({"shared": 0.02}, {}, FLOORS, "more_shared_lists", HOLD),
        ({"shared": 0.06}, {}, FLOORS, "more_shared_lists", FAIL),
        ({"shared": 0.06}, {"users": 499}, FLOORS, "more_shared_lists", HOLD),
    ],
)
def test_changes_beyond_chance_are_seen(
    own: dict[str, Any], champion: dict[str, Any], floors: Floors, gate: str, verdict: Verdict
) -> None:
    facts = replace(CHAMPION, **champion, own=replace(OWN, **own))
    findings = judge_changes(facts, floors, BOUNDS, why="")
    assert by_gate(findings)[gate].verdict is verdict


@pytest.mark.parametrize(
    ("own", "gate", "verdict", "common"),
    [
        ({"shared": 0.14}, "more_shared_lists", PASS, FAIL),
        ({"shared": 0.16}, "more_shared_lists", HOLD, FAIL),
        ({"shared": 1.0}, "more_shared_lists", HOLD, FAIL),
        ({"distinct_items": 61}, "distinct_items", PASS, HOLD),
        ({"distinct_items": 59}, "distinct_items", HOLD, HOLD),
    ],
)
def test_the_lists_of_ease_may_spread_more_or_less_from_week_to_week(
    own: dict[str, Any], gate: str, verdict: Verdict, common: Verdict
) -> None:
    facts = replace(CHAMPION, own=replace(OWN, **own))
    for recipe, expected in ((EASE, verdict), (SVD, common), (ALS, common)):
        assert by_gate(judge_changes(facts, FLOORS, BOUNDS.of(recipe), why=""))[gate].verdict is expected


@pytest.mark.parametrize(
    ("shared", "tied", "expected"),
    [(0.25, 0.5, (PASS, PASS)), (0.26, 0.5, (HOLD, PASS)), (0.25, 0.51, (PASS, HOLD)), (1.0, 1.0, (HOLD, HOLD))],
)
def test_equal_lists_and_equal_scores_always_hold(
    shared: float, tied: float, expected: tuple[Verdict, Verdict]
) -> None:
    findings = judge_lists_alone(replace(OWN, shared=shared), tied, 1000, BOUNDS)
    assert tuple(finding.verdict for finding in findings) == expected


def test_what_was_not_measured_holds_and_says_why() -> None:
    findings = judge_twins(None, BOUNDS, why="of a reason") + judge_changes(None, FLOORS, BOUNDS, why="of a reason")
    assert len(findings) == 7
    assert {(f.verdict, f.value, f.message) for f in findings} == {(HOLD, None, "Not measured: of a reason.")}


# Measuring


def draw_lists(seed: int, *, tastes: int = 40) -> np.ndarray:
    """Lists of users who mostly get their own favourites, as trainings with different seeds give them."""
    random = np.random.default_rng(seed)
    favourites = np.random.default_rng(0).random((USERS, ITEMS)).argsort(axis=1)[:, :tastes]
    return np.array([random.choice(row, TOP_K, replace=False) for row in favourites], np.int32)


def at_random(lists: np.ndarray, share: float) -> np.ndarray:
    random, damaged = np.random.default_rng(5), lists.copy()
    hit = random.choice(USERS, int(share * USERS), replace=False)
    damaged[hit] = random.random((len(hit), ITEMS)).argsort(axis=1)[:, :TOP_K]
    return damaged


SLICES = Slices(("few", "many"), np.array([int(user >= 45) for user in range(USERS)]))


@pytest.mark.parametrize(
    ("damage", "verdicts"),
    [
        (lambda lists: lists, {PASS}),
        (lambda lists: at_random(lists, 0.4), {FAIL}),
        (lambda lists: np.roll(lists, 1, axis=0), {FAIL}),
        (lambda lists: np.tile(lists[:1], (USERS, 1)), {FAIL}),
    ],
    ids=["as trained", "lists at random for 40 %", "exchanged between users", "one list for everybody"],
)
def test_damaged_lists_differ_from_their_twins(damage: Any, verdicts: set[Verdict]) -> None:
    bounds = replace(BOUNDS, least_floor=0.1)
    facts = measure_twins(damage(draw_lists(1)), [draw_lists(2), draw_lists(3)], None, fewest_in_slice=40)
    assert facts is not None
    assert {finding.verdict for finding in judge_twins(facts, bounds, why="")} == verdicts


def test_the_worst_slice_is_named() -> None:
    lists = draw_lists(1)
    lists[:45] = np.roll(lists[:45], 1, axis=0)
    facts = measure_twins(lists, [draw_lists(2), draw_lists(3)], SLICES, fewest_in_slice=40)
    assert facts is not None
    assert facts.worst_slice is not None
    assert (facts.worst_slice.name, facts.worst_slice.users) == ("few", 45)
    assert facts.worst_slice.ratio < 0.9
    none = measure_twins(lists, [draw_lists(2), draw_lists(3)], SLICES, fewest_in_slice=USERS)
    assert none is not None
    assert none.worst_slice is None


@pytest.mark.parametrize(
    ("one", "other", "shared", "index"),
    [
        ([1, 2, 3], [3, 2, 1], 3, 1.0),
        ([1, 2, 3], [4, 5, 6], 0, 0.0),
        ([1, 2, 3], [1, 2, 9], 2, 0.5),
        ([1, -1, -1], [1, 2, -1], 1, 0.5),
        ([-1, -1, -1], [-1, -1, -1], 0, 1.0),
        ([-1, -1, -1], [1, -1, -1], 0, 0.0),
    ],
)
def test_agreement_is_the_jaccard_index(one: list[int], other: list[int], shared: int, index: float) -> None:
    lists = np.array([one], np.int32), np.array([other], np.int32)
    assert count_shared(*lists).tolist() == [shared]
    assert jaccard(*lists).tolist() == [index]


def test_concentration_counts_items_reach_and_equal_lists() -> None:
    lists = np.array([[1, 2], [2, 1], [1, 3], [4, -1]], np.int32)
    assert measure_concentration(lists) == Concentration(distinct_items=4, top_share=0.75, shared=0.5)


@given(st.lists(st.lists(st.integers(0, 4), max_size=3, unique=True), min_size=1, max_size=12))
def test_lists_with_the_same_items_in_any_order_are_shared(items: list[list[int]]) -> None:
    lists = np.array([[*row, -1, -1, -1][:3] for row in [[0], *items]], np.int32)
    sets = [frozenset(row[row >= 0].tolist()) for row in lists]
    assert measure_concentration(lists).shared == sum(sets.count(own) > 1 for own in sets) / len(sets)


def test_only_users_with_both_lists_are_compared() -> None:
    candidate, champion = np.array([[1], [2], [-1]], np.int32), np.array([[1], [-1], [3]], np.int32)
    assert measure_champion(candidate, champion) == ChampionFacts(
        1, 1.0, Concentration(1, 1.0, 0.0), Concentration(1, 1.0, 0.0)
    )
    assert measure_champion(candidate[:1], champion[1:2]) is None
    assert measure_twins(candidate[2:], [candidate[:1]] * 2, None, fewest_in_slice=1) is None


def test_lists_are_read_with_ids_of_another_extract(tmp_path: Path) -> None:
    lists = {"u2": [("p9", 2.0), ("p1", 2.0)], "u1": [("p2", 3.0)], "u7": [("p1", 2.0), ("p2", 1.0)]}
    matrix = read_matrix(write_results(tmp_path, lists=lists), SETTINGS.source)

    assert matrix.tied.tolist() == [True, False, False]
    within = matrix.within(pa.array(["u1", "u2", "u3"]), pa.array(["p1", "p2"]))
    assert within.tolist() == [[1, -1], [2, 0], [-1, -1]]
