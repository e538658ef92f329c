"""Production changed, lost or interrupted in the middle: what serves is what the ledger says, and nothing hangs."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudUnavailableError,
    DeploymentFailedError,
    PromotionFailedError,
    StateMismatchError,
    SwitchInterruptedError,
    SwitchUnderWayError,
)
from recdeploy_ops.domain.events import DataExtracted, ProductionFailed, ProductionLost, ReleaseOutcome
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.release_plan import REPLACE_PRODUCTION, describe_failed_production
from recdeploy_ops.oci_clients.tags import HOLDER_TAG
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.rollout.production import find_deployments, find_production
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production, housekeeping, promote, roll_back


@pytest.fixture
def champion(released):
    released()


@pytest.fixture
def switching(context, run, champion, emulator):
    """A promotion that has requested the update of production, which OCI is at work on."""
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.5)
    promote.advance(second.context)
    return second


def served(context):
    production = context.deployments.get(context.ledger.read().production.deployment_id)
    body = context.deployments.asker(production.url, timeout_seconds=10)({"user_id": "x"}).body
    return body["model_version"]


def living(context):
    return [d.name for d in context.deployments.all() if d.lifecycle_state not in {"DELETED", "DELETING"}]


def tidy_up(context, *, ended=False):
    own = context.of_run("housekeeping")
    return finish(own, lambda: housekeeping.advance(own, has_ended=lambda holder: ended))


def adopt(context):
    own = context.of_run("adopt")
    return finish(own, lambda: adopt_production.advance(own, deployment_id=None, apply=True))


def require_failed_production_described(err, serving):
    """Require that an error says what has failed, what it served and what to do, and nothing of a deletion."""
    assert describe_failed_production(serving) in err.message
    for fact in ("in FAILED", serving.deployment_id, serving.url, f"v{serving.version}"):
        assert fact in err.message
    assert not re.search("deleted|deletion|gone|no such deployment", str(err))
    assert err.remedy == REPLACE_PRODUCTION


AGAIN = {
    "extract": lambda run: run.context.record(DataExtracted("other", "digest", rows={}, newest_interaction=None)),
    "train": lambda run: (setattr(run, "shift", 2), run.train()),
    "validate": lambda run: run.test(),
    "ask": lambda run: run.ask(attempt=2),
}


@pytest.mark.parametrize("step", AGAIN)
def test_what_a_switch_rests_on_cannot_change_while_it_is_in_progress(context, switching, step):
    with pytest.raises((SwitchUnderWayError, StateMismatchError)):
        AGAIN[step](switching)
    assert context.ledger.read().releases["run-2"].open_switch is not None

    assert switching.promote()["version"] == served(context) == 2


def test_clearing_tasks_during_a_switch_restores_the_champion_and_goes_on_from_there(context, switching):
    switching.plan()

    assert served(context) == 1
    assert context.ledger.read().releases["run-2"].is_open
    assert switching.promote()["version"] == served(context) == 2  # with the approval that it has


def test_a_candidate_rejected_during_its_switch_does_not_serve(context, switching):
    switching.plan()  # Airflow clears it together with request_approval
    switching.ask(attempt=2)
    switching.record_answer(Decision.REJECT, attempt=2)
    switching.reject()
    switching.close()

    assert served(context) == context.ledger.read().production.version == 1
    assert context.ledger.read().releases["run-2"].outcome == "rejected"


def test_a_rollback_that_is_closed_during_its_switch_is_undone(context, run, emulator, champion):
    run("run-2", shift=1).release_fully()
    back = run("back")
    back.rehearse_rollback(require_approval=True)
    back.ask_rollback()
    back.record_answer(Decision.ROLL_BACK)
    emulator.set_timings(update=0.5)
    roll_back.advance(back.context)
    with pytest.raises(SwitchUnderWayError):
        back.ask_rollback(attempt=2)
    back.close()

    assert served(context) == context.ledger.read().production.version == 2


def test_a_first_release_that_ends_while_it_becomes_production_leaves_nothing(context, run, validated, emulator):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.5)
    promote.advance(first.context)

    run("run-2").plan(has_ended=lambda holder: True)
    assert living(context) == []


def test_a_change_by_hand_after_the_approval_is_not_overwritten(context, run, champion, emulator):
    run("run-2", shift=1).release_fully()
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    context.deployments.switch_model(find_production(context), context.ledger.read().versions[1].model_id)
    emulator.wait_until_idle()

    with pytest.raises(StateMismatchError, match="by hand"):
        third.promote()
    with pytest.raises(StateMismatchError, match="by hand"):
        third.ask(attempt=2)
    third.close()
    with pytest.raises(StateMismatchError, match="by hand"):
        run("back").roll_back(1)
    assert served(context) == 1


def test_an_approval_to_replace_one_champion_does_not_replace_another(context, run, released, emulator):
    released()
    second = run("run-2", shift=1)  # planned twice, with the same settings
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        second.promote()
    second.close()
    run("run-3", shift=2).release_fully()

    second.plan()
    with pytest.raises(ApprovalError, match="changed since approval: production"):
        second.promote()
    assert served(context) == 3


def fail(context, emulator):
    """Have OCI give up on production, in an update that is not a release's."""
    emulator.fail_next("UpdateModelDeployment", kind="failed")
    production = find_production(context)
    context.deployments.tag(production, production.tags)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda context, emulator: context.deployments.delete(find_production(context)), "no such deployment any more"),
        (fail, "in FAILED, which served v1"),
    ],
    ids=["deleted", "failed"],
)
def test_production_that_is_gone_or_failed_before_the_switch_stops_it_and_frees_the_lock(
    context, validated, emulator, harm, says
):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    harm(context, emulator)
    emulator.wait_until_idle()

    with pytest.raises(StateMismatchError, match=says):
        second.promote()
    second.close()
    assert context.ledger.read().holder is None


