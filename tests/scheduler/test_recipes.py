"""A release by each other recipe under the scheduler, after one by ADS's own: held, promoted, and served."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from special_shop import SPECIAL_USERS

from recdeploy_ops.domain.events import ModelTrained, Promoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services import EndedRun, Installation

pytestmark = pytest.mark.more

COMMENT = "the lists are meant to change"


@dataclass(frozen=True)
class Changed:
    """A release that changed the recipe.

    Attributes:
        recipe: its recipe.
        former: the champion's.
        seen: at its end.
        question: that a person was asked.
    """

    recipe: str
    former: str
    seen: EndedRun
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


@pytest.fixture(scope="module", params=["ease", "als"])
def changed(request: pytest.FixtureRequest, installation: Installation, first_release: EndedRun) -> Changed:
    """A release by this recipe, which a person promotes."""
    before, recipe = installation.cloud.production(), request.param
    former = trained_by(first_release) if recipe == "ease" else "ease"
    with recipe_of(installation, recipe):
        run_id = installation.trigger(recipe)
        outcome = installation.follow(run_id, "promote", COMMENT)
    question = installation.admin.question(run_id)["body"]
    return Changed(recipe, former, installation.inspect_run(run_id, outcome, before), question)


def trained_by(seen: EndedRun) -> str:
    return str(seen.event(ModelTrained).inputs["model"]["recipe"])


def test_a_release_by_another_recipe_is_promoted_at_the_same_url(changed: Changed) -> None:
    seen = changed.seen

    assert seen.outcome.state == "success"
    states = {name: task.state for name, task in seen.outcome.tasks.items()}
    assert states.pop("reject") == "skipped"
    assert set(states.values()) == {"success"}
    assert trained_by(seen) == changed.recipe
    assert (seen.after.ocid, seen.after.url) == (seen.before.ocid, seen.before.url)
    assert int(seen.after.version) == seen.event(Promoted).version > int(seen.before.version)
    assert (seen.tests, seen.holder) == ([], None)


def test_the_question_names_both_recipes(changed: Changed) -> None:
    assert "HOLD" in changed.question
    assert f"The recipe changes from {changed.former} to {changed.recipe}" in changed.question


def test_production_serves_the_lists_of_the_recipe(installation: Installation, changed: Changed) -> None:
    lists = installation.recommendations(changed.seen)

    for user in SPECIAL_USERS:
        answer = changed.seen.answers[user]
        assert [(item["product_id"], item["rating"]) for item in answer["recommendations"]] == lists[user]
