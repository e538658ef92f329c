"""Two kernels, interrupted cells, and who may go on with a release or approve it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from steps.cells import Cells, newest_release
from steps.factories import event_types, living

from recdeploy_ops.deployment_manager import CellOrderError
from recdeploy_ops.domain.errors import LockHeldError, PromotionFailedError, SelfApprovalError, SettingsError
from recdeploy_ops.domain.events import ApprovalAnswered
from recdeploy_ops.domain.records import Role
from recdeploy_ops.rollout.locks import lease_end
from recdeploy_ops.steps import promote


class TestTwoSessions:
    def test_one_of_two_that_begin_at_once_goes_on_and_the_other_learns_who_holds_the_lock(self, make_manager):
        def begin(manager):
            try:
                return manager.backup_current_artifacts()
            except LockHeldError as err:
                return str(err)

        managers = [make_manager("kernel-1"), make_manager("kernel-2")]
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(begin, managers))

        [refused] = [result for result in results if result is not None]
        assert f"run {managers[0].context.ledger.read().holder}" in refused

    def test_the_second_is_told_who_holds_the_lock(self, manager, make_manager):
        manager.backup_current_artifacts()
        second = make_manager("kernel-2")

        with pytest.raises(LockHeldError, match=r"run notebook-.*resume_release\(\).*abandon_release\(\)"):
            second.backup_current_artifacts()
        with pytest.raises(CellOrderError, match=r"no test deployment: .*resume_release\(\)"):
            second.promote_to_production()

    def test_a_manager_made_again_in_the_same_kernel_goes_on(self, make_manager, cells):
        cells.until_test()

        assert make_manager().promote_to_production(cells.test.model_deployment_id)["version"] == 1

    def test_a_new_kernel_resumes_the_release_of_one_that_ended(self, make_manager, cells):
        cells.until_test()
        second = make_manager("kernel-2")

        assert "continues v1" in second.resume_release()
        assert second.promote_to_production()["version"] == 1

    def test_an_abandoned_release_is_closed_and_its_kernel_may_not_go_on(self, manager, make_manager, cells, tmp_path):
        cells.release()
        first = Cells(manager, tmp_path, shift=1)
        first.until_test()
        second = make_manager("kernel-2")

        assert "is closed" in second.abandon_release()

        assert living(manager.context, Role.TEST) == []
        with pytest.raises(CellOrderError, match=r"no test deployment: the release v2 of this session is closed"):
            manager.promote_to_production(first.test.model_deployment_id)
        assert Cells(second, tmp_path, shift=2).release()["version"] == 3

    def test_an_abandoned_release_that_cannot_be_restored_says_what_to_do_in_a_notebook(
        self, manager, make_manager, cells, tmp_path, emulator
    ):
        cells.release()
        first = Cells(manager, tmp_path, shift=1)
        first.until_test()
        manager.validate_test()
        emulator.fail_next("Predict", status=500, times=None)
        with pytest.raises(PromotionFailedError):
            manager.promote_to_production(first.test.model_deployment_id)

        with pytest.raises(PromotionFailedError, match=r"^PRODUCTION NEEDS A PERSON") as failed:
            make_manager("kernel-2").abandon_release()
        assert "run this cell again" in str(failed.value)
        assert "task" not in str(failed.value)

    def test_nobody_takes_the_release_of_another_person(self, manager, make_manager, monkeypatch):
        manager.backup_current_artifacts()
        monkeypatch.setenv("LOGNAME", "somebody-else")
        second = make_manager("kernel-2")

        for method in (second.abandon_release, second.resume_release):
            with pytest.raises(CellOrderError, match="is not yours"):
                method()
        with pytest.raises(LockHeldError) as refused:
            second.backup_current_artifacts()
        assert "That release is your own" not in str(refused.value)
        assert str(refused.value).endswith("then run this cell again.")

    def test_a_second_person_approves_by_naming_the_test_deployment(
        self, manager, make_manager, cells, settings, monkeypatch
    ):
        monkeypatch.setitem(settings.release.__dict__, "self_approval", False)
        cells.until_test()
        with pytest.raises(SelfApprovalError, match=r"Let another person run manager\.promote_to_production\('ocid1"):
            manager.promote_to_production()
        monkeypatch.setenv("LOGNAME", "second")
        second = make_manager("kernel-2")
        with pytest.raises(SelfApprovalError, match=r"second .* may not approve it"):
            second.promote_to_production(cells.test.model_deployment_id)
        second._session.caller = "second (ocid1.user.oc1..second)"

        assert second.promote_to_production(cells.test.model_deployment_id)["version"] == 1

        [release] = manager.context.ledger.read().releases.values()
        assert release.require(ApprovalAnswered).by.startswith("second")

    def test_a_kernel_that_is_gone_cannot_keep_the_lock_for_ever(self, manager, make_manager, monkeypatch, settings):
        manager.backup_current_artifacts()
        monkeypatch.setenv("LOGNAME", "somebody-else")
        second = make_manager("kernel-2")
        end = lease_end(manager._session.own(), settings)
        second._session._context = replace(second.context, now=lambda: end - timedelta(minutes=1))
        with pytest.raises(LockHeldError):
            second.backup_current_artifacts()
        second._session._context = replace(second.context, now=lambda: end)

        second.backup_current_artifacts()

        state = manager.context.ledger.read()
        assert [release.outcome for release in state.releases.values()] == ["failed", None]

    def test_a_run_of_airflow_counts_as_in_progress(self, manager, run):
        run("scheduled__1").plan()

        with pytest.raises(LockHeldError, match="run scheduled__1"):
            manager.backup_current_artifacts()
        with pytest.raises(CellOrderError, match="recommender_retrain"):
            manager.abandon_release()

    def test_there_is_nothing_to_abandon_without_a_release(self, manager):
        with pytest.raises(CellOrderError, match="no release is in progress"):
            manager.abandon_release()

    def test_a_second_retraining_in_one_session_gets_a_new_number(self, manager, cells):
        cells.until_test()
        cells.shift = 1
        cells.train()
        with pytest.raises(SettingsError, match="makes v2, not v1"):
            cells.save()
        cells.version = manager.get_next_version()
        cells.save()
        cells.deploy()

        assert manager.promote_to_production(cells.test.model_deployment_id)["version"] == 2
        assert len(living(manager.context)) == 1


@pytest.fixture
def interrupted(manager, cells, tmp_path, monkeypatch):
    """The cells of a second release whose promotion was interrupted after it had requested the switch from OCI."""
    cells.release()
    second = Cells(manager, tmp_path, shift=1)
    second.until_test()
    advance = promote.advance

    def advance_and_stop(context):
        advance(context)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(promote, "advance", advance_and_stop)
        with pytest.raises(KeyboardInterrupt):
            manager.promote_to_production()
    return second


def test_a_promotion_that_was_interrupted_goes_on_and_no_other_cell_may_run(manager, interrupted):
    for cell in (manager.validate_test, manager.build_artifact, manager.backup_current_artifacts, interrupted.deploy):
        with pytest.raises(CellOrderError, match="run Cell 12 again"):
            cell()
    assert manager.promote_to_production()["version"] == 2
    assert event_types(manager.context, newest_release(manager).run_id).count("approval_answered") == 1


def test_rejecting_an_interrupted_promotion_restores_the_champion(manager, interrupted):
    manager.cleanup_test_deployment()

    [production] = living(manager.context)
    state = manager.context.ledger.read()
    assert (state.production.version, state.holder) == (1, None)
    assert production.model_id == state.production.model_id
