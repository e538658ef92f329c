"""A change of recipe: held with both, and no gate over what it changes rejects the candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from recdeploy_ops.domain.gates.quality import QualityFacts
from recdeploy_ops.domain.gates.recipe_changes import allow_another_recipe
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.recipes import ALS, EASE, SVD

QUALITY = QualityFacts(900, 800, 1.5, 1.3, 1.7, 0.1, 0.25, (1.5, 1.3, 1.7), 0.01, 0.15, 100, 5, 1)


def failing(gate: str) -> GateReport:
    return GateReport((Finding(gate, Verdict.FAIL, 0.1, "FAIL < 25 %", "Much changes."),))


@pytest.mark.parametrize("gate", ["churn", "more_shared_lists", "distinct_items", "top_item"])
def test_what_another_recipe_changes_is_held_and_never_rejected(gate: str) -> None:
    recipe, finding = allow_another_recipe(failing(gate), SVD, EASE, QUALITY).findings
    assert (recipe.gate, recipe.verdict) == ("recipe", Verdict.HOLD)
    assert "from svd to ease" in recipe.message
    assert "ease reaches NDCG@100 0.25, svd 0.1." in recipe.message
    assert finding.verdict is Verdict.HOLD
    assert finding.message == (
        "Much changes. It does not reject the candidate, as the recipe changes from svd to ease."
    )


@pytest.mark.parametrize("gate", ["quality", "twin_agreement", "strangers"])
def test_what_says_that_the_candidate_is_wrong_still_rejects_it(gate: str) -> None:
    report = allow_another_recipe(failing(gate), EASE, ALS, QUALITY)
    assert report.verdict is Verdict.FAIL


def test_noise_floors_of_two_recipes_are_not_compared() -> None:
    _, floor = allow_another_recipe(failing("noise_floor"), EASE, ALS, QUALITY).findings
    assert floor.verdict is Verdict.PASS
    assert floor.inapplicable == "the recipe changes from ease to als"


@pytest.mark.parametrize("quality", [None, replace(QUALITY, relative=math.nan)])
def test_without_a_backtest_nothing_is_said_about_quality(quality: QualityFacts | None) -> None:
    recipe, _ = allow_another_recipe(failing("churn"), SVD, ALS, quality).findings
    assert "No backtest says which of them ranks better." in recipe.message


def test_the_same_recipe_leaves_the_report_as_it_is() -> None:
    assert allow_another_recipe(failing("churn"), EASE, EASE, QUALITY) == failing("churn")
