"""A switch that is interrupted, or whose production is changed or lost: the ledger and production still agree."""

import re
from dataclasses import replace

import pytest
from steps.factories import (
    adopt,
    deactivate_production,
    delete_production,
    event_types,
    living,
    living_tests,
    require_agreement,
    served,
    switch_by_hand,
    tidy_up,
)

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import (
    ApprovalError,
    DeploymentFailedError,
    PromotionFailedError,
    StateMismatchError,
    SwitchInterruptedError,
    SwitchUnderWayError,
)
from recdeploy_ops.domain.events import DataExtracted, ProductionFailed, ProductionLost, ReleaseOutcome
from recdeploy_ops.domain.production_checks import REPLACE_PRODUCTION, describe_failed_production
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.oci_clients.tags import HOLDER_TAG
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.rollout.production import find_deployments, find_production
from recdeploy_ops.steps import promote, roll_back


@pytest.fixture
def switching(approved_here, emulator):
    """A promotion that has requested the update of production, which OCI is carrying out."""
    emulator.set_timings(update=0.5)
    promote.advance(approved_here.context)
    return approved_here


def require_failed_production_described(err, serving):
    """Require that an error says what has failed, what it served and what to do, and does not mention a deletion."""
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
def test_what_was_approved_cannot_change_while_its_switch_is_in_progress(context, switching, step):
    with pytest.raises((SwitchUnderWayError, StateMismatchError)):
        AGAIN[step](switching)
    assert context.ledger.read().releases["run-2"].open_switch is not None

    assert switching.promote()["version"] == served(context) == 2


def test_clearing_tasks_during_a_switch_restores_the_champion_and_goes_on(context, switching):
    switching.plan()

    assert served(context) == 1
    assert context.ledger.read().releases["run-2"].is_open
    assert switching.promote()["version"] == served(context) == 2  # with the approval that was given


def test_a_candidate_rejected_during_its_switch_does_not_serve(context, switching):
    switching.plan()  # Airflow clears it together with request_approval
    switching.ask(attempt=2)
    switching.record_answer(Decision.REJECT, attempt=2)
    switching.reject()
    switching.close()

    require_agreement(context, 1)
    assert context.ledger.read().releases["run-2"].outcome == "rejected"


def test_a_rollback_that_is_closed_during_its_switch_is_undone(context, run, emulator, two_versions):
    back = run("back")
    back.rehearse_rollback(require_approval=True)
    back.ask_rollback()
    back.record_answer(Decision.ROLL_BACK)
    emulator.set_timings(update=0.5)
    roll_back.advance(back.context)
    with pytest.raises(SwitchUnderWayError):
        back.ask_rollback(attempt=2)
    back.close()

    require_agreement(context, 2)


def test_a_first_release_that_ends_while_it_becomes_production_leaves_nothing(context, run, validated, emulator):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.5)
    promote.advance(first.context)

    run("run-2").plan(has_ended=lambda holder: True)
    emulator.wait_until_idle()
    assert living(context) == []


def test_a_change_by_hand_after_the_approval_is_not_overwritten(context, run, validated, emulator):
    third = validated(3)
    third.answer(Decision.PROMOTE)
    switch_by_hand(context, emulator)

    with pytest.raises(StateMismatchError, match="by hand"):
        third.promote()
    with pytest.raises(StateMismatchError, match="by hand"):
        third.ask(attempt=2)
    third.close()
    with pytest.raises(StateMismatchError, match="by hand"):
        run("back").roll_back(1)
    assert served(context) == 1


def test_an_approval_to_replace_one_champion_does_not_replace_another(context, run, approved_here, emulator):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        approved_here.promote()
    approved_here.close()
    run("run-3", shift=2).release_fully()

    approved_here.plan()
    with pytest.raises(ApprovalError, match="changed since approval: production"):
        approved_here.promote()
    assert served(context) == 3


def fail(context, emulator):
    """Let production fail in OCI, in an update that no release requested."""
    emulator.fail_next("UpdateModelDeployment", kind="failed")
    production = find_production(context)
    context.deployments.tag(production, production.tags)
    emulator.wait_until_idle()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (delete_production, "no longer has that deployment"),
        (fail, r"which served v1 at .* is in FAILED"),
    ],
    ids=["deleted", "failed"],
)
def test_deleted_or_failed_production_stops_the_switch_and_frees_the_lock(context, approved, emulator, harm, says):
    harm(context, emulator)

    with pytest.raises(StateMismatchError, match=says):
        approved.promote()
    approved.close()
    assert context.ledger.read().holder is None


def test_production_deleted_during_the_switch_is_reported_and_the_lock_is_freed(context, switching, emulator):
    emulator.wait_until_idle()
    delete_production(context, emulator)

    for error, step in ((PromotionFailedError, switching.promote), (DeploymentFailedError, switching.close)):
        with pytest.raises(error, match=r"^PRODUCTION NEEDS A PERSON.*was deleted") as raised:
            step()
        assert "Let recommender_adopt record that" in raised.value.remedy.action
    state = context.ledger.read()
    assert state.releases["run-2"].require(ProductionLost).deployment_id == state.production.deployment_id
    assert state.holder is None
    assert adopt(context)["applied"]
    assert context.ledger.read().production is None


