"""Production changed, lost or interrupted in the middle: what serves is what the ledger says, and nothing hangs."""

from datetime import UTC, datetime

import pytest

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudUnavailableError,
    DeploymentFailedError,
    PromotionFailedError,
    StateMismatchError,
    SwitchUnderWayError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.releases import HOLDER_TAG
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production, housekeeping, promote, roll_back


@pytest.fixture
def champion(run):
    run("run-1").release_fully()


@pytest.fixture
def switching(releases, run, champion, emulator):
    """A promotion that has asked OCI, which is at work."""
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.5)
    promote.advance(releases, "run-2")
    return second


def served(releases):
    production = releases.deployments.get(releases.ledger.book().production.deployment_id)
    body = releases.deployments.asker(production, timeout_seconds=10)({"user_id": "x"}).body
    return body["model_version"]


def living(releases):
    return [d.name for d in releases.deployments.all() if d.lifecycle_state not in {"DELETED", "DELETING"}]


AGAIN = {
    "extract": lambda run: run.releases.record(Kind.DATA_EXTRACTED, run.run_id, {"prefix": "other"}),
    "train": lambda run: (setattr(run, "shift", 2), run.train()),
    "validate": lambda run: run.test(),
    "ask": lambda run: run.ask(attempt=2),
}


@pytest.mark.parametrize("step", AGAIN)
def test_what_a_switch_rests_on_cannot_change_while_it_is_under_way(releases, switching, step):
    with pytest.raises((SwitchUnderWayError, StateMismatchError)):
        AGAIN[step](switching)
    assert releases.ledger.book().releases["run-2"].open_switch is not None

    assert switching.promote()["version"] == served(releases) == 2


def test_clearing_tasks_during_a_switch_brings_the_champion_back_and_goes_on_from_there(releases, switching):
    switching.plan()

    assert served(releases) == 1
    assert releases.ledger.book().releases["run-2"].is_open
    assert switching.promote()["version"] == served(releases) == 2  # with the approval that it has


def test_a_candidate_refused_during_its_switch_does_not_serve(releases, switching):
    switching.plan()  # Airflow clears it together with request_approval
    switching.ask(attempt=2)
    switching.keep(Decision.REJECT, attempt=2)
    switching.reject()
    switching.close()

    assert served(releases) == releases.ledger.book().production.version == 1
    assert releases.ledger.book().releases["run-2"].outcome == "rejected"


def test_a_rollback_refused_during_its_switch_is_taken_back(releases, run, emulator, champion):
    run("run-2", shift=1).release_fully()
    back = run("back")
    back.rehearse_rollback(require_approval=True)
    back.ask_rollback()
    back.keep(Decision.ROLL_BACK)
    emulator.set_timings(update=0.5)
    roll_back.advance(releases, "back")
    with pytest.raises(SwitchUnderWayError):
        back.ask_rollback(attempt=2)
    back.close()

    assert served(releases) == releases.ledger.book().production.version == 2


def test_a_first_release_that_dies_while_it_becomes_production_leaves_nothing(releases, run, emulator):
    first = run("run-1")
    first.validate()
    first.answer(Decision.PROMOTE)
    emulator.set_timings(update=0.5)
    promote.advance(releases, "run-1")

    run("run-2").plan(has_ended=lambda dag_id, run_id: True)
    assert living(releases) == []


def test_a_change_by_hand_after_the_approval_is_not_overwritten(releases, run, champion, emulator):
    run("run-2", shift=1).release_fully()
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    releases.deployments.switch_model(releases.production(), releases.ledger.book().versions[1].model_id)
    emulator.wait_until_idle()

    with pytest.raises(StateMismatchError, match="by hand"):
        third.promote()
    with pytest.raises(StateMismatchError, match="by hand"):
        third.ask(attempt=2)
    third.close()
    with pytest.raises(StateMismatchError, match="by hand"):
        run("back").roll_back(1)
    assert served(releases) == 1


def test_an_approval_to_replace_one_champion_does_not_replace_another(releases, run, champion, emulator):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        second.promote()
    second.close()
    run("run-3", shift=2).release_fully()

    second.plan()
    with pytest.raises(ApprovalError, match="these have changed: production"):
        second.promote()
    assert served(releases) == 3


