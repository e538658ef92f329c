"""Code of somebody else in the Model Catalog: no worker runs it, and production can go back to it all the same."""

from __future__ import annotations

import os
import py_compile
import shutil
from functools import partial

import artifacts
import pytest
from steps.cells import Cells
from steps.factories import USERS, Run

from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import (
    DeploymentFailedError,
    IntegrityError,
    LockHeldError,
    PromotionFailedError,
    SettingsError,
    TransientError,
)
from recdeploy_ops.domain.events import RehearsalStarted, RollbackRehearsed, SwitchStarted
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import RESULTS_METADATA, SERVED_TAG, run_slug, version_tags
from recdeploy_ops.rollout.production import find_deployments, find_own_deployments, find_production
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production, rehearse_rollback
from recdeploy_ops.storage.bundles import sha256_of, write_manifest
from recdeploy_ops.storage.roots import open_store

pytestmark = pytest.mark.more
HOSTILE = 50
# Runs where score.py is imported, and says in which process, and which process started that one.
SPY = """
import os, pathlib
for pid in (os.getpid(), os.getppid()):
    pathlib.Path({folder!r}, str(pid)).touch()
"""


class Marker:
    """Who has run the code: a server of the emulator may, this process and its children are workers."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.spy = folder, SPY.format(folder=str(folder))

    def seen(self):
        return {int(found.name) for found in self.folder.iterdir()}

    def require_unseen_by_workers(self):
        assert os.getpid() not in self.seen(), "a worker has run code from the catalog"


@pytest.fixture
def marker(tmp_path_factory):
    return Marker(tmp_path_factory.mktemp("marker") / "seen")


def add_to_score(folder, marker):
    """Answer as ours does, and do something besides."""
    score = folder / "score.py"
    score.write_text(score.read_text() + marker.spy)


def hide_compiled(folder, marker):
    """Leave score.py as it is, beside a compiled one that Python would take for it."""
    source = folder.parent / "evil.py"
    source.write_text((folder / "score.py").read_text() + marker.spy)
    (folder / "__pycache__").mkdir()
    for tag in ("cpython-311", "cpython-312", "cpython-313"):
        compiled = str(folder / "__pycache__" / f"score.{tag}.pyc")
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), compiled, doraise=True, invalidation_mode=unchecked)


def register(context, folder, *, digest=None, **tags):
    """Put an artifact into the catalog with this project's tags, as anyone who may write there can."""
    found = sha256_of(folder / "manifest.json") if (folder / "manifest.json").is_file() else ""
    project = context.project
    made = version_tags(project, run=run_slug("run-1"), version=HOSTILE, digest=found if digest is None else digest)
    tags = {**made, SERVED_TAG: "2099-01-01T00:00:00+00:00", **tags}
    metadata = ((RESULTS_METADATA, "releases/../ledger", "", "other"),)
    model = context.catalog.create(NewModel(f"{project}-v{HOSTILE}", "", project, "v50", tags, metadata, {}, "evil"))
    archive = folder.parent / "hostile.zip"
    zip_artifact(folder, archive)
    context.catalog.upload_artifact(model.model_id, archive)
    return model.model_id


@pytest.fixture(params=[add_to_score, hide_compiled], ids=["another score.py", "a compiled file beside ours"])
def hostile(request, context, released, marker, tmp_path):
    """One release, and a model of somebody else that says it served before."""
    released()
    folder = artifacts.make_artifact(tmp_path / "hostile", version=HOSTILE)
    request.param(folder, marker)
    (folder / "manifest.json").unlink()
    facts = {"format": 1, "project": context.project, "version": HOSTILE, "top_k": 3, "fallback": "popularity"}
    write_manifest(folder, facts)
    return register(context, folder)


def adopt(context, *, apply=True):
    adopting = partial(adopt_production.advance, context.of_run("adopt"), deployment_id=None, apply=apply)
    return finish(context, adopting)


def served(context):
    body = context.deployments.asker(find_production(context).url, timeout_seconds=10)({"user_id": USERS[0]}).body
    return body["model_version"]