def promotion(run, validated):
    third = validated(3)
    third.answer(Decision.PROMOTE)
    return third, third.promote


def rollback(run, validated):
    back = run("back")
    back.rehearse_rollback()
    return back, back.switch_back


@pytest.mark.parametrize("answers", [True, False], ids=["it answers", "it does not answer"])
@pytest.mark.parametrize("begin", [promotion, rollback])
def test_failed_production_is_reported_as_failed(context, run, two_versions, validated, emulator, begin, answers):
    release, switch = begin(run, validated)
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

    delete_production(context, emulator)
    adopt(context)
    run("run-3", shift=2).release_fully()
    require_agreement(context, 3)
    assert context.ledger.read().production.deployment_id != failed.deployment_id


def test_a_champion_whose_model_was_deleted_during_the_switch_is_registered_again(context, switching, emulator):
    emulator.wait_until_idle()
    champion = context.ledger.read().production
    context.catalog._client.delete_model(champion.model_id)
    emulator.fail_next("Predict", kind="status", status=500, times=4)
    with pytest.raises(PromotionFailedError, match="v1 serves at"):
        switching.promote()
    switching.close()

    state = context.ledger.read()
    assert served(context) == 1
    assert state.production.model_id == state.versions[1].model_id != champion.model_id
    assert find_production(context).model_id == state.production.model_id


def test_deletions_that_oci_accepts_and_ignores_have_a_deadline(context, validated, emulator):
    first = validated(1)
    emulator.fail_next("DeleteModelDeployment", kind="silently_reverted", times=None)
    started = utc_now()
    # Ten minutes a second.
    first.context = replace(first.context, now=lambda: started + 600 * (utc_now() - started))
    with pytest.raises(DeploymentFailedError, match="could not be deleted"):
        first.close()
    assert context.ledger.read().holder is None


def test_a_deactivated_production_is_not_promoted_over(context, approved, emulator):
    deactivate_production(context, emulator)
    with pytest.raises(StateMismatchError, match=r"is INACTIVE: it cannot be probed.*Bring it to ACTIVE in the OCI"):
        approved.promote()
    approved.close()

    assert event_types(context, "run-2")[-2:] == ["release_rejected", "release_closed"]
    assert "switch_started" not in event_types(context, "run-2")


def test_a_deactivated_production_is_not_rolled_back(context, run, two_versions, emulator):
    deactivate_production(context, emulator)
    with pytest.raises(StateMismatchError, match=r"is INACTIVE: it cannot be probed.*Bring it to ACTIVE in the OCI"):
        run("back").roll_back()
    run("back").close()

    assert context.refresh().holder is None
    assert "switch_started" not in event_types(context, "back")


def test_a_switch_that_was_not_requested_quotes_no_other_work_request(context, approved, emulator, no_retries):
    emulator.fail_next("UpdateModelDeployment", status=503, times=None)
    with pytest.raises(SwitchInterruptedError):
        approved.promote()
    emulator.clear_faults()
    deactivate_production(context, emulator)

    with pytest.raises(PromotionFailedError, match="Nothing was requested") as failed:
        approved.promote()
    assert "MODEL_DEPLOYMENT_" not in str(failed.value)


def test_a_takeover_invalidates_productions_etag_even_after_a_failed_change(context, run, approved, emulator):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        approved.promote()
    zombie = find_production(context)

    run("run-3", shift=2).plan(has_ended=lambda holder: True)
    assert find_production(context).etag != zombie.etag
    assert find_production(context).tags[HOLDER_TAG].startswith("run-3")


def test_an_approval_that_was_used_before_is_not_a_promotion(context, run, two_versions):
    first = run("run-1")
    first.plan()
    with pytest.raises(ApprovalError, match="an approval counts once"):
        first.promote()
    first.close()

    assert context.ledger.read().releases["run-1"].outcome == "failed"
    assert read_current(context.store)["version"] == 2


def test_housekeeping_undoes_a_switch_whose_run_has_ended(context, switching):
    tidy_up(context, ended=True)

    require_agreement(context, 1)
    assert living_tests(context) == []


def test_housekeeping_never_deletes_production_that_serves(context, released):
    released()
    state = context.ledger.read()
    tidy_up(context)

    assert [d.deployment_id for d in find_deployments(context, Role.PRODUCTION)] == [state.production.deployment_id]
    assert served(context) == 1


def test_a_restoration_that_oci_refuses_needs_a_person(context, approved, emulator):
    emulator.fail_next("UpdateModelDeployment", kind="old_still_serves")
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="InvalidParameter", after=1)

    with pytest.raises(PromotionFailedError, match=r"^PRODUCTION NEEDS A PERSON(?s:.)*OCI refused to switch"):
        approved.promote()
    assert context.ledger.read().releases["run-2"].open_switch is not None

    approved.close()
    assert served(context) == 1


def test_a_rollback_takes_over_from_a_run_that_ended_while_it_switched_production(context, run, validated, emulator):
    third = validated(3)
    third.answer(Decision.PROMOTE)
    promote.advance(third.context)
    emulator.wait_until_idle()
    assert served(context) == 3

    assert run("back").roll_back(has_ended=lambda holder: True)["version"] == 1
    require_agreement(context, 1)