def test_production_that_is_deleted_during_the_switch_is_reported_and_the_lock_is_freed(context, switching, emulator):
    emulator.wait_until_idle()
    context.deployments.delete(find_production(context))
    emulator.wait_until_idle()

    for error, step in ((PromotionFailedError, switching.promote), (DeploymentFailedError, switching.close)):
        with pytest.raises(error, match=r"^PRODUCTION NEEDS A PERSON.*was deleted") as raised:
            step()
        assert "Let recommender_adopt take that over" in raised.value.remedy.action
    state = context.ledger.read()
    assert state.releases["run-2"].require(ProductionLost).deployment_id == state.production.deployment_id
    assert state.holder is None
    assert adopt(context)["applied"]
    assert context.ledger.read().production is None


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("purpose", ["promotion", "rollback"])
def test_failed_production_is_reported_as_failed(context, run, champion, emulator, purpose, answers):
    run("run-2", shift=1).release_fully()
    if purpose == "promotion":
        release = run("run-3", shift=2)
        release.validate()
        release.answer(Decision.PROMOTE)
    else:
        release = run("back")
        release.rehearse_rollback()
    switch = release.promote if purpose == "promotion" else release.switch_back
    serving = context.ledger.read().production
    emulator.fail_next("UpdateModelDeployment", kind="failed", message="Its load balancer is lost")
    if not answers:
        emulator.fail_next("Predict", status=404, times=None)

    for error, step in ((PromotionFailedError, switch), (DeploymentFailedError, release.close)):
        with pytest.raises(error, match=r"^PRODUCTION NEEDS A PERSON\.") as raised:
            step()
        require_failed_production_described(raised.value, serving)
        assert "Its load balancer is lost" in raised.value.message
        assert ("it answers with version" if answers else "it does not answer") in raised.value.message

    state = context.ledger.read()
    failed = state.releases[release.run_id]
    assert failed.require(ProductionFailed).deployment_id == serving.deployment_id
    assert failed.get(ProductionLost) is None
    assert (failed.outcome, failed.open_switch, state.holder) == (ReleaseOutcome.FAILED, None, None)
    for step in (run("run-4", shift=3).plan, run("another").rehearse_rollback):
        with pytest.raises(StateMismatchError) as refused:
            step()
        require_failed_production_described(refused.value, serving)
        assert context.ledger.read() == state


def test_failed_production_is_replaced_as_its_remedy_says(context, run, switching, emulator):
    emulator.wait_until_idle()
    emulator.fail_next("Predict", status=500, times=4)
    emulator.fail_next("UpdateModelDeployment", kind="failed")  # the one that restores the champion
    with pytest.raises(PromotionFailedError, match=r"^PRODUCTION NEEDS A PERSON.*in FAILED"):
        switching.promote()
    with pytest.raises(DeploymentFailedError, match=r"^PRODUCTION NEEDS A PERSON") as raised:
        switching.close()
    failed = find_production(context)
    require_failed_production_described(raised.value, context.ledger.read().production)

    context.deployments.delete(failed)
    emulator.wait_until_idle()
    adopt(context)
    run("run-3", shift=2).release_fully()
    assert served(context) == context.ledger.read().production.version == 3
    assert context.ledger.read().production.deployment_id != failed.deployment_id


def test_a_champion_whose_model_was_deleted_during_the_switch_is_registered_again(context, switching, emulator):
    emulator.wait_until_idle()
    client, champion = context.catalog._client, context.ledger.read().production
    client.delete_model(champion.model_id)
    emulator.fail_next("Predict", kind="status", status=500, times=4)
    with pytest.raises(PromotionFailedError, match="v1 serves at"):
        switching.promote()
    switching.close()

    state = context.ledger.read()
    assert served(context) == 1
    assert state.production.model_id == state.versions[1].model_id != champion.model_id
    assert find_production(context).model_id == state.production.model_id


def test_deletions_that_oci_accepts_and_does_not_do_have_a_deadline(context, validated, emulator):
    first = validated(1)
    emulator.fail_next("DeleteModelDeployment", kind="silently_reverted", times=None)
    started = datetime.now(UTC)
    # Ten minutes a second.
    first.context = replace(first.context, now=lambda: started + 600 * (datetime.now(UTC) - started))
    with pytest.raises(DeploymentFailedError, match="could not be deleted"):
        first.close()
    assert context.ledger.read().holder is None