def living_tests(context):
    return [d for d in find_deployments(context, Role.TEST) if not d.lifecycle_state.is_deleted]


# Where a worker could run it: (what a person or the schedule does, after the model was registered).


def show(context, run, make_manager, emulator):
    [line] = adopt(context, apply=False)["difference"]
    assert "v50: the ledger does not know it" in line
    assert "Its tags alone say that it served" in line
    assert context.ledger.read().versions.keys() == {1}


def take_over(context, run, make_manager, emulator):
    adopt(context)
    version = context.ledger.read().versions[HOSTILE]
    assert (version.known_by_tags, version.stage, version.results) == (True, Stage.RETIRED, "")
    assert context.ledger.read().previous_champion is None


def go_to_previous(context, run, make_manager, emulator):
    adopt(context)
    with pytest.raises(SettingsError, match=r"served before v1\. Only tags.* say that v50 did"):
        run("back").roll_back()
    assert served(context) == 1


def go_to_its_number(context, run, make_manager, emulator):
    adopt(context)
    run("back").roll_back(HOSTILE)
    assert served(context) == HOSTILE
    assert living_tests(context) == []


def lose_its_model_and_go_to_its_number(context, run, make_manager, emulator):
    adopt(context)
    context.catalog._client.delete_model(context.ledger.read().versions[HOSTILE].model_id)
    run("back").roll_back(HOSTILE)
    assert served(context) == HOSTILE


def preempt_for_it(context, run, make_manager, emulator):
    adopt(context)
    second = run("run-2", shift=1)
    second.validate()
    second.ask()
    run("back").roll_back(HOSTILE)
    assert served(context) == HOSTILE


def retrain_and_promote_over_it(context, run, make_manager, emulator):
    go_to_its_number(context, run, make_manager, emulator)
    run("run-3", shift=2).release_fully()
    assert served(context) == HOSTILE + 1
    assert context.ledger.read().previous_champion.version == HOSTILE, "it has served: now the ledger knows it"
    run("back-again").roll_back()
    assert served(context) == HOSTILE


def restore_it_after_a_switch_that_failed(context, run, make_manager, emulator):
    go_to_its_number(context, run, make_manager, emulator)
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")
    with pytest.raises(PromotionFailedError, match="v50 serves"):
        third.promote()
    third.close()
    assert served(context) == HOSTILE


def use_a_notebook(context, run, make_manager, emulator):
    manager = make_manager()
    manager.repair_production_state()
    manager.roll_back_production(HOSTILE)
    assert served(context) == HOSTILE
    Cells(manager, run("x").database.parent, shift=1).release()
    assert served(context) == HOSTILE + 1
    assert manager.rollback_artifacts(version=HOSTILE) is True
    manager.roll_back_production()
    assert served(context) == HOSTILE


def import_it_into_a_notebook(context, run, make_manager, emulator):
    adopt(context)
    manager = make_manager()
    cells = Cells(manager, run("x").database.parent, shift=1)
    cells.prepare()
    folder = run("x").database.parent / "hostile" / "artifact"
    made = shutil.copytree(folder, folder.parent / "again")
    facts = {"format": 1, "project": context.project, "version": cells.version, "top_k": 3, "fallback": "popularity"}
    (made / "manifest.json").unlink()
    write_manifest(made, facts)
    refused = "not the one that this project serves with|files that no artifact of this project has: __pycache__"
    with pytest.raises((SettingsError, IntegrityError), match=refused):
        manager.save_new_model(made, cells.version, 4, 6)


def verify(context, run, make_manager, emulator):
    go_to_its_number(context, run, make_manager, emulator)
    assert audit(context.store, tagged_heads=find_tagged_heads(context)) == []


PLACES = (
    *(show, take_over, go_to_previous, go_to_its_number, lose_its_model_and_go_to_its_number, preempt_for_it),
    *(retrain_and_promote_over_it, restore_it_after_a_switch_that_failed),
    *(use_a_notebook, import_it_into_a_notebook, verify),
)


@pytest.mark.parametrize("place", PLACES)
def test_no_worker_runs_code_from_the_catalog(context, run, make_manager, emulator, hostile, marker, place):
    place(context, run, make_manager, emulator)

    marker.require_unseen_by_workers()


