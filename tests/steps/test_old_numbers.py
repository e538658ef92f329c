"""The number of an imported production: the one that its shop calls it, and never one of something else."""

from __future__ import annotations

import json

import pytest
from steps.factories import adopt

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.storage.keys import STATE_FILE

pytestmark = pytest.mark.more


def imported(context):
    return context.ledger.read().production.version


def test_production_keeps_the_number_of_the_old_state_file(context, old_shop, run):
    production = old_shop.make()

    adopt(context, production)

    assert imported(context) == 2
    run("run-1").release_fully()
    assert context.ledger.read().production.version == 3


def change_state(context, **changes):
    state = json.loads(context.store.read(STATE_FILE)) | changes
    context.store.replace(STATE_FILE, json.dumps(state).encode())


def named_by_current_version_only(shop, production):
    change_state(shop.context, production_deployment={"ocid": production})


def with_a_backup_of_the_same_version(shop, production):
    shop.back_up(2, 21, model_id=shop.models[2])


def with_higher_backups_of_others(shop, production):
    shop.back_up(7, 21)


def with_a_backup_of_that_number_and_unknown_content(shop, production):
    shop.back_up(2, 21)


def with_a_backup_of_that_number_and_another_model(shop, production):
    shop.back_up(2, 21, model_id=shop.models[1])


def without_a_state_file(shop, production):
    shop.context.store.delete(STATE_FILE)


def with_a_state_file_about_another_deployment(shop, production):
    gone = {"deployment_id": "ocid1.datasciencemodeldeployment.oc1.iad.gone", "version": 5}
    change_state(shop.context, production_deployment=gone, deployment_history=[])


def switched_since(shop, production):
    entry = {"deployment_id": production, "model_id": "ocid1.datasciencemodel.oc1.iad.old", "version": 2}
    change_state(shop.context, production_deployment=entry, deployment_history=[])


def with_a_state_file_that_is_not_json(shop, production):
    shop.context.store.replace(STATE_FILE, b"{" + production.encode())


def with_a_history_that_has_higher_numbers(shop, production):
    history = json.loads(shop.context.store.read(STATE_FILE))["deployment_history"]
    change_state(shop.context, deployment_history=[*history, {"version": 9, "action": "rejected"}])


def with_numbers_that_are_not_numbers(shop, production):
    entry = {"deployment_id": production, "model_id": shop.models[2], "version": True}
    change_state(shop.context, production_deployment=entry, deployment_history=[], current_version="two")


def with_a_state_file_that_is_nested_deeply(shop, production):
    nested = production
    for _ in range(900):
        nested = [nested]
    change_state(shop.context, production_deployment=nested, deployment_history=[])


@pytest.mark.parametrize(
    ("change", "version", "following"),
    [
        (named_by_current_version_only, 2, 3),
        (with_a_backup_of_the_same_version, 2, 3),
        (with_higher_backups_of_others, 2, 8),
        (with_a_backup_of_that_number_and_unknown_content, 3, 4),
        (with_a_backup_of_that_number_and_another_model, 3, 4),
        (without_a_state_file, 2, 3),
        (with_a_state_file_about_another_deployment, 5, 6),
        (switched_since, 3, 4),
        (with_a_state_file_that_is_not_json, 2, 3),
        (with_a_history_that_has_higher_numbers, 2, 10),
        (with_numbers_that_are_not_numbers, 2, 3),
        (with_a_state_file_that_is_nested_deeply, 2, 3),
    ],
)
def test_the_number_is_that_of_the_shop_or_a_free_one(context, old_shop, run, change, version, following):
    production = old_shop.make()
    change(old_shop, production)

    adopt(context, production)

    assert imported(context) == version
    run("run-1").plan()
    assert context.ledger.read().holding_release.version == following


def test_a_person_names_the_number(context, old_shop):
    production = old_shop.make()
    shown = adopt(context, production, apply=False, version=5)
    assert any("OCI has v5" in line for line in shown["difference"])

    adopt(context, production, version=5)

    assert (imported(context), context.ledger.read().highest_version) == (5, 5)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (1, r"v1 is taken: backups/v1_20261120_180119 is a backup of another version, as far as its metadata says"),
        (0, "v0 is not a version number"),
        (-3, "v-3 is not a version number"),
        (10**9, "v1000000000 is not a version number"),
    ],
)
def test_a_number_of_something_else_is_refused(context, old_shop, version, says):
    production = old_shop.make()

    with pytest.raises(SettingsError, match=says):
        adopt(context, production, version=version)
    assert context.ledger.read().production is None


def test_the_number_of_an_imported_version_does_not_change(context, old_shop):
    production = old_shop.make()
    adopt(context, production)

    with pytest.raises(SettingsError, match="The ledger has what production serves as v2, not as v4"):
        adopt(context, production, version=4)
    adopt(context, production, version=2)
    assert imported(context) == 2


def test_an_own_version_is_not_numbered_again(context, released):
    released()

    with pytest.raises(SettingsError, match="The ledger has what production serves as v1, not as v4"):
        adopt(context, version=4)
