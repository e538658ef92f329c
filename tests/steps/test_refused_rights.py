"""A right that the policy leaves out: where production is at rest, the lock is freed and what is left is said.

Each test brings a release to one state, and closes it from there in each way and with each right refused.
"""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from steps.factories import Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.rollout.production import find_deployments, find_production
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import housekeeping, promote
from recdeploy_ops.storage.roots import open_store

TEST = "product-recommender-test-v2"
NOT_DELETED = "test deployment could not be deleted"
NOT_TAGGED = "does not name the ledger's head"
OLD_TAGS = "Production keeps its old tags"


def close(run):
    run("run-2").close()


def tidy_up(run):
    own = run("housekeeping").context
    finish(own, lambda: housekeeping.advance(own, has_ended=lambda holder: True))


def take_over(run):
    run("run-3").plan(has_ended=lambda holder: holder.run_id == "run-2")


WAYS = (close, tidy_up, take_over)


@pytest.fixture
def second(run):
    """A release that is validated on its test deployment, while v1 serves."""
    run("run-1", skip_test_deployment=True).release_fully()
    second = run("run-2", shift=1)
    second.validate()
    return second


@pytest.fixture
def closing(context, tmp_path, emulator, caplog):
    """Closes the release in a way while OCI refuses an operation for good, from the state at the first use."""
    storage, kept = tmp_path / "storage", tmp_path / "kept"

    def attempt(way, operation):
        """Return what is said, and what makes a run with a context of its own."""
        if not kept.exists():
            emulator.snapshot("start")
            shutil.copytree(storage, kept)
        emulator.restore("start")
        shutil.rmtree(storage)
        shutil.copytree(kept, storage)
        session = context.deployments._session
        fresh = open_context(context.settings, open_store(context.settings.storage, session), session, "test")
        emulator.fail_next(operation, status=404, code="NotAuthorizedOrNotFound", times=None)
        caplog.clear()

        def run(run_id):
            return Run(fresh, run_id, tmp_path)

        try:
            way(run)
        except RecdeployError as err:
            return f"{caplog.text}\n{err}", run
        finally:
            emulator.clear_faults()
        return caplog.text, run

    return attempt


def living(context):
    return [d.name for d in find_deployments(context, Role.TEST) if d.lifecycle_state != "DELETED"]


# What OCI refuses; what is said of it, and which test deployments are left, once a release is closed that has one.
REFUSED = {
    "ListWorkRequests": (f"{TEST} is deleted without a look at its work requests", []),
    "GetModelDeployment": (NOT_DELETED, [TEST]),
    "ListModelDeployments": (NOT_DELETED, [TEST]),
    "UpdateModel": (NOT_TAGGED, []),
    "GetModel": (NOT_TAGGED, []),
}


def test_the_lock_of_a_release_that_changed_nothing_is_freed_whatever_oci_refuses(second, closing):
    wrong = {}
    for way, (operation, (says, left)) in product(WAYS, REFUSED.items()):
        said, run = closing(way, operation)
        context = run("run-2").context
        state = context.refresh()
        found = (state.releases["run-2"].outcome, state.holder in {None, "run-3"}, says in said, living(context))
        if found != ("failed", True, True, left):
            wrong[way.__name__, operation] = (*found, said)
    assert wrong == {}


def test_the_lock_of_a_rollback_that_changed_nothing_is_freed_whatever_oci_refuses(second, run, closing):
    second.answer(Decision.PROMOTE)
    second.promote()
    second.close()
    run("back").rehearse_rollback()
    wrong = {}
    for operation in REFUSED:
        said, again = closing(lambda run: run("back").close(), operation)
        state = again("back").context.refresh()
        # Where the deployments cannot be listed, nobody knows whether it has one.
        found = (state.releases["back"].outcome, state.holder, NOT_DELETED in said)
        if found != ("failed", None, operation == "ListModelDeployments"):
            wrong[operation] = (*found, said)
    assert wrong == {}


