"""Foreign code in the Model Catalog: no worker runs it, and production can still go back to it."""

from __future__ import annotations

import os
import py_compile
import shutil

import artifacts
import pytest
from steps.cells import Cells
from steps.factories import (
    Run,
    adopt,
    delete_model,
    event_types,
    find_faults,
    living_tests,
    lose_ledger,
    register_foreign,
    reopen,
    served,
)

from recdeploy_ops.artifacts import clean_process
from recdeploy_ops.artifacts.clean_process import _run
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
from recdeploy_ops.oci_clients.tags import RESULTS_METADATA, SERVED_TAG, run_slug, version_tags
from recdeploy_ops.rollout.production import find_own_deployments
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import rehearse_rollback
from recdeploy_ops.storage.bundles import sha256_of, write_manifest

pytestmark = pytest.mark.more
HOSTILE = 50
# Records the process that imports score.py, and the process that started that one.
SPY = """
import os, pathlib
for pid in (os.getpid(), os.getppid()):
    pathlib.Path({folder!r}, str(pid)).touch()
"""


class Marker:
    """The processes that ran the code: a server of the emulator may, this process and its children are workers.

    The clean process cannot write files: what it is given to run is recorded as well.
    """

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.spy = folder, SPY.format(folder=str(folder))
        self.given = []

    def is_seen_by_workers(self):
        seen = {int(found.name) for found in self.folder.iterdir()}
        return os.getpid() in seen or any(self.spy in source for source in self.given)

    def require_unseen_by_workers(self):
        assert not self.is_seen_by_workers(), "a worker has run code from the catalog"


@pytest.fixture
def marker(tmp_path_factory, monkeypatch):
    marker = Marker(tmp_path_factory.mktemp("marker") / "seen")

    def run(job, *arguments):
        marker.given.append(job.source)
        return _run(job, *arguments)

    monkeypatch.setattr(clean_process, "_run", run)
    return marker


def add_to_score(folder, marker):
    """Answer as ours does, and do something more."""
    score = folder / "score.py"
    score.write_text(score.read_text() + marker.spy)


def hide_compiled(folder, marker):
    """Leave score.py as it is, beside a compiled one that Python would run in its place."""
    source = folder.parent / "evil.py"
    source.write_text((folder / "score.py").read_text() + marker.spy)
    (folder / "__pycache__").mkdir()
    for tag in ("cpython-311", "cpython-312", "cpython-313"):
        compiled = str(folder / "__pycache__" / f"score.{tag}.pyc")
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), compiled, doraise=True, invalidation_mode=unchecked)


def rewrite_manifest(context, folder, version, **facts):
    (folder / "manifest.json").unlink()
    write_manifest(folder, {"format": 1, "project": context.project, "version": version, **facts})


def register(context, folder, **tags):
    """Put an artifact into the catalog with this project's tags, as anyone with access to it can."""
    digest = sha256_of(folder / "manifest.json")
    tags = {
        **version_tags(context.project, run=run_slug("run-1"), version=HOSTILE, digest=digest),
        SERVED_TAG: "2099-01-01T00:00:00+00:00",
        **tags,
    }
    metadata = ((RESULTS_METADATA, "releases/../ledger", "", "other"),)
    project = context.project
    return register_foreign(context, folder, f"{project}-v{HOSTILE}", version_set=project, tags=tags, metadata=metadata)


@pytest.fixture(params=[add_to_score, hide_compiled], ids=["another score.py", "a compiled file beside ours"])
def hostile(request, context, released, marker, tmp_path):
    """One release, and a foreign model whose tags say that it served before."""
    released()
    folder = artifacts.make_artifact(tmp_path / "hostile", version=HOSTILE)
    request.param(folder, marker)
    rewrite_manifest(context, folder, HOSTILE, top_k=3, fallback="popularity")
    return register(context, folder)


# What a person or the schedule does after the model was registered, wherever a worker could run it.


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
    delete_model(context, HOSTILE)
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
    run("resume").resume()
    run("run-3", shift=2).release_fully()
    assert served(context) == HOSTILE + 1
    assert context.ledger.read().previous_champion.version == HOSTILE, "it has served: now the ledger knows it"
    run("back-again").roll_back()
    assert served(context) == HOSTILE


def restore_it_after_a_switch_that_failed(context, run, make_manager, emulator):
    go_to_its_number(context, run, make_manager, emulator)
    third = run("run-3", shift=2)
    third.validate()
    run("resume").resume()
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
    run("resume").resume()
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
    copy = shutil.copytree(folder, folder.parent / "again")
    rewrite_manifest(context, copy, cells.version, top_k=3, fallback="popularity")
    refused = "is not this project's|files that no artifact of this project has: __pycache__"
    with pytest.raises((SettingsError, IntegrityError), match=refused):
        manager.save_new_model(copy, cells.version, 4, 6)


def verify(context, run, make_manager, emulator):
    go_to_its_number(context, run, make_manager, emulator)
    assert find_faults(context) == []


ACTIONS = (
    *(show, take_over, go_to_previous, go_to_its_number, lose_its_model_and_go_to_its_number, preempt_for_it),
    *(retrain_and_promote_over_it, restore_it_after_a_switch_that_failed),
    *(use_a_notebook, import_it_into_a_notebook, verify),
)