def test_the_marker_would_be_seen(context, run, hostile, marker, monkeypatch):
    """Without the rule, the rollback runs the code on the worker: the tests above look at the right thing."""
    monkeypatch.setattr("recdeploy_ops.artifacts.sandbox.read_shipped_score", lambda folder: marker.spy.encode())
    monkeypatch.setattr("recdeploy_ops.rollout.rehearsals.holds_foreign_code", lambda folder: False)
    adopt(context)

    with pytest.raises(IntegrityError):
        run("back").roll_back(HOSTILE)
    assert os.getpid() in marker.seen()


@pytest.fixture
def adopted(context, hostile):
    adopt(context)


def order_of(context, run_id):
    return [entry.type for entry in context.history() if entry.run_id == run_id]


def test_foreign_code_is_tried_on_a_test_deployment_that_is_deleted_before_the_switch(context, run, adopted):
    run("back").roll_back(HOSTILE)

    assert order_of(context, "back") == [
        *("release_opened", "rehearsal_started", "rollback_rehearsed", "production_backed_up"),
        *("switch_started", "rolled_back", "release_closed"),
    ]
    release = context.ledger.read().releases["back"]
    tested = context.deployments.get(release.require(RollbackRehearsed).deployment_id)
    assert tested.lifecycle_state.is_deleted
    assert tested.shape.instance_count == 1
    deleted = [w for w in context.deployments.work_requests(tested.deployment_id) if "DELETE" in w.operation]
    [switched] = [entry.at for entry in context.history() if isinstance(entry.event, SwitchStarted)][-1:]
    assert max(work.accepted_at for work in deleted) < switched


def test_while_foreign_code_is_tried_the_release_lock_is_held(context, run, adopted, emulator):
    emulator.set_timings(create=30)
    back = run("back")
    back.plan_rollback(HOSTILE)
    assert rehearse_rollback.advance(back.context).reason.endswith("is CREATING")

    with pytest.raises(LockHeldError, match="run back"):
        run("run-3", shift=2).plan()
    assert context.ledger.read().releases["back"].require(RehearsalStarted).version == HOSTILE
    emulator.set_timings(create=0.05)
    run("run-4", shift=2).plan(has_ended=lambda holder: True)
    assert living_tests(context) == [], "a takeover leaves nothing of it"


BROKEN = """
def load_model():
    return {}


def predict(data, model=None):
    raise RuntimeError("no lists")
"""


def test_a_version_that_does_not_answer_on_its_test_deployment_leaves_production_alone(
    context, run, released, tmp_path, emulator
):
    released()
    folder = artifacts.make_artifact(tmp_path / "broken", version=HOSTILE)
    (folder / "score.py").write_text(BROKEN)
    (folder / "manifest.json").unlink()
    write_manifest(folder, {"format": 1, "project": context.project, "version": HOSTILE})
    register(context, folder)
    adopt(context)
    back = run("back")

    with pytest.raises(DeploymentFailedError, match="did not answer probe 1"):
        back.roll_back(HOSTILE)
    assert back.context.confirm_lock().get(RollbackRehearsed) is None
    back.close()
    assert living_tests(context) == []
    assert served(context) == 1
    assert context.ledger.read().releases["back"].outcome == "failed"


def test_an_artifact_that_is_not_what_its_tags_say_does_not_hold_up_adoption(context, released, tmp_path, caplog):
    released()
    register(context, artifacts.make_artifact(tmp_path / "other", version=HOSTILE), digest="f" * 64)

    adopt(context)

    assert context.ledger.read().versions[HOSTILE].stage is Stage.REJECTED
    assert "v50 is not what its tags say" in caplog.text
    assert adopt(context, apply=False)["difference"] == []


ODD_TAGS = {
    "a run that leads elsewhere": {"recdeploy-run": "../../ledger"},
    "no run": {"recdeploy-run": ""},
    "a digest that leads elsewhere": {"recdeploy-digest": "../../../ledger/x"},
    "no digest": {"recdeploy-digest": ""},
    "a time that is none": {SERVED_TAG: "{{ 7 * 7 }}"},
}