def test_tags_that_oci_refuses_do_not_keep_a_promoted_release_from_being_closed(second, closing):
    second.answer(Decision.PROMOTE)
    second.promote()
    wrong = {}
    for operation, says in {
        "ListWorkRequests": OLD_TAGS,
        "GetModelDeployment": OLD_TAGS,
        "UpdateModelDeployment": OLD_TAGS,
        "ListModelDeployments": NOT_DELETED,
        "UpdateModel": NOT_TAGGED,
        "GetModel": NOT_TAGGED,
    }.items():
        said, run = closing(close, operation)
        state = run("run-2").context.refresh()
        found = (state.releases["run-2"].outcome, state.holder, state.production.version, says in said)
        if found != ("promoted", None, 2, True):
            wrong[operation] = (*found, said)
    assert wrong == {}


def test_a_release_whose_switch_is_open_keeps_the_lock_until_the_champion_is_restored(second, closing, emulator):
    second.answer(Decision.PROMOTE)
    promote.advance(second.context)
    emulator.wait_until_idle()
    wrong = {}
    for way, operation in product(WAYS, ("ListWorkRequests", "GetModelDeployment")):
        said, run = closing(way, operation)
        context = run("run-2").context
        state = context.refresh()
        kept = (state.holder, state.releases["run-2"].open_switch is not None)
        way(run)
        state = context.refresh()
        after = (state.releases["run-2"].is_open, state.production.version)
        serves = find_production(context).model_id == state.production.model_id
        if (kept, after, serves) != (("run-2", True), (False, 1), True):
            wrong[way.__name__, operation] = (kept, after, serves, said)
    assert wrong == {}


def test_a_deletion_that_oci_does_not_do_and_that_cannot_be_followed_has_a_deadline(validated, emulator):
    first = validated(1)
    emulator.fail_next("DeleteModelDeployment", kind="silently_reverted", times=None)
    emulator.fail_next("ListWorkRequests", status=404, code="NotAuthorizedOrNotFound", times=None)
    started = datetime.now(UTC)
    # Ten minutes a second.
    first.context = replace(first.context, now=lambda: started + 600 * (datetime.now(UTC) - started))

    with pytest.raises(RecdeployError, match=f"{NOT_DELETED}.*is still ACTIVE at its deadline"):
        first.close()
    emulator.clear_faults()
    assert first.context.refresh().holder is None


def test_a_failed_deployment_is_deleted_without_a_look_at_its_work_requests(run, emulator):
    first = run("run-1")
    first.register()
    emulator.fail_next("CreateModelDeployment", kind="failed")
    emulator.fail_next("ListWorkRequests", status=404, code="NotAuthorizedOrNotFound", times=None)

    with pytest.raises(RecdeployError, match=r"is FAILED and is being deleted(?s:.)*refused to list the work requests"):
        first.test()
    first.close()
    emulator.clear_faults()
    assert living(first.context) == []
    assert first.context.refresh().holder is None


@pytest.mark.parametrize(
    ("age", "deletion", "says", "left"),
    [
        (timedelta(hours=20), None, "cannot be followed: the next housekeeping looks at it again", 0),
        (timedelta(hours=20), "silently_reverted", "cannot be followed: the next housekeeping looks at it again", 2),
        (timedelta(minutes=70), None, "is still ACTIVE at its deadline", 0),
        (timedelta(minutes=70), "silently_reverted", "is still ACTIVE at its deadline", 2),
    ],
)
def test_each_orphan_is_deleted_though_its_deletion_cannot_be_followed(
    context, run, emulator, caplog, age, deletion, says, left
):
    emulator.fail_next("DeleteModelDeployment", status=404, code="NotAuthorizedOrNotFound", times=None)
    for number in (1, 2):
        release = run(f"run-{number}", shift=number)
        release.validate()
        with pytest.raises(RecdeployError, match=NOT_DELETED):
            release.close()
    assert len(living(context)) == 2
    emulator.clear_faults()
    emulator.fail_next("ListWorkRequests", status=404, code="NotAuthorizedOrNotFound", times=None)
    if deletion:
        emulator.fail_next("DeleteModelDeployment", kind=deletion, times=2)
    own = replace(context.of_run("housekeeping"), now=lambda: datetime.now(UTC) + age)

    try:
        finish(own, lambda: housekeeping.advance(own, has_ended=lambda holder: True))
        said = caplog.text
    except RecdeployError as err:
        said = str(err)
    emulator.wait_until_idle()
    assert says in said
    assert len(living(context)) == left

    emulator.clear_faults()
    tidy_up(run)
    assert living(context) == []