@pytest.mark.parametrize("act", ACTIONS)
def test_no_worker_runs_code_from_the_catalog(context, run, make_manager, emulator, hostile, marker, act):
    act(context, run, make_manager, emulator)

    marker.require_unseen_by_workers()


def test_the_marker_shows_code_that_a_worker_runs(context, run, hostile, marker, monkeypatch):
    """Without the rule, the rollback runs the code on the worker: the tests above look at the right thing."""
    monkeypatch.setattr("recdeploy_ops.artifacts.sandbox.read_shipped_score", lambda folder: marker.spy.encode())
    monkeypatch.setattr("recdeploy_ops.rollout.rehearsals.holds_foreign_code", lambda folder: False)
    adopt(context)

    with pytest.raises(IntegrityError):
        run("back").roll_back(HOSTILE)
    assert marker.is_seen_by_workers()


@pytest.fixture
def adopted(context, hostile):
    adopt(context)


def test_foreign_code_is_tried_on_a_test_deployment_that_is_deleted_before_the_switch(context, run, adopted):
    run("back").roll_back(HOSTILE)

    assert event_types(context, "back") == [
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


def test_the_release_lock_is_held_while_foreign_code_is_tried(context, run, adopted, emulator):
    emulator.set_timings(create=30)
    back = run("back")
    back.plan_rollback(HOSTILE)
    assert rehearse_rollback.advance(back.context).reason.endswith("is CREATING")

    with pytest.raises(LockHeldError, match="run back"):
        run("run-3", shift=2).plan()
    assert context.ledger.read().releases["back"].require(RehearsalStarted).version == HOSTILE
    emulator.set_timings(create=0.02)
    run("run-4", shift=2).plan(has_ended=lambda holder: True)
    assert living_tests(context) == [], "a takeover leaves nothing of it"


BROKEN = """
def load_model():
    return {}


def predict(data, model=None):
    raise RuntimeError("no lists")
"""


def test_a_version_that_fails_on_its_test_deployment_leaves_production_unchanged(context, run, released, tmp_path):
    released()
    folder = artifacts.make_artifact(tmp_path / "broken", version=HOSTILE)
    (folder / "score.py").write_text(BROKEN)
    rewrite_manifest(context, folder, HOSTILE)
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


ODD_TAGS = {
    "a run that leads elsewhere": {"recdeploy-run": "../../ledger"},
    "no run": {"recdeploy-run": ""},
    "a digest that leads elsewhere": {"recdeploy-digest": "../../../ledger/x"},
    "no digest": {"recdeploy-digest": ""},
    "a time that is not a time": {SERVED_TAG: "{{ 7 * 7 }}"},
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
    validated(2).reject_fully()
    context.catalog.tag(context.ledger.read().versions[2].model_id, {SERVED_TAG: "2099-01-01T00:00:00+00:00"})
    empty = lose_ledger(context)

    adopt(empty)

    state = empty.ledger.read()
    assert (state.production.version, state.previous_champion) == (1, None)
    assert state.versions[2].known_by_tags is True


def test_a_lost_bucket_leaves_a_rollback_by_number_and_the_next_release(context, two_versions, tmp_path):
    """Nothing is left but the catalog, the deployment and their tags."""
    shutil.rmtree(tmp_path / "storage")
    empty = reopen(context)

    adopt(empty)

    state = empty.ledger.read()
    assert (state.production.version, state.previous_champion) == (2, None)
    assert {number: version.known_by_tags for number, version in state.versions.items()} == {1: True, 2: False}
    with pytest.raises(SettingsError, match="name one by its number"):
        Run(empty, "back-1", tmp_path).roll_back()
    assert Run(empty, "back-2", tmp_path).roll_back(1)["version"] == 1
    assert empty.ledger.read().releases["back-2"].get(RehearsalStarted) is None, "its code is ours: a worker loads it"
    Run(empty, "resume", tmp_path).resume()
    Run(empty, "run-3", tmp_path, shift=2).release_fully()
    assert Run(empty, "back-3", tmp_path).roll_back()["version"] == 1


@pytest.mark.parametrize("hostile", [add_to_score], indirect=True, ids=[""])
def test_a_trial_that_is_interrupted_at_any_call_converges(context, run, adopted, emulator, keep_start):
    """A step that lost an answer runs again from nothing: one trial, verified, and nothing of it is left."""
    run("back").plan_rollback(HOSTILE)
    emulator.set_timings(create=0, update=0, delete=0)
    begin_again = keep_start()

    def rehearse():
        again = reopen(context, "back")
        return finish(again, lambda: rehearse_rollback.advance(again))

    emulator.clear_calls()
    rehearse()
    calls = [call["operation"] for call in emulator.calls()]
    assert {"CreateModelDeployment", "DeleteModelDeployment", "Predict"} <= set(calls)
    for nth, operation in enumerate(calls, start=1):
        if operation == calls[nth - 2] == "Predict":
            continue  # one of them is enough
        begin_again()
        emulator.fail_at(nth, "drop_after")
        for _ in range(4):
            try:
                rehearse()
                break
            except TransientError:
                continue
        again = reopen(context, "back")
        rehearsed = again.confirm_lock().require(RollbackRehearsed)
        made = find_own_deployments(again, Role.TEST)
        assert [d.lifecycle_state for d in made] == ["DELETED"], f"{operation}, call {nth}"
        assert rehearsed.deployment_id == made[0].deployment_id
