"""The DAG as Airflow reads it: quickly, whole, and wired so that every failure is cleaned up."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.timezone import utcnow
from airflow.serialization.serialized_objects import DagSerialization

from recdeploy_ops.domain.events import EVENTS
from recdeploy_ops.operators.approvals import RequestApprovalOperator
from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = ["oci", "ads", "pandas", "pyarrow", "numpy", "surprise", "oracledb"]
STEPS = [
    "plan_release",
    "backup_production",
    "extract",
    "check_data",
    "run_ads_operator",
    "build_artifact",
    "check_candidate",
    "evaluate_candidate",
    "register_model",
    "deploy_test",
    "validate_test",
    "request_approval",
]
ENDS = ["promote", "bake", "reject", "close_release", "confirm_outcome"]

# Reads one DAG file after another. Airflow's own imports do not count. Processor time, as the machine may be busy.
PARSE = """
import json, runpy, sys, time
from airflow.dag_processing.dagbag import DagBag
parsed = {}
for file in sys.argv[1:]:
    before, started = set(sys.modules), time.process_time()
    runpy.run_path(file)
    parsed[file] = {"seconds": time.process_time() - started, "modules": sorted(set(sys.modules) - before)}
print(json.dumps(parsed))
"""
# A step that only moves files and sends requests to OCI needs none of the packages that read tables.
LIGHT = ["plan_release", "backup_production", "register_model", "deploy_test", "request_approval", "promote", "reject"]
LIGHT += [
    "close_release",
    "confirm_outcome",
    "plan_rollback",
    "rehearse_rollback",
    "roll_back",
    "housekeeping",
    "freeze_promotions",
]
IMPORT = """
import importlib, json, sys
imported = {}
for step in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module("recdeploy_ops.steps." + step)
    imported[step] = sorted(set(sys.modules) - before)