def test_tags_that_oci_accepts_and_does_not_set_are_a_warning(context, validated, emulator, caplog):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    second.promote()
    emulator.fail_next("UpdateModelDeployment", kind="silently_reverted", times=None)

    second.close()
    assert "keeps its old tags" in caplog.text
    assert len(emulator.calls("UpdateModelDeployment")) < 20


def test_a_takeover_invalidates_productions_etag_also_after_a_change_that_failed(context, run, validated, emulator):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        second.promote()
    zombie = find_production(context)

    run("run-3", shift=2).plan(has_ended=lambda holder: True)
    assert find_production(context).etag != zombie.etag
    assert find_production(context).tags[HOLDER_TAG].startswith("run-3")


def test_an_approval_refused_after_a_rollback_is_not_a_promotion(context, run, champion):
    run("run-2", shift=1).release_fully()
    first = run("run-1")
    first.plan()
    with pytest.raises(ApprovalError, match="an approval counts once"):
        first.promote()
    first.close()

    assert context.ledger.read().releases["run-1"].outcome == "failed"
    assert read_current(context.store)["version"] == 2


def test_housekeeping_undoes_a_switch_whose_run_has_ended(context, switching, emulator):
    tidy_up(context, ended=True)

    assert served(context) == context.ledger.read().production.version == 1
    assert find_deployments(context, Role.TEST) == [] or all(
        d.lifecycle_state == "DELETED" for d in find_deployments(context, Role.TEST)
    )


class Held:
    """A call to OCI that a slow worker has prepared and not sent: what comes after it counts that worker as ended."""

    def __init__(self, context, name, monkeypatch):
        self._send, self.arguments = getattr(context.deployments, name), None
        self._patch = monkeypatch
        monkeypatch.setattr(context.deployments, name, self._hold)

    def _hold(self, *arguments):
        self.arguments = arguments
        self._patch.undo()
        raise CloudUnavailableError("the worker is slow")

    def send(self):
        return self._send(*self.arguments)


CLOSERS = {
    "its own teardown": lambda run, context: run("run-2").close(),
    "housekeeping": lambda run, context: tidy_up(context, ended=True),
    "another release": lambda run, context: run("run-3").plan(has_ended=lambda holder: True),
    "its own plan": lambda run, context: run("run-2").plan(),
}


@pytest.mark.parametrize("closer", CLOSERS)
def test_a_switch_still_on_its_way_to_oci_when_its_release_is_closed_is_refused(
    context, run, validated, monkeypatch, closer
):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    held = Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        second.promote()
    CLOSERS[closer](run, context)

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    assert served(context) == context.ledger.read().production.version == 1


def test_a_rollback_still_on_its_way_to_oci_when_it_is_closed_is_refused(context, run, champion, monkeypatch):
    run("run-2", shift=1).release_fully()
    back = run("back")
    back.rehearse_rollback()
    held = Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        back.switch_back()
    back.close()

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    assert served(context) == context.ledger.read().production.version == 2


@pytest.mark.parametrize("cleaner", ["housekeeping", "the next release"])
def test_a_first_production_that_oci_makes_after_its_release_was_closed_is_deleted(
    context, run, emulator, monkeypatch, cleaner
):
    first = run("run-1", skip_test_deployment=True)
    first.validate()
    first.answer(Decision.PROMOTE)
    held = Held(context, "create", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        first.promote()
    first.close()
    held.send()
    emulator.wait_until_idle()
    assert living(context) == ["product-recommender-production"]

    if cleaner == "housekeeping":
        tidy_up(context)
    else:
        run("run-2").plan()
    assert living(context) == []


def test_production_that_serves_is_never_taken_for_a_leftover(context, run, champion):
    state = context.ledger.read()
    tidy_up(context)

    assert [d.deployment_id for d in find_deployments(context, Role.PRODUCTION)] == [state.production.deployment_id]
    assert served(context) == 1


def test_a_restoration_that_oci_refuses_needs_a_person(context, run, validated, emulator):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="old_still_serves")
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="InvalidParameter", after=1)

    with pytest.raises(PromotionFailedError, match=r"^PRODUCTION NEEDS A PERSON(?s:.)*OCI refused to switch"):
        second.promote()
    assert context.ledger.read().releases["run-2"].open_switch is not None

    second.close()
    assert served(context) == 1


def test_a_rollback_takes_over_from_a_run_that_ended_while_it_switched_production(context, run, champion, emulator):
    run("run-2", shift=1).release_fully()
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    promote.advance(third.context)
    emulator.wait_until_idle()
    assert served(context) == 3

    assert run("back").roll_back(has_ended=lambda holder: True)["version"] == 1
    assert served(context) == context.ledger.read().production.version == 1


def test_an_etag_that_cannot_be_invalidated_does_not_keep_the_champion_from_being_restored(
    context, validated, emulator, monkeypatch, caplog
):
    second = validated(2)
    second.answer(Decision.PROMOTE)
    Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        second.promote()
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="LimitExceeded")
    second.close()

    assert "etag could not be changed" in caplog.text
    assert served(context) == context.ledger.read().production.version == 1
    assert context.ledger.read().holder is None
