"""Releases by each recipe, with real trainings: a change of recipe is held, promoted, and rolled back."""

from __future__ import annotations

import pytest
from steps.factories import Run, reopen, served
from steps.test_stored_backtests import SMALL, with_quality

from recdeploy_ops.domain.events import CandidateChecked, CandidateEvaluated, ModelTrained
from recdeploy_ops.evaluation.pages import render_page
from recdeploy_ops.evaluation.release_report import build_report
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.steps import run_ads_operator


@pytest.fixture
def settings(settings):
    return with_quality(settings, SMALL)


class TrainedRun(Run):
    """A run whose model is trained."""

    def train(self):
        self._take(run_ads_operator)


def of_recipe(context, recipe, run_id, folder):
    training = context.settings.training.model_copy(update={"recipe": recipe, "factors": 5, "epochs": 5})
    return TrainedRun(reopen(context, training=training), run_id, folder)


def findings_of(run, event):
    release = run.context.refresh().releases[run.run_id]
    report = read_report(run.context.store, release.require(event))
    return {finding["gate"]: finding for finding in report["findings"]}, report["details"]


@pytest.mark.more
@pytest.mark.parametrize("recipe", ["ease", "als"])
def test_a_change_of_recipe_is_held_promoted_and_rolled_back(context, recipe, tmp_path):
    first = of_recipe(context, "svd", "run-1", tmp_path)
    first.release_fully()
    _, details = findings_of(first, CandidateEvaluated)
    assert details["recipes"]["configured"]["name"] == "svd"
    assert [other["name"] for other in details["recipes"]["others"]] == ["popularity", "ease", "random"]

    second = of_recipe(context, recipe, "run-2", tmp_path)
    second.validate()

    assert second.context.release.require(ModelTrained).inputs["model"]["recipe"] == recipe
    checked, _ = findings_of(second, CandidateChecked)
    assert checked["explained_variance"]["inapplicable"]
    lists, details = findings_of(second, CandidateEvaluated)
    assert lists["recipe"]["verdict"] == "HOLD"
    assert f"from svd to {recipe}" in lists["recipe"]["message"]
    assert f"{recipe} reaches NDCG@" in lists["recipe"]["message"]
    assert {finding["verdict"] for finding in lists.values()} <= {"PASS", "HOLD"}
    trainings = details["quality"]["champion_trainings"], details["quality"]["candidate_trainings"]
    assert trainings == (SMALL.seeds, 1 if recipe == "ease" else SMALL.seeds)
    report = build_report(second.context)
    seed, data, settings = report["churn"]
    assert (data["items"], settings["note"]) == (0, "what is beyond the seed (recipe)")
    assert seed["items"] + settings["items"] >= report["blast_radius"]["lost"]
    assert report["new_users"]["sentences"][0].endswith(f": the recipe {recipe} predicts no ratings.")
    page = render_page(report)
    assert "Would another recipe rank better?" in page
    assert "What do new users get?" in page
    assert f"The recipe {recipe}, configured" in page

    second.promote_fully()
    assert served(context) == 2
    of_recipe(context, recipe, "run-3", tmp_path).roll_back()
    assert served(context) == 1


@pytest.mark.more
@pytest.mark.parametrize("recipe", ["ease", "als"])
def test_a_second_release_by_the_same_recipe_is_compared_like_with_like(context, recipe, tmp_path):
    of_recipe(context, recipe, "run-1", tmp_path).release_fully()
    second = of_recipe(context, recipe, "run-2", tmp_path)
    second.plan()
    second.make()

    lists, details = findings_of(second, CandidateEvaluated)
    assert "recipe" not in lists
    assert bool(lists["noise_floor"]["inapplicable"]) == (recipe == "ease")
    assert lists["twin_agreement"]["value"] == pytest.approx(0) if recipe == "ease" else True
    assert details["recipes"]["configured"]["name"] == recipe
    seed, data, changed = build_report(second.context)["churn"]
    assert seed["items"] == (0 if recipe == "ease" else details["blast_radius"]["lost"])
    assert (data["items"], changed["items"]) == (0, 0)
