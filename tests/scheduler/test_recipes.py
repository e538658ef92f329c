"""Releases by the other recipes under the scheduler, after one by ADS's own, and the rollback of the last."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from pollers import Poller
from scheduler.releases import OTHER_PARAMS, Switched
from scheduler.rollbacks import RESUMED, ROLLBACK, resume
from special_shop import SPECIAL_USERS

from recdeploy_ops.domain.events import ModelTrained, Promoted, PromotionsResumed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services import EndedRun, Installation

pytestmark = pytest.mark.more

COMMENT = "the lists are meant to change"
RECIPES = ["ease", "als"]


@dataclass(frozen=True)
class Changed(Switched):
    """A release that changed the recipe and the length of the lists.

    Attributes:
        former: the champion's recipe.
        question: that a person was asked.
    """

    former: str
    question: str


@contextmanager
def recipe_of(installation: Installation, recipe: str) -> Iterator[None]:
    """Let the settings name a recipe while the block lasts."""
    file = installation.home.settings
    kept = file.read_text(encoding="utf-8")
    values = yaml.safe_load(kept)
    values["training"]["recipe"] = recipe
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(kept, encoding="utf-8")


@pytest.fixture(scope="module")
def changed(installation: Installation, first_release: EndedRun) -> dict[str, Changed]:
    """Releases by each of `RECIPES`, one after the other, which a person promotes."""
    releases: dict[str, Changed] = {}
    former = trained_by(first_release)
    for recipe in RECIPES:
        before = installation.production()
        with recipe_of(installation, recipe), Poller(installation.cloud, before, SPECIAL_USERS[0]) as poller:
            run_id = installation.trigger(recipe, **OTHER_PARAMS)
            outcome = installation.follow(run_id, "promote", COMMENT)
        question = installation.admin.question(run_id)["body"]
        releases[recipe] = Changed(installation.inspect_run(run_id, outcome, before), poller, former, question)
        former = recipe
    return releases


@pytest.fixture(scope="module")
def rolled_back_to_ease(installation: Installation, changed: dict[str, Changed]) -> Switched:
    """The last of these releases rolled back, without an approval."""
    before, rollbacks = installation.production(), installation.of(ROLLBACK)
    with Poller(installation.cloud, before, SPECIAL_USERS[0]) as poller:
        run_id = rollbacks.trigger("back", reason="it looks odd", require_approval=False)
        outcome = rollbacks.follow(run_id)
    resume(installation)
    return Switched(rollbacks.inspect_run(run_id, outcome, before), poller)


def trained_by(seen: EndedRun) -> str:
    return str(seen.event(ModelTrained).inputs["model"]["recipe"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_release_by_another_recipe_is_promoted_at_the_same_url(recipe: str, changed: dict[str, Changed]) -> None:
    seen = changed[recipe].seen

    assert seen.outcome.state == "success"
    states = {name: task.state for name, task in seen.outcome.tasks.items()}
    assert states.pop("reject") == "skipped"
    assert set(states.values()) == {"success"}
    assert trained_by(seen) == recipe
    assert (seen.after.ocid, seen.after.url) == (seen.before.ocid, seen.before.url)
    assert int(seen.after.version) == seen.event(Promoted).version > int(seen.before.version)
    assert (seen.tests, seen.holder) == ([], None)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_question_names_both_recipes(recipe: str, changed: dict[str, Changed]) -> None:
    release = changed[recipe]

    assert "HOLD" in release.question
    assert f"The recipe changes from {release.former} to {recipe}" in release.question


@pytest.mark.parametrize("recipe", RECIPES)
def test_production_serves_the_lists_of_the_recipe_and_of_the_runs_params(
    recipe: str, installation: Installation, changed: dict[str, Changed]
) -> None:
    seen = changed[recipe].seen
    lists = installation.recommendations(seen)

    for user in SPECIAL_USERS:
        answered = [(item["product_id"], item["rating"]) for item in seen.answers[user]["recommendations"]]
        assert answered == lists[user]
        assert len(answered) == OTHER_PARAMS["top_k"]


def test_the_earlier_version_answers_at_the_same_url_without_an_approval(rolled_back_to_ease: Switched) -> None:
    seen = rolled_back_to_ease.seen

    rolled_back_to_ease.require_rolled_back()
    assert seen.outcome.tasks["request_approval"].state == "success"
    assert "approval_requested" not in seen.kinds


def test_a_client_sees_no_error_and_one_change_of_version(
    changed: dict[str, Changed], rolled_back_to_ease: Switched
) -> None:
    for switched in (*changed.values(), rolled_back_to_ease):
        switched.require_one_change(answers=20)


def test_promotions_hold_after_it_until_a_person_resumes_them_in_airflow(
    installation: Installation, rolled_back_to_ease: Switched
) -> None:
    history = installation.releases().history()
    rolled_back = next(entry.seq for entry in history if entry.run_id == rolled_back_to_ease.seen.run_id)
    resumed = next(entry.event for entry in history[rolled_back:] if isinstance(entry.event, PromotionsResumed))

    assert resumed == PromotionsResumed(reason=RESUMED, by="admin")