print(json.dumps(imported))
"""


def run_python(program: str, *arguments: str) -> Any:
    """Run a program in a process of its own, with the committed settings; returns the JSON that it prints last."""
    environment = {name: value for name, value in os.environ.items() if name != "RECDEPLOY_SETTINGS"}
    environment["PYTHONPATH"] = str(ROOT / "plugins")
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def heavy_among(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


def test_each_dag_file_is_read_in_less_than_a_second_and_imports_nothing_heavy() -> None:
    parsed = run_python(PARSE, *map(str, DAG_FILES))

    assert len(parsed) == len(DAG_FILES) > 1
    assert {file: found["seconds"] for file, found in parsed.items() if found["seconds"] >= 1} == {}
    assert {file: heavy for file, found in parsed.items() if (heavy := heavy_among(found["modules"]))} == {}


def test_a_step_that_reads_no_table_imports_nothing_heavy() -> None:
    imported = run_python(IMPORT, *LIGHT)

    assert list(imported) == LIGHT
    assert {step: heavy for step, modules in imported.items() if (heavy := heavy_among(modules))} == {}


def test_every_dag_file_is_named_after_its_dag(committed_settings: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=ROOT / "dags", bundle_path=ROOT / "dags", bundle_name="x")

    assert bag.import_errors == {}
    assert set(bag.dags) == {file.stem for file in DAG_FILES}


def test_it_runs_weekly_without_catchup(dag: Any) -> None:
    assert dag.schedule == "0 3 * * 1"
    assert dag.catchup is False


@pytest.mark.parametrize("name", ["recommender_retrain", "recommender_rollback"])
def test_no_run_is_queued_behind_one_that_waits_for_an_approval(name: str, load_dag: Callable[..., Any]) -> None:
    assert load_dag(name).max_active_runs > 1  # the release lock lets one run work


def test_its_manual_says_when_it_runs_and_when_it_fails(dag: Any) -> None:
    assert "**When it runs.**" in dag.doc_md
    assert "**When it fails.**" in dag.doc_md
    assert dag.description


def test_its_steps_follow_each_other(dag: Any) -> None:
    assert sorted(dag.task_ids) == sorted([*STEPS, *ENDS])
    for before, after in itertools.pairwise(STEPS):
        assert dag.get_task(before).downstream_task_ids - {"close_release"} == {after}
    assert dag.get_task("request_approval").downstream_task_ids == {"promote", "reject"}
    assert dag.get_task("promote").downstream_task_ids == {"bake"}


def test_the_teardown_follows_both_branches_and_its_setup_is_the_plan(dag: Any) -> None:
    teardown = dag.get_task("close_release")

    assert teardown.is_teardown
    assert [task.task_id for task in dag.tasks if task.is_teardown] == ["close_release"]
    assert [task.task_id for task in dag.tasks if task.is_setup] == ["plan_release"]
    # Below the branch itself it would be skipped with the branch that is not taken.
    assert teardown.upstream_task_ids == {"bake", "reject", "plan_release"}
    # Airflow ignores the teardown's own state, and that of no other last task.
    assert teardown.downstream_task_ids == {"confirm_outcome"}
    assert dag.get_task("confirm_outcome").trigger_rule == "all_done"


@pytest.mark.parametrize("task", ["deploy_test", "request_approval", "promote"])
def test_clearing_a_task_with_its_downstream_opens_the_release_again_and_repeats_no_earlier_step(
    dag: Any, task: str
) -> None:
    """As errors tell people to do: Airflow clears the setup task too, and nothing else that comes before."""
    served = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the API server, which clears, has it
    cleared = served.partial_subset(task, include_downstream=True, include_upstream=False)

    before = set(STEPS[: STEPS.index(task)]) if task in STEPS else set(STEPS)
    assert set(cleared.task_ids) & before == {"plan_release"}
    assert {task, "close_release", "confirm_outcome"} <= set(cleared.task_ids)


@pytest.mark.usefixtures("airflow_database", "no_pauses")
@pytest.mark.parametrize(
    ("failing", "answer", "state"),
    [
        *((step, "Promote", "failed") for step in ("backup_production", "extract", "validate_test", "promote", "bake")),
        ("reject", "Reject", "failed"),
        # The decision stands: see the manual.
        ("close_release", "Promote", "success"),
        ("close_release", "Reject", "success"),
        (None, "Promote", "success"),
        (None, "Reject", "success"),
    ],
)
def test_a_run_fails_with_each_of_its_steps_though_its_teardown_succeeds(
    dag: Any, monkeypatch: pytest.MonkeyPatch, failing: str | None, answer: str, state: str
) -> None:
    def execute(self: Any, context: Any) -> dict[str, Any]:
        if self.task_id == failing:
            raise AirflowFailException("it fails in this test")
        return {}

    event = {"chosen_options": [answer], "params_input": {}, "responded_at": utcnow(), "responded_by_user": None}
    answered = {**event, "timedout": False}
    monkeypatch.setattr(ReleaseStepOperator, "execute", execute)
    monkeypatch.setattr(
        RequestApprovalOperator,
        "execute",
        lambda self, context: HITLBranchOperator.execute_complete(self, context, answered),
    )
    for task in dag.tasks:
        task.retries = 0

    ended = dag.test()

    states = {task.task_id: task.state for task in ended.get_task_instances()}
    assert [name for name, ended_as in states.items() if ended_as == "failed"] == [failing][: failing is not None]
    assert states["close_release"] == ("failed" if failing == "close_release" else "success")
    assert ended.state == state


def test_each_answer_leads_to_its_branch(dag: Any) -> None:
    approval = dag.get_task("request_approval")

    assert approval.options == ["Promote", "Reject"]
    assert approval.options_mapping == {"Promote": "promote", "Reject": "reject"}
    assert approval.defaults == ["Reject"]


@pytest.mark.parametrize("task_id", [*STEPS, *ENDS])
def test_every_task_is_tried_again_and_describes_itself(dag: Any, task_id: str) -> None:
    task = dag.get_task(task_id)

    # Airflow 3.3.2 loses a task that resumes too early: without a retry the release is lost with it.
    assert task.retries >= 1
    assert task.retry_delay.total_seconds() > 0
    assert type(task).__module__.startswith("recdeploy_ops.operators.")
    assert "__doc__" in vars(type(task))
    first_line = type(task).__doc__.splitlines()[0]
    assert first_line.endswith(".")
    assert not type(task).__doc__.startswith(("This", "Operator"))


def test_every_task_that_an_error_tells_to_clear_exists(dag: Any) -> None:
    tasks = {event.task for event in EVENTS.values()}
    others = {"rehearse_rollback", "roll_back", "adopt_production", "freeze_promotions"}  # of the other DAGs
    assert tasks - others <= set(dag.task_ids)
