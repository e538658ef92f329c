"""Resources of other teams in the same project do not block a release, and are not changed."""

from __future__ import annotations

import pytest
from neighbours import BORROWED_TAGS, DEPLOYMENTS, MODELS, add_neighbours
from steps.factories import adopt, lose_ledger, tidy_up

from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.rollout.production import find_deployments
from recdeploy_ops.rollout.registry import highest_version
from recdeploy_ops.rollout.tagging import find_tagged_heads

COLLECTIONS = {"modelDeployments": DEPLOYMENTS, "models": MODELS}
NEIGHBOURS = [(collection, name) for collection, documents in COLLECTIONS.items() for name in documents]


@pytest.mark.parametrize(("collection", "name"), NEIGHBOURS, ids=[name for _, name in NEIGHBOURS])
def test_a_neighbour_is_not_ours_and_does_not_break_a_listing(emulator, context, project_id, collection, name):
    place = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    emulator.add_neighbour(collection, {**place, **COLLECTIONS[collection][name]})

    assert [found for role in Role for found in find_deployments(context, role)] == []
    assert highest_version(context) == 0
    assert find_tagged_heads(context) == {}
    assert adopt(context)["difference"] == []
    assert tidy_up(context) == {"left": []}


def test_releases_and_a_rollback_change_no_neighbour(emulator, context, project_id, run):
    neighbours = set(add_neighbours(emulator, project_id))

    run("run-1").release_fully()
    run("run-2", shift=1).release_fully()
    rejected = run("run-3", shift=2)
    rejected.validate()
    rejected.reject_fully()
    assert run("back").roll_back()["version"] == 1
    assert tidy_up(context) == {"left": []}
    again = lose_ledger(context)
    adopt(again)

    assert again.refresh().production.version == 1
    touched = [call for call in emulator.calls() if call["method"] != "GET"]
    assert [call for call in touched if any(ocid in call["path"] for ocid in neighbours)] == []


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_neighbour_that_cannot_serve_a_recommender_is_not_adopted_as_production(emulator, context, project_id, name):
    place = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    named = emulator.add_neighbour("modelDeployments", {**place, **DEPLOYMENTS[name]})

    with pytest.raises((SettingsError, StateMismatchError), match=named):
        adopt(context, named)
    assert context.refresh().production is None


def test_the_borrowed_tags_are_those_of_this_project(context):
    assert BORROWED_TAGS["recdeploy-project"] == context.project
