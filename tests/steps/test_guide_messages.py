"""The messages of the guide's troubleshooting appear where the guide says, in Airflow's tasks and in the notebook."""

from __future__ import annotations

import pytest
from steps.cells import Cells
from steps.factories import lose_version

from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.rollout.production import find_own_deployments

pytestmark = pytest.mark.more


class AirflowSteps:
    """The operators' steps, up to where the guide's messages appear."""

    def __init__(self, run, context, emulator):
        self.run, self.context, self.emulator = run, context, emulator

    def first_backup(self):
        first = self.run("run-1")
        first.plan()
        first.back_up()

    def failing_test(self):
        first = self.run("run-1")
        first.register()
        self.emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Failed to pull the image")
        first.test()

    def promotion_without_test(self):
        first = self.run("run-1")
        first.register()
        first.promote()

    def promotion_whose_test_was_deleted(self):
        first = self.run("run-1")
        first.validate()
        first.answer(Decision.PROMOTE)
        [test] = find_own_deployments(first.context, Role.TEST)
        self.context.deployments.delete(test)
        self.emulator.wait_until_idle()
        first.promote()

    def rollback_into_nothing(self):
        self.run("run-1").release_fully()
        self.run("run-2", shift=1).release_fully()
        lose_version(self.context)
        self.run("back").roll_back()

    def silent_production(self):
        self.run("run-1").release_fully()
        second = self.run("run-2", shift=1)
        second.validate()
        second.answer(Decision.PROMOTE)
        self.emulator.fail_next("Predict", status=500, times=4)
        second.promote()

    def silent_rollback(self):
        self.run("run-1").release_fully()
        self.run("run-2", shift=1).release_fully()
        self.emulator.fail_next("Predict", status=500, times=4)
        self.run("back").roll_back()


class NotebookCells:
    """The cells, up to the same messages."""

    def __init__(self, manager, folder, emulator):
        self.manager, self.folder, self.emulator = manager, folder, emulator
        self.cells = Cells(manager, folder)

    def first_backup(self):
        self.manager.backup_current_artifacts(0)

    def failing_test(self):
        self.cells.until_saved()
        self.emulator.fail_next("CreateModelDeployment", kind="work_request_failed", message="Failed to pull the image")
        self.cells.deploy()

    def promotion_without_test(self):
        self.cells.until_saved()
        self.manager.promote_to_production()

    def rollback_into_nothing(self):
        self.cells.release()
        Cells(self.manager, self.folder, shift=1).release()
        lose_version(self.manager.context)
        self.manager.roll_back_production()

    def silent_production(self):
        self.cells.release()
        second = Cells(self.manager, self.folder, shift=1)
        second.until_test()
        self.manager.validate_test()
        self.emulator.fail_next("Predict", status=500, times=4)
        self.manager.promote_to_production()


@pytest.fixture
def airflow(run, context, emulator):
    return AirflowSteps(run, context, emulator)


@pytest.fixture
def notebook(manager, tmp_path, emulator):
    return NotebookCells(manager, tmp_path, emulator)


@pytest.mark.parametrize(
    ("message", "who", "what"),
    [
        ("No previous version to backup", "airflow", "first_backup"),
        ("No previous version to backup", "notebook", "first_backup"),
        ("Test deployment failed: The deployment ", "airflow", "failing_test"),
        ("Test deployment failed: The deployment ", "notebook", "failing_test"),
        ("Cannot promote to production - no test deployment: ", "airflow", "promotion_without_test"),
        ("Cannot promote to production - no test deployment: ", "airflow", "promotion_whose_test_was_deleted"),
        ("Cannot promote to production - no test deployment: ", "notebook", "promotion_without_test"),
        ("Rollback failed - backup not found: ", "airflow", "rollback_into_nothing"),
        ("Rollback failed - backup not found: ", "notebook", "rollback_into_nothing"),
        ("Production endpoint not responding after update: ", "airflow", "silent_production"),
        ("Production endpoint not responding after update: ", "airflow", "silent_rollback"),
        ("Production endpoint not responding after update: ", "notebook", "silent_production"),
    ],
)
def test_a_message_of_the_guide_appears_where_the_guide_says(request, caplog, message, who, what):
    caplog.set_level("INFO")
    act = getattr(request.getfixturevalue(who), what)

    try:
        act()
        said = caplog.text
    except RecdeployError as err:
        said = str(err)

    assert message in said
    assert message * 2 not in said
