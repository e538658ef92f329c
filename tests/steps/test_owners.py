"""One storage, one project, one production: every entry point refuses those of another project or storage."""

from __future__ import annotations

import json
from contextlib import suppress

import oci
import pytest
import yaml
from steps.factories import Run, adopt, reopen, tidy_up

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients.tags import LEDGER_TAG, PROJECT_TAG, ROLE_TAG
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.settings import SETTINGS_VARIABLE
from recdeploy_ops.storage.keys import LEDGER, SNAPSHOT, entry_key

pytestmark = pytest.mark.more


def set_tags(emulator, context, change):
    """Change production's tags as a person does in the console."""
    production = context.deployments.get(context.state.production.deployment_id)
    context.deployments.tag(production, change(dict(production.tags)))
    emulator.wait_until_idle()


# Each entry point: what a run of Airflow, a notebook or a shell does first.
WAYS = {
    "plan": lambda way: way.run.plan(),
    "rollback": lambda way: way.run.rehearse_rollback(),
    "adopt": lambda way: adopt(way.context),
    "adopt, shown only": lambda way: adopt(way.context, apply=False),
    "housekeeping": lambda way: tidy_up(way.context),
    "notebook, summary": lambda way: way.manager.get_deployment_summary(),
    "notebook, next version": lambda way: way.manager.get_next_version(),
    "notebook, current version": lambda way: way.manager.current_version,
    "notebook, backup": lambda way: way.manager.backup_current_artifacts(),
    "notebook, list of backups": lambda way: way.manager.list_backups(),
    "notebook, files of a version": lambda way: way.manager.rollback_artifacts(1),
    "notebook, rollback": lambda way: way.manager.roll_back_production(),
    "notebook, repair": lambda way: way.manager.repair_production_state(),
    "notebook, import": lambda way: way.manager.import_existing_deployment("ocid1.datasciencemodeldeployment.oc1.x.y"),
}
COMMANDS = ("status", "history", "backups", "verify")


class Way:
    """A process that opens a storage for the first time."""

    def __init__(self, context, folder, make_manager):
        self.context = context
        self.run = Run(context, "first-of-its-process", folder)
        self.manager = make_manager("another kernel", settings=context.settings)


@pytest.fixture
def enter(context, tmp_path, make_manager):
    """Enters the storage, or one in another folder, as a project."""

    def enter(project=None, folder="storage"):
        changes = {"project_name": project or context.project, "storage": (tmp_path / folder).as_uri()}
        return Way(reopen(context, **changes), tmp_path, make_manager)

    return enter