def test_production_that_was_deleted_before_the_switch_stops_it_and_frees_the_lock(releases, run, champion, emulator):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    releases.deployments.delete(releases.production())
    emulator.wait_until_idle()

    with pytest.raises(StateMismatchError, match="no such deployment any more"):
        second.promote()
    second.close()
    assert releases.ledger.book().holder is None


def test_production_that_is_deleted_during_the_switch_is_told_and_the_lock_is_freed(releases, switching, emulator):
    emulator.wait_until_idle()
    releases.deployments.delete(releases.production())
    emulator.wait_until_idle()

    with pytest.raises(PromotionFailedError, match="PRODUCTION IS GONE"):
        switching.promote()
    with pytest.raises(DeploymentFailedError, match="PRODUCTION IS GONE"):
        switching.close()
    assert releases.ledger.book().holder is None
    adopted = finish(releases, lambda: adopt_production.advance(releases, "adopt", deployment_id=None, apply=True))
    assert adopted["applied"]
    assert releases.ledger.book().production is None


def test_a_champion_whose_model_was_deleted_during_the_switch_is_registered_again(releases, switching, emulator):
    emulator.wait_until_idle()
    client, champion = releases.catalog._client, releases.ledger.book().production
    client.delete_model(champion.model_id)
    emulator.fail_next("Predict", kind="status", status=500, times=4)
    with pytest.raises(PromotionFailedError, match="v1 serves at"):
        switching.promote()
    switching.close()

    book = releases.ledger.book()
    assert served(releases) == 1
    assert book.production.model_id == book.versions[1].model_id != champion.model_id
    assert releases.production().model_id == book.production.model_id


def test_deletions_that_oci_accepts_and_does_not_do_have_a_deadline(releases, run, emulator):
    first = run("run-1")
    first.validate()
    emulator.fail_next("DeleteModelDeployment", kind="silently_reverted", times=None)
    started = datetime.now(UTC)
    releases.now = lambda: started + 600 * (datetime.now(UTC) - started)  # ten minutes a second
    with pytest.raises(DeploymentFailedError, match="could not be deleted"):
        first.close()
    assert releases.ledger.book().holder is None


def test_tags_that_oci_accepts_and_does_not_set_are_a_warning(releases, run, champion, emulator, caplog):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    second.promote()
    emulator.fail_next("UpdateModelDeployment", kind="silently_reverted", times=None)

    second.close()
    assert "keeps its old tags" in caplog.text
    assert len(emulator.calls("UpdateModelDeployment")) < 20


def test_a_takeover_changes_productions_etag_also_after_a_change_that_failed(releases, run, champion, emulator):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
    with pytest.raises(PromotionFailedError):
        second.promote()
    zombie = releases.production()

    run("run-3", shift=2).plan(has_ended=lambda dag_id, run_id: True)
    assert releases.production().etag != zombie.etag
    assert releases.production().tags[HOLDER_TAG].startswith("run-3")


def test_an_approval_refused_after_a_rollback_is_no_promotion(releases, run, champion):
    run("run-2", shift=1).release_fully()
    first = run("run-1")
    first.plan()
    with pytest.raises(ApprovalError, match="an approval counts once"):
        first.promote()
    first.close()

    assert releases.ledger.book().releases["run-1"].outcome == "failed"
    assert releases.current()["version"] == 2


def test_housekeeping_settles_a_switch_that_nobody_ends(releases, switching, emulator):
    finish(releases, lambda: housekeeping.advance(releases, has_ended=lambda dag_id, run_id: True))

    assert served(releases) == releases.ledger.book().production.version == 1
    assert releases.deployments_of(Role.TEST) == [] or all(
        d.lifecycle_state == "DELETED" for d in releases.deployments_of(Role.TEST)
    )


class Held:
    """A call to OCI that a slow worker has prepared and not sent: what comes after it believes that worker dead."""

    def __init__(self, releases, name, monkeypatch):
        self._send, self.arguments = getattr(releases.deployments, name), None
        self._patch = monkeypatch
        monkeypatch.setattr(releases.deployments, name, self._hold)

    def _hold(self, *arguments):
        self.arguments = arguments
        self._patch.undo()
        raise CloudUnavailableError("the worker is slow")

    def send(self):
        return self._send(*self.arguments)


