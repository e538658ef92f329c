"""A change of recipe: held with both, and no gate over what it changes rejects the candidate."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.behaviour import ListThresholds, TwinFacts
from recdeploy_ops.domain.gates.changes import ChampionFacts, Concentration
from recdeploy_ops.domain.gates.quality import QualityFacts, QualityThresholds, judge_quality
from recdeploy_ops.domain.gates.recipe_changes import allow_another_recipe
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.recipes import ALS, EASE, RECIPES, SVD
from recdeploy_ops.evaluation.behaviour import BehaviourFacts, judge_behaviour

if TYPE_CHECKING:
    from recdeploy_ops.domain.recipes import Recipe

QUALITY = QualityFacts(900, 800, 1.5, 1.3, 1.7, 0.1, 0.25, (1.5, 1.3, 1.7), 0.01, 0.15, 100, 5, 1)
# A recipe that ranks far worse than the champion's, as SVD does after EASE on MovieLens-100k.
WORSE = replace(QUALITY, relative=-0.6, low=-0.65, high=-0.55, champion=0.25, candidate=0.1)
USERS = 900
SPREAD = Concentration(distinct_items=800, top_share=0.1, shared=0.0)
# Most lists change, fewer items are listed, one of them to everyone, and many users have the same list.
NARROW = Concentration(distinct_items=200, top_share=0.9, shared=0.2)
CHANGES = list(permutations(RECIPES, 2))  # champion, candidate
CHANGED = ("churn", "more_shared_lists", "distinct_items", "top_item", "quality")


def failing(gate: str) -> GateReport:
    return GateReport((Finding(gate, Verdict.FAIL, 0.1, "FAIL < 25 %", "Much changes."),))


def judged(champion: Recipe, candidate: Recipe, *, floor: float = 1.0, agreement: float = 1.0) -> GateReport:
    """Judge a candidate that has little in common with the champion and ranks far worse, as `evaluate_candidate` does.

    Args:
        champion: its recipe.
        candidate: its recipe.
        floor: of the twins with each other.
        agreement: of the candidate with its twins.
    """
    strangers = 1 - agreement / floor
    facts = BehaviourFacts(
        users=USERS,
        own=NARROW,
        tied=0.0,
        twins=TwinFacts(USERS, agreement, floor, error=0.001, strangers=strangers, usual_strangers=0.0),
        champion=ChampionFacts(USERS, 0.05, SPREAD, NARROW),
    )
    findings = (
        *judge_behaviour(facts, 0.3, ListThresholds().of(candidate), no_twins="", no_champion=""),
        judge_quality(WORSE, QualityThresholds(), why=""),
    )
    return allow_another_recipe(leave_out(GateReport(findings), candidate), champion, candidate, WORSE)


def rejecting(recipe: str) -> set[str]:
    """Return the gates that reject such a candidate if the champion is of the same recipe; the others only hold."""
    return {"churn", "quality"} | ({"more_shared_lists"} if recipe != "ease" else set())


def verdicts(report: GateReport) -> dict[str, Verdict]:
    return {finding.gate: finding.verdict for finding in report.findings}


@pytest.mark.parametrize(("champion", "candidate"), CHANGES)
def test_each_change_of_recipe_is_held_and_rejected_by_nothing_that_it_changes(champion: str, candidate: str) -> None:
    report = judged(RECIPES[champion], RECIPES[candidate])

    assert report.verdict is Verdict.HOLD
    recipe, *others = report.findings
    assert (recipe.gate, recipe.verdict) == ("recipe", Verdict.HOLD)
    assert f"from {champion} to {candidate}" in recipe.message
    assert f"{candidate} reaches NDCG@100 0.1, {champion} 0.25, the most popular items 0.15, random lists 0.01." in (
        recipe.message
    )
    assert {finding.gate for finding in others if finding.verdict is Verdict.HOLD} == set(CHANGED)
    allowed = {finding.gate for finding in others if f"as the recipe changes from {champion} to" in finding.message}
    assert allowed == rejecting(candidate)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_candidate_is_rejected_if_the_recipe_is_the_champions(recipe: str) -> None:
    report = judged(RECIPES[recipe], RECIPES[recipe])

    found = verdicts(report)
    assert "recipe" not in found
    assert {gate for gate, verdict in found.items() if verdict is Verdict.FAIL} == rejecting(recipe)


@pytest.mark.parametrize(("champion", "candidate"), CHANGES)
def test_lists_that_are_not_what_the_new_recipe_gives_are_rejected(champion: str, candidate: str) -> None:
    found = verdicts(judged(RECIPES[champion], RECIPES[candidate], floor=0.6, agreement=0.3))
    assert {gate for gate, verdict in found.items() if verdict is Verdict.FAIL} == {"twin_agreement", "strangers"}


@pytest.mark.parametrize("gate", CHANGED)
def test_what_another_recipe_changes_is_held_and_never_rejected(gate: str) -> None:
    _, finding = allow_another_recipe(failing(gate), SVD, EASE, QUALITY).findings
    assert finding.verdict is Verdict.HOLD
    assert finding.message == (
        "Much changes. It does not reject the candidate, as the recipe changes from svd to ease."
    )


@pytest.mark.parametrize("gate", ["twin_agreement", "strangers", "worst_slice"])
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