DAMAGE = {
    "whole": lambda store: None,
    "without its snapshot": lambda store: store.delete(SNAPSHOT),
    "an entry edited": lambda store: store.replace(entry_key(2), b"edited"),
    "cut to its snapshot": lambda store: store.delete(entry_key(1)),
    "the newest entry gone": lambda store: store.delete(entry_key(2)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", WAYS)
def test_the_ledger_of_another_project_is_refused_and_left_alone(context, run, enter, name, damage):
    run("run-1").plan()
    context.publish_state()
    DAMAGE[damage](context.store)
    before = [(found.key, context.store.read(found.key)) for found in context.store.list("")]

    with pytest.raises(SettingsError, match=r"belongs to the project 'product-recommender', not to 'basket'") as raised:
        WAYS[name](enter("basket"))

    assert "Give each project a storage root of its own (setting storage)." in str(raised.value)
    after = [(found.key, context.store.read(found.key)) for found in context.store.list("")]
    assert after == before


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_shell_refuses_the_storage_of_another_project(
    context, run, settings, monkeypatch, capsys, tmp_path, command, damage
):
    run("run-1").plan()
    context.publish_state()
    DAMAGE[damage](context.store)
    values = yaml.safe_load((settings.folder / "recommender.yaml").read_text()) | {"project_name": "basket"}
    (tmp_path / "basket.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "basket.yaml"))

    assert main([command]) == 3
    assert "belongs to the project 'product-recommender', not to 'basket'" in capsys.readouterr().err


# The tags that a person may have removed from production.
LOST = {
    "nothing": lambda tags: tags,
    "its role": lambda tags: without(tags, ROLE_TAG),
    "its project": lambda tags: without(tags, PROJECT_TAG),
    "its project and its ledger's head": lambda tags: without(tags, PROJECT_TAG, LEDGER_TAG),
    "its role and project": lambda tags: without(tags, ROLE_TAG, PROJECT_TAG),
    "all but its ledger": lambda tags: {LEDGER_TAG: tags[LEDGER_TAG]},
    "all tags": lambda tags: {},
    "its role, for another word": lambda tags: {**tags, ROLE_TAG: "blue"},
}
REFUSING = ("plan", "rollback", "notebook, summary", "notebook, next version", "notebook, backup", "notebook, rollback")


def without(tags, *names):
    return {name: value for name, value in tags.items() if name not in names}


@pytest.mark.parametrize("lost", LOST)
def test_every_entry_point_refuses_a_storage_without_productions_ledger(context, released, emulator, enter, lost):
    released()
    set_tags(emulator, context, LOST[lost])
    deployment_id = context.state.production.deployment_id
    names_ledger = LEDGER_TAG in context.deployments.get(deployment_id).tags

    other = enter(folder="elsewhere")
    for name in REFUSING:
        with pytest.raises(StateMismatchError) as raised:
            WAYS[name](enter(folder="elsewhere"))
        said = str(raised.value)
        assert deployment_id in said, name
        assert "Name the storage that holds" in said, name
        assert "(setting storage)" in said, name
        assert "emove its tag" not in said, name
        if names_ledger:
            assert (
                f"names entry {context.state.seq} of its ledger, and the ledger at {other.context.store.uri} has no"
                in said
            )
    assert list(other.context.store.list(LEDGER)) == []

    shown = adopt(other.context, apply=False)["difference"]
    assert any(line.startswith("production: the ledger has nothing, OCI has v1") for line in shown)
    named = [line for line in shown if "if that ledger is elsewhere, correct the setting storage" in line]
    assert bool(named) == names_ledger
    assert find_production(context).deployment_id == deployment_id
    heads = find_tagged_heads(other.context)
    assert any(resource.startswith("production (") for resource in heads) == names_ledger


def test_production_that_has_lost_all_tags_with_its_model_stops_a_first_release_too(context, released, emulator, enter):
    released()
    set_tags(emulator, context, lambda tags: {})
    production = context.state.production
    details = oci.data_science.models.UpdateModelDetails(freeform_tags={})
    context.catalog._client.update_model(production.model_id, details)

    with pytest.raises(StateMismatchError, match=f"may be served already(?s:.)*{production.deployment_id}"):
        enter(folder="elsewhere").run.plan()


def test_a_test_deployment_is_never_mistaken_for_production(run, enter):
    run("run-1").validate()

    other = enter(folder="elsewhere")
    assert find_production(other.context) is None


@pytest.fixture
def taken_over(validated, enter):
    """A second storage whose ledger has taken production over, while an approved release of the first one waits."""
    waiting = validated(3)
    waiting.answer(Decision.PROMOTE)
    other = enter(folder="elsewhere")
    adopt(other.context)
    return waiting


@pytest.mark.parametrize("project", ["product-recommender", "basket"])
def test_every_entry_point_refuses_production_that_another_ledger_has_taken_over(
    context, taken_over, emulator, enter, project
):
    if project == "basket":
        set_tags(emulator, context, lambda tags: {**tags, PROJECT_TAG: project})
        says = "belongs to the project 'basket' according to its tag recdeploy-project, not to 'product-recommender'"
    else:
        says = "This storage does not belong to production: the tag recdeploy-ledger of product-recommender-production"
    serves = find_served(context)

    ways = {
        "promote": taken_over.promote,
        "ask": lambda: taken_over.ask(attempt=2),
        "summary": lambda: enter().manager.get_deployment_summary(),
        "next version": lambda: enter().manager.get_next_version(),
    }
    for name, way in ways.items():
        with pytest.raises(StateMismatchError) as raised:
            way()
        assert says in str(raised.value), name
    taken_over.close()
    for way in (enter().run.plan, enter().run.rehearse_rollback):
        with pytest.raises(StateMismatchError) as raised:
            way()
        assert says in str(raised.value)
    assert find_served(context) == serves


def find_served(context):
    return context.deployments.get(context.state.production.deployment_id).model_id


def test_the_production_of_another_project_is_not_imported(context, released, enter):
    released()
    deployment_id = context.state.production.deployment_id
    other = enter("basket", "basket")

    for way in (
        lambda: adopt(other.context, deployment_id),
        lambda: adopt(other.context, deployment_id, apply=False),
        lambda: other.manager.import_existing_deployment(deployment_id),
    ):
        with pytest.raises(StateMismatchError, match="belongs to the project 'product-recommender'"):
            way()
    assert list(other.context.store.list(LEDGER)) == []
    assert context.deployments.get(deployment_id).tags[PROJECT_TAG] == "product-recommender"


def test_two_projects_with_their_own_storage_share_an_oci_project(context, run, released, enter, tmp_path):
    released()
    other = enter("basket", "basket")
    Run(other.context, "run-1", tmp_path, shift=1).release_fully()
    run("run-2", shift=2).release_fully()
    Run(other.context, "run-2", tmp_path, shift=3).release_fully()
    Run(other.context, "back", tmp_path).roll_back()

    served = {}
    for of in (context, other.context):
        production = of.ledger.read().production
        served[of.project] = production.version
        assert of.deployments.get(production.deployment_id).tags[PROJECT_TAG] == of.project
    assert served == {"product-recommender": 2, "basket": 1}
    assert json.loads(other.context.store.read("backups/deployment_state.json"))["project"] == "basket"


def test_the_production_of_another_storage_is_not_deleted_though_the_runs_have_the_same_id(
    context, run, enter, tmp_path
):
    """Two Airflows with one project name name their scheduled runs after the same dates."""
    other = enter(folder="elsewhere")
    failed = Run(other.context, "scheduled__2026-11-23", tmp_path)
    failed.plan()
    failed.close()
    run("scheduled__2026-11-23").release_fully()
    production = context.state.production

    tidy_up(other.context)
    with pytest.raises(StateMismatchError, match="This storage does not belong to production"):
        other.run.plan()
    failed.close()

    assert context.deployments.get(production.deployment_id).lifecycle_state == "ACTIVE"


def close(other):
    other.close()


def take_over(other):
    with suppress(StateMismatchError):  # once there is a production that this storage does not know
        Run(other.context, "next", other.database.parent, shift=2).plan(has_ended=lambda holder: True)
    assert not other.context.refresh().releases[other.run_id].is_open


def close_and_tidy_up(other):
    other.close()
    tidy_up(other.context)


@pytest.mark.parametrize("end", [close, take_over, close_and_tidy_up])
@pytest.mark.parametrize("reach", ["a test deployment that waits for an answer", "a production that is not closed yet"])
def test_a_run_of_the_same_id_in_another_storage_deletes_nothing(context, run, enter, tmp_path, reach, end):
    """Two Airflows name their scheduled runs after the same dates."""
    other = Run(enter(folder="elsewhere").context, "scheduled__1", tmp_path, shift=1)
    other.plan()
    first = run("scheduled__1")
    first.validate()
    first.ask()
    if "production" in reach:
        first.record_answer(Decision.PROMOTE)
        first.promote()
    serves = [d.deployment_id for d in context.deployments.all() if d.lifecycle_state.is_active]

    end(other)

    assert [context.deployments.get(ocid).lifecycle_state for ocid in serves] == ["ACTIVE"] * len(serves)
    assert len(serves) == 1
    if "production" not in reach:
        first.record_answer(Decision.PROMOTE)
        first.promote()
    first.close()


def test_runs_of_the_same_id_in_two_storages_make_a_test_deployment_each(context, run, enter, tmp_path):
    """Of the same data they make the same artifact, which the catalog has once."""
    other = Run(enter(folder="elsewhere").context, "scheduled__1", tmp_path)
    first = run("scheduled__1")
    for each in (first, other):
        each.plan()
    for each in (first, other):
        each.make()
        each.register_model()
        each.test()

    assert len([d for d in context.deployments.all() if d.lifecycle_state.is_active]) == 2
    assert {d.model_id for d in context.deployments.all()} == {context.refresh().versions[1].model_id}


def test_verify_says_that_the_ledger_of_production_is_not_in_this_storage(
    released, settings, profile_fields, monkeypatch, capsys, tmp_path
):
    released()
    values = yaml.safe_load((settings.folder / "recommender.yaml").read_text())
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(values | {"storage": (tmp_path / "elsewhere").as_uri()}))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "wrong.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))

    assert main(["verify"]) == 1
    said = capsys.readouterr().out
    assert "its ledger is in another storage" in said
    assert "Production has a ledger that is not in this storage. Correct the setting storage" in said
    assert "The ledger is damaged" not in said