CLOSERS = {
    "its own teardown": lambda run, releases: run("run-2").close(),
    "housekeeping": lambda run, releases: finish(
        releases, lambda: housekeeping.advance(releases, has_ended=lambda dag_id, run_id: True)
    ),
    "another release": lambda run, releases: run("run-3").plan(has_ended=lambda dag_id, run_id: True),
    "its own plan": lambda run, releases: run("run-2").plan(),
}


@pytest.mark.parametrize("closer", CLOSERS)
def test_a_switch_still_on_its_way_to_oci_when_its_release_is_closed_is_refused(
    releases, run, champion, monkeypatch, closer
):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    held = Held(releases, "switch_model", monkeypatch)
    with pytest.raises(CloudUnavailableError, match="slow"):
        second.promote()
    CLOSERS[closer](run, releases)

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    assert served(releases) == releases.ledger.book().production.version == 1


def test_a_rollback_still_on_its_way_to_oci_when_it_is_closed_is_refused(releases, run, champion, monkeypatch):
    run("run-2", shift=1).release_fully()
    back = run("back")
    back.rehearse_rollback()
    held = Held(releases, "switch_model", monkeypatch)
    with pytest.raises(CloudUnavailableError, match="slow"):
        back.switch_back()
    back.close()

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    assert served(releases) == releases.ledger.book().production.version == 2


@pytest.mark.parametrize("cleaner", ["housekeeping", "the next release"])
def test_a_first_production_that_oci_makes_after_its_release_was_closed_is_deleted(
    releases, run, emulator, monkeypatch, cleaner
):
    first = run("run-1", skip_test_deployment=True)
    first.validate()
    first.answer(Decision.PROMOTE)
    held = Held(releases, "create", monkeypatch)
    with pytest.raises(CloudUnavailableError, match="slow"):
        first.promote()
    first.close()
    held.send()
    emulator.wait_until_idle()
    assert living(releases) == ["product-recommender-production"]

    if cleaner == "housekeeping":
        finish(releases, lambda: housekeeping.advance(releases, has_ended=lambda dag_id, run_id: False))
    else:
        run("run-2").plan()
    assert living(releases) == []


def test_production_that_serves_is_never_taken_for_a_leftover(releases, run, champion):
    book = releases.ledger.book()
    finish(releases, lambda: housekeeping.advance(releases, has_ended=lambda dag_id, run_id: False))

    assert [d.deployment_id for d in releases.deployments_of(Role.PRODUCTION)] == [book.production.deployment_id]
    assert served(releases) == 1


def test_a_way_back_that_oci_refuses_calls_for_a_person(releases, run, champion, emulator):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    emulator.fail_next("UpdateModelDeployment", kind="old_still_serves")
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="InvalidParameter", after=1)

    with pytest.raises(PromotionFailedError, match=r"^PRODUCTION NEEDS A PERSON(?s:.)*OCI refused to switch"):
        second.promote()
    assert releases.ledger.book().releases["run-2"].open_switch is not None

    second.close()
    assert served(releases) == 1


def test_a_rollback_takes_over_from_a_run_that_died_while_it_switched_production(releases, run, champion, emulator):
    run("run-2", shift=1).release_fully()
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    promote.advance(releases, "run-3")
    emulator.wait_until_idle()
    assert served(releases) == 3

    assert run("back").roll_back(has_ended=lambda dag_id, run_id: True)["version"] == 1
    assert served(releases) == releases.ledger.book().production.version == 1


def test_a_fence_that_oci_refuses_does_not_keep_the_champion_from_being_settled(
    releases, run, champion, emulator, monkeypatch, caplog
):
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    Held(releases, "switch_model", monkeypatch)
    with pytest.raises(CloudUnavailableError, match="slow"):
        second.promote()
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="LimitExceeded")
    second.close()

    assert "etag could not be changed" in caplog.text
    assert served(releases) == releases.ledger.book().production.version == 1
    assert releases.ledger.book().holder is None
