"""Which gates apply to which recipe, and how a recipe without chance is compared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.bounds import not_measured
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.recipes import SVD, Recipe, recipe_of
from recdeploy_ops.evaluation.backtests import relative_difference
from recdeploy_ops.evaluation.behaviour import measure_twins

if TYPE_CHECKING:
    from collections.abc import Callable

RANKER = replace(SVD, name="ranker", is_deterministic=True, predicts_ratings=False)
LISTS = np.array([[0, 1], [1, 2], [2, 3]], np.int32)


def failing(gate: str) -> Finding:
    return Finding(gate, Verdict.FAIL, 0.5, "<= 0", "It is wrong.", interval=(0.4, 0.6))


def test_a_model_without_a_name_of_a_recipe_is_of_adss_recipe() -> None:
    assert recipe_of({"factors": 50}) is recipe_of({"recipe": "svd"}) is SVD


def test_the_recipe_of_a_later_version_is_an_error() -> None:
    with pytest.raises(KeyError, match="unheard-of"):
        recipe_of({"recipe": "unheard-of"})


@pytest.mark.parametrize(("recipe", "trainings"), [(SVD, 5), (RANKER, 1)])
def test_a_recipe_without_chance_is_trained_once(recipe: Recipe, trainings: int) -> None:
    assert recipe.trainings(5) == trainings


@pytest.mark.parametrize("gate", ["rating_spread", "newest_correlation", "explained_variance", "noise_floor"])
@pytest.mark.parametrize("make", [failing, lambda gate: not_measured(gate, "of a reason")])
def test_a_gate_that_does_not_apply_neither_rejects_nor_holds(gate: str, make: Callable[[str], Finding]) -> None:
    finding = make(gate)
    assert leave_out(GateReport((finding,)), SVD).findings == (finding,)
    [left_out] = leave_out(GateReport((finding,)), RANKER).findings
    assert (left_out.verdict, left_out.value, left_out.interval) == (Verdict.PASS, None, None)
    assert left_out.inapplicable
    assert not left_out.unmeasured
    assert left_out.inapplicable in left_out.message


def test_counts_have_no_range() -> None:
    report = GateReport((failing("newest_range"),))
    assert leave_out(report, recipe_of({"recipe": "ease", "implicit": False})) == report
    [left_out] = leave_out(report, recipe_of({"recipe": "ease", "implicit": True})).findings
    assert left_out.inapplicable.startswith("counts of purchases have no range")


@pytest.mark.parametrize("gate", ["quality", "churn", "list_unrated", "twin_agreement"])
def test_every_other_gate_applies_to_every_recipe(gate: str) -> None:
    report = GateReport((failing(gate),))
    assert leave_out(report, RANKER) == report


def test_one_twin_of_a_recipe_without_chance_must_have_the_same_lists() -> None:
    same = measure_twins(LISTS, [LISTS], None, fewest_in_slice=1)
    assert same is not None
    assert (same.agreement, same.floor, same.strangers, same.usual_strangers) == (1.0, 1.0, 0.0, 0.0)
    other = measure_twins(LISTS[[1, 2, 0]], [LISTS], None, fewest_in_slice=1)
    assert other is not None
    assert other.floor == 1.0
    assert other.agreement < 0.5
    assert other.strangers > 0


def test_one_training_a_side_leaves_the_interval_of_the_users() -> None:
    champion, candidate = np.array([[0.5, 0.4, 0.6, 0.5]]), np.array([[0.6, 0.4, 0.6, 0.4]])
    mean, low, high = relative_difference(champion, candidate)
    # Student's t with 3 degrees of freedom: 3.182 standard errors of 0.0408, relative to 0.5.
    assert math.isclose(mean, 0.0, abs_tol=1e-12)
    assert high == pytest.approx(3.182446 * 0.0408248 / 0.5, rel=1e-5)
    assert low == pytest.approx(-high)
