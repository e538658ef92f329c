"""A shop with a deployment already: it is named, imported or ignored, and never gets a second production unseen."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from steps.factories import Run, adopt, deactivate, deploy_foreign, living, register_foreign, with_ignored

from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.oci_clients.tags import PROJECT_TAG
from recdeploy_ops.storage.keys import LEDGER, STATE_FILE

TEMPLATE = Path(__file__).parents[2] / "include" / "score_template"
SCORE = """
def load_model():
    return {}


def predict(data, model=None):
    return {"recommendations": [{"product_id": "p-1", "score": 1.0}]}
"""
GONE = "ocid1.datasciencemodeldeployment.oc1.iad.gone"
# As the manager in the guide writes it.
OLD_STATE = {
    "current_version": 2,
    "deployment_history": [{"version": 1, "action": "promote"}],
    "production_deployment": {"deployment_id": GONE, "model_id": "ocid1.datasciencemodel.oc1.iad.old", "version": 2},
    "test_deployment": None,
}


@pytest.fixture
def deploy(context, emulator, tmp_path):
    """Makes an ACTIVE deployment as another team does, without any tag of this project."""

    def deploy(name="Product Recommender API v1 (TEST)", tags=None):
        folder = tmp_path / f"artifact of {name}"
        folder.mkdir()
        (folder / "score.py").write_text(SCORE)
        shutil.copy(TEMPLATE / "runtime.yaml", folder)
        return deploy_foreign(context, emulator, register_foreign(context, folder, name), name, tags=tags)

    return deploy


FILES = {
    "the guide's": json.dumps(OLD_STATE),
    "empty": "",
    "a list": "[]",
    "not JSON": f"{{'production': '{GONE}'",
    "not text": b"\xff\xfe",
    "another project's": json.dumps({"project": "basket", "production": {"deployment_id": GONE}}),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_foreign_state_file_stops_a_first_release_and_stays(context, run, manager, content):
    content = content if isinstance(content, bytes) else content.encode()
    context.store.replace(STATE_FILE, content)

    for way in (run("run-1").plan, manager.get_next_version, manager.backup_current_artifacts):
        with pytest.raises(StateMismatchError, match="A first release would make a second production") as raised:
            way()
        said = str(raised.value)
        assert f"{context.store.uri}/{STATE_FILE} was not written by this project" in said
        names_one = GONE.encode() in content
        assert (GONE if names_one else "it names no deployment") in said
        assert "Move that file away if it is of no use." in said
        named = GONE if names_one else "OCID"
        assert f"deployment_id = {named}, first" in said or f"import_existing_deployment({named!r})" in said
    assert list(context.store.list(LEDGER)) == []
    assert context.store.read(STATE_FILE) == content


def test_a_deployment_without_an_owner_stops_a_first_release(context, run, manager, deploy, emulator):
    active, deactivated = deploy(), deploy("second")
    deactivate(context, emulator, deactivated)

    with pytest.raises(StateMismatchError) as raised:
        run("run-1").plan()
    said = str(raised.value)
    assert f"- Product Recommender API v1 (TEST) ({active}) is ACTIVE and does not belong to a project." in said
    assert f"- second ({deactivated}) is INACTIVE and does not belong to a project." in said
    assert "trigger recommender_adopt with deployment_id = OCID, first without and then with apply" in said
    assert "List those that do not serve this shop in the setting release.ignored_deployments." in said
    for way in (manager.get_next_version, manager.backup_current_artifacts):
        with pytest.raises(StateMismatchError, match=r"call manager\.import_existing_deployment\('OCID'\)"):
            way()
    assert list(context.store.list(LEDGER)) == []


def test_the_only_deployment_without_an_owner_is_named_in_the_command(run, manager, deploy):
    deployment_id = deploy()

    with pytest.raises(StateMismatchError, match=f"deployment_id = {deployment_id}, first without and then with apply"):
        run("run-1").plan()
    with pytest.raises(StateMismatchError, match=rf"import_existing_deployment\('{deployment_id}'\)"):
        manager.get_next_version()


NEIGHBOURS = {
    "of another project": {PROJECT_TAG: "basket"},
    "of this project, a test": {PROJECT_TAG: "product-recommender", "recdeploy-role": "test"},
}


@pytest.mark.parametrize("tags", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_deployment_with_an_owner_does_not_stop_a_first_release(run, deploy, context, tags):
    deploy(tags=tags)

    run("run-1").plan()
    assert context.ledger.read().holder == "run-1"
    assert "importable" not in adopt(context, apply=False)


def test_a_deleted_or_ignored_deployment_does_not_stop_a_first_release(context, deploy, emulator, tmp_path):
    deleted, ignored = deploy("deleted"), deploy("ignored")
    context.deployments.delete(context.deployments.get(deleted))
    emulator.wait_until_idle()
    ignoring = with_ignored(context, ignored)

    assert adopt(ignoring, apply=False) == {"difference": [], "applied": False}
    Run(ignoring, "run-1", tmp_path).release_fully()
    assert ignoring.ledger.read().production.version == 1
    assert context.deployments.get(ignored).lifecycle_state == "ACTIVE"


def test_other_deployments_do_not_stop_a_release_once_one_was_planned_or_promoted(context, run, validated, deploy):
    first = validated(1)
    deploy("while the release goes on")
    first.plan()  # cleared, and run again
    first.promote_fully()
    deploy("after it")

    run("run-2", shift=1).plan()
    assert context.ledger.read().holder == "run-2"


def test_adoption_without_an_ocid_lists_what_could_be_imported(context, manager, deploy, caplog):
    context.store.replace(STATE_FILE, json.dumps(OLD_STATE).encode())
    deployment_id = deploy()

    with caplog.at_level(logging.INFO):
        done = adopt(context)
    expected = [
        f"Product Recommender API v1 (TEST) ({deployment_id}) is ACTIVE and does not belong to a project.",
        f"{context.store.uri}/{STATE_FILE} was not written by this project; it names {GONE}.",
        "To import one of them, name its OCID as deployment_id.",
    ]
    assert done == {"difference": [], "applied": False, "importable": expected}
    assert adopt(context, apply=False)["importable"] == expected
    assert manager.repair_production_state() == expected
    assert "there is nothing to adopt" not in caplog.text
    assert all(line in caplog.text for line in expected)
    assert list(context.store.list(LEDGER)) == []


def test_an_old_shop_is_imported_replaced_and_rolled_back_at_its_url(context, run, deploy, caplog):
    old_state = json.dumps(OLD_STATE).encode()
    context.store.replace(STATE_FILE, old_state)
    context.store.replace("backups/v1_20261128_180119/recommender_model_artifact/score.py", b"theirs")
    deployment_id = deploy()
    url = context.deployments.get(deployment_id).url

    adopt(context, deployment_id)

    state = context.ledger.read()
    assert (state.production.deployment_id, state.production.url) == (deployment_id, url)
    assert state.production.version == 2  # v1 is one of their backups
    with caplog.at_level(logging.WARNING):
        run("run-1").release_fully()
    assert f"{STATE_FILE} stays as it is: this project has not written it" in caplog.text
    assert context.ledger.read().production.version == 3
    assert run("back").roll_back()["version"] == 2
    assert context.ledger.read().production.url == url
    assert context.store.read(STATE_FILE) == old_state
    assert [d.deployment_id for d in living(context)] == [deployment_id]


def test_a_state_file_that_this_project_has_written_is_kept_up_to_date(context, run, released):
    released()
    first = context.store.read(STATE_FILE)
    run("run-2", shift=1).release_fully()

    assert json.loads(first)["current_version"] == 1
    assert json.loads(context.store.read(STATE_FILE))["current_version"] == 2