@pytest.mark.parametrize("tags", ODD_TAGS.values(), ids=ODD_TAGS.keys())
def test_odd_tags_do_not_hold_up_adoption(context, run, released, tmp_path, tags):
    released()
    register(context, artifacts.make_artifact(tmp_path / "other", version=HOSTILE), **tags)

    adopt(context)

    assert context.ledger.read().versions[HOSTILE].known_by_tags is True
    assert context.ledger.read().previous_champion is None
    run("run-2", shift=1).release_fully()
    assert served(context) == HOSTILE + 1


def test_a_rejected_version_that_is_tagged_as_served_is_never_previous(context, validated):
    second = validated(2)
    second.answer(Decision.REJECT)
    second.reject()
    second.close()
    context.catalog.tag(context.ledger.read().versions[2].model_id, {SERVED_TAG: "2099-01-01T00:00:00+00:00"})
    for found in list(context.store.list("ledger/")):
        context.store.delete(found.key)
    empty = open_context(context.settings, context.store, context.catalog._session, "test")

    adopt(empty)

    state = empty.ledger.read()
    assert (state.production.version, state.previous_champion) == (1, None)
    assert state.versions[2].known_by_tags is True


def test_a_lost_bucket_leaves_a_rollback_by_number_and_the_next_release(context, run, released, tmp_path):
    """The drill: nothing is left but the catalog, the deployment and their tags."""
    released(2)
    shutil.rmtree(tmp_path / "storage")
    settings = context.settings
    empty = open_context(
        settings, open_store(settings.storage, context.catalog._session), context.catalog._session, "t"
    )

    adopt(empty)

    state = empty.ledger.read()
    assert (state.production.version, state.previous_champion) == (2, None)
    assert {number: version.known_by_tags for number, version in state.versions.items()} == {1: True, 2: False}
    with pytest.raises(SettingsError, match="name one by its number"):
        Run(empty, "back-1", tmp_path).roll_back()
    assert Run(empty, "back-2", tmp_path).roll_back(1)["version"] == 1
    assert empty.ledger.read().releases["back-2"].get(RehearsalStarted) is None, "its code is ours: a worker loads it"
    Run(empty, "run-3", tmp_path, shift=2).release_fully()
    assert Run(empty, "back-3", tmp_path).roll_back()["version"] == 1


@pytest.mark.parametrize("hostile", [add_to_score], indirect=True, ids=[""])
def test_a_trial_that_is_interrupted_at_any_call_converges(context, run, adopted, emulator):
    """A step that lost an answer runs again from nothing: one trial, verified, and nothing of it is left."""

    def rehearse():
        again = open_context(context.settings, context.store, context.catalog._session, "back")
        return finish(again, lambda: rehearse_rollback.advance(again))

    run("back").plan_rollback(HOSTILE)
    emulator.set_timings(create=0, update=0, delete=0)
    emulator.snapshot("planned")
    ledger = {found.key: context.store.read(found.key) for found in context.store.list("ledger/")}
    emulator.clear_calls()
    rehearse()
    calls = [call["operation"] for call in emulator.calls()]
    assert {"CreateModelDeployment", "DeleteModelDeployment", "Predict"} <= set(calls)
    for nth, operation in enumerate(calls, start=1):
        if operation == calls[nth - 2] == "Predict":
            continue  # one of them is enough
        emulator.restore("planned")
        for found in list(context.store.list("ledger/")):
            context.store.delete(found.key)
        for key, content in ledger.items():
            context.store.create(key, content)
        emulator.fail_at(nth, "drop_after")
        for _ in range(4):
            try:
                rehearse()
                break
            except TransientError:
                continue
        again = open_context(context.settings, context.store, context.catalog._session, "back")
        rehearsed = again.confirm_lock().require(RollbackRehearsed)
        made = find_own_deployments(again, Role.TEST)
        assert [d.lifecycle_state for d in made] == ["DELETED"], f"{operation}, call {nth}"
        assert rehearsed.deployment_id == made[0].deployment_id
