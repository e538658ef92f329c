"""A right that the policy does not grant: where production is at rest, the lock is freed and the error names the rest.

Each test brings a release to one state, and closes it from there in each way and without each right.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from steps.factories import Run, living_tests, tidy_up

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import promote

pytestmark = pytest.mark.more

TEST = "product-recommender-test-v2"
NOT_DELETED = "test deployment could not be deleted"
NOT_TAGGED = "does not name the ledger's head"
OLD_TAGS = "Production keeps its old tags"


def close(run):
    run("run-2").close()


def keep_house(run):
    tidy_up(run("housekeeping").context, ended=True)


def take_over(run):
    run("run-3").plan(has_ended=lambda holder: holder.run_id == "run-2")


WAYS = (close, keep_house, take_over)


@pytest.fixture
def second(run):
    """A release that is validated on its test deployment, while v1 serves."""
    run("run-1", skip_test_deployment=True).release_fully()
    second = run("run-2", shift=1)
    second.validate()
    return second


@pytest.fixture
def closing(tmp_path, emulator, caplog, keep_start):
    """Closes the release in a way while OCI refuses an operation for good, from the state at the first use."""
    starts = []

    def attempt(way, operation):
        """Return the log with the error, and what makes a run with a context of its own."""
        if not starts:
            starts.append(keep_start())
        fresh = starts[0]()
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


# What OCI refuses; the message, and the test deployments that are left, once a release that has one is closed.
REFUSED = {
    "ListWorkRequests": (f"Deleting {TEST} without knowing its work requests", []),
    "GetModelDeployment": (NOT_DELETED, [TEST]),
    "ListModelDeployments": (NOT_DELETED, [TEST]),
    "UpdateModel": (NOT_TAGGED, []),
    "GetModel": (NOT_TAGGED, []),
}


def test_the_lock_of_a_release_that_changed_nothing_is_freed_without_any_right(second, closing):
    wrong = {}
    for way, (operation, (says, left)) in product(WAYS, REFUSED.items()):
        said, run = closing(way, operation)
        context = run("run-2").context
        state = context.refresh()
        found = (state.releases["run-2"].outcome, state.holder in {None, "run-3"}, says in said, living_tests(context))
        if found != ("failed", True, True, left):
            wrong[way.__name__, operation] = (*found, said)
    assert wrong == {}


def test_the_lock_of_a_rollback_that_changed_nothing_is_freed_without_any_right(second, run, closing):
    second.promote_fully()
    run("back").rehearse_rollback()
    wrong = {}
    for operation in REFUSED:
        said, again = closing(lambda run: run("back").close(), operation)
        state = again("back").context.refresh()
        # If the deployments cannot be listed, it may have one.
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


def test_a_deletion_that_oci_ignores_and_that_cannot_be_followed_has_a_deadline(validated, emulator):
    first = validated(1)
    emulator.fail_next("DeleteModelDeployment", kind="silently_reverted", times=None)
    emulator.fail_next("ListWorkRequests", status=404, code="NotAuthorizedOrNotFound", times=None)
    started = utc_now()
    # Ten minutes a second.
    first.context = replace(first.context, now=lambda: started + 600 * (utc_now() - started))

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
    assert living_tests(first.context) == []
    assert first.context.refresh().holder is None


@pytest.mark.parametrize(
    ("age", "deletion", "says", "left"),
    [
        (timedelta(hours=20), None, "cannot be followed: the next housekeeping checks it again", 0),
        (timedelta(hours=20), "silently_reverted", "cannot be followed: the next housekeeping checks it again", 2),
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
    assert len(living_tests(context)) == 2
    emulator.clear_faults()
    emulator.fail_next("ListWorkRequests", status=404, code="NotAuthorizedOrNotFound", times=None)
    if deletion:
        emulator.fail_next("DeleteModelDeployment", kind=deletion, times=2)

    try:
        tidy_up(replace(context, now=lambda: utc_now() + age), ended=True)
        said = caplog.text
    except RecdeployError as err:
        said = str(err)
    emulator.wait_until_idle()
    assert says in said
    assert len(living_tests(context)) == left

    emulator.clear_faults()
    tidy_up(context, ended=True)
    assert living_tests(context) == []
