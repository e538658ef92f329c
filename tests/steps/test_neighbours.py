"""What other teams have in the same project cannot hold up a release, and stays as it is."""

from __future__ import annotations

import pytest
from neighbours import BORROWED_TAGS, DEPLOYMENTS, MODELS, add_neighbours
from steps.factories import Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.rollout.production import find_deployments
from recdeploy_ops.rollout.registry import highest_version
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production, housekeeping

PLACES = {"modelDeployments": DEPLOYMENTS, "models": MODELS}
NEIGHBOURS = [(collection, name) for collection, documents in PLACES.items() for name in documents]


def adopt(context, **how):
    how = {"deployment_id": None, "apply": True, **how}
    return finish(context, lambda: adopt_production.advance(context.of_run("adopt"), **how))


def keep_house(context):
    return finish(context, lambda: housekeeping.advance(context, has_ended=lambda holder: False))


@pytest.mark.parametrize(("collection", "name"), NEIGHBOURS, ids=[name for _, name in NEIGHBOURS])
def test_a_neighbour_is_neither_ours_nor_in_the_way_of_a_listing(emulator, context, project_id, collection, name):
    place = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    emulator.add_neighbour(collection, {**place, **PLACES[collection][name]})

    assert [found for role in Role for found in find_deployments(context, role)] == []
    assert highest_version(context) == 0
    assert find_tagged_heads(context) == {}
    assert adopt(context)["difference"] == []
    assert keep_house(context) == {"left": []}


def test_releases_and_a_rollback_among_all_neighbours_leave_them_as_they_are(emulator, context, project_id, tmp_path):
    neighbours = set(add_neighbours(emulator, project_id))

    Run(context, "run-1", tmp_path).release_fully()
    Run(context, "run-2", tmp_path, shift=1).release_fully()
    rejected = Run(context, "run-3", tmp_path, shift=2)
    rejected.validate()
    rejected.answer(Decision.REJECT)
    rejected.reject()
    rejected.close()
    assert Run(context, "back", tmp_path).roll_back()["version"] == 1
    assert keep_house(context) == {"left": []}
    for found in list(context.store.list("ledger/")):
        context.store.delete(found.key)
    again = open_context(context.settings, context.store, context.catalog._session, "adopt")
    adopt(again)

    assert again.refresh().production.version == 1
    touched = [call for call in emulator.calls() if call["method"] != "GET"]
    assert [call for call in touched if any(ocid in call["path"] for ocid in neighbours)] == []


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_neighbour_that_cannot_serve_a_recommender_is_not_adopted_as_production(emulator, context, project_id, name):
    place = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    named = emulator.add_neighbour("modelDeployments", {**place, **DEPLOYMENTS[name]})

    with pytest.raises((SettingsError, StateMismatchError), match=named):
        adopt(context, deployment_id=named)
    assert context.refresh().production is None


def test_the_borrowed_tags_are_those_of_this_project(context):
    assert BORROWED_TAGS["recdeploy-project"] == context.project
