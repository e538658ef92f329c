"""The DAG as Airflow reads it: quickly, whole, and wired so that every failure is cleaned up."""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
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


@pytest.fixture
def dag(load_dag: Callable[..., Any], committed_settings: None) -> Any:
    return load_dag()


@pytest.fixture
def committed_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECDEPLOY_SETTINGS", raising=False)


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


def test_the_form_asks_for_what_the_manual_promises(dag: Any) -> None:
    assert set(dag.params) == {
        "top_k",
        "seed",
        "instance_shape",
        "ocpus",
        "memory_gb",
        "instance_count",
        "skip_test_deployment",
        "approval_timeout_hours",
        "accept_change",
    }
    assert all(dag.params.get_param(name).schema.get("title") for name in dag.params)
    assert dag.params["skip_test_deployment"] is False


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("top_k", [1, 1000], [0, 1001, "10", 1.5, None]),
        ("seed", [0, 2**32 - 1], [-1, 2**32, "42", None]),
        ("instance_shape", ["VM.Standard2.1", "BM.GPU4.8", None], ["", "Standard2.1", "VM.x y", "VM.x\n"]),
        ("ocpus", [0.5, 114, None], [0, -1, 115, "1"]),
        ("memory_gb", [1, 1760, None], [0, 1761, "16"]),
        ("instance_count", [1, 100, None], [0, 101, 1.5]),
        ("skip_test_deployment", [True, False], ["yes", 1, None]),
        ("approval_timeout_hours", [0.01, 720], [0, -1, 721, "72", None]),
        ("accept_change", [None, "a new catalogue"], [1, True, "x" * 2001]),
    ],
)
def test_a_param_out_of_range_is_refused_with_its_name(dag: Any, name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert validated(dag, name, value) == value
    for value in bad:
        with pytest.raises(ParamValidationError, match=name):
            validated(dag, name, value)


@pytest.mark.parametrize("name", ["instance_shape", "ocpus", "memory_gb", "instance_count"])
def test_the_form_and_the_manual_say_when_production_is_resized(dag: Any, name: str) -> None:
    said = dag.params.get_param(name).schema["description_md"]

    assert "Empty: production keeps its size" in said
    assert "for production: the approver sees it" in said
    assert "which is resized after the switch" in dag.doc_md
    assert dag.params[name] is None


def test_a_rollback_goes_to_a_number_its_text_or_previous(
    load_dag: Callable[..., Any], committed_settings: None
) -> None:
    dag = load_dag("recommender_rollback")

    assert dag.params["version"] == "previous"
    for value in (1, 3, 12, "1", "12", "previous"):
        assert validated(dag, "version", value) == value
    for value in (0, -1, 1.5, True, None, "", "0", "03", "v3", "3 ", "3\n", "previous\n", "Previous", [3]):
        with pytest.raises(ParamValidationError, match="version"):
            validated(dag, "version", value)


def test_a_freeze_needs_a_reason(load_dag: Callable[..., Any], committed_settings: None) -> None:
    dag = load_dag("recommender_freeze")
    given = copy.deepcopy(dag.params)

    with pytest.raises(ParamValidationError, match="reason"):
        given.validate()
    given.update({"reason": "Black Friday"})
    assert given.validate() == {"freeze": True, "reason": "Black Friday"}
    for value in ("yes", 1, None):
        with pytest.raises(ParamValidationError, match="freeze"):
            validated(dag, "freeze", value)
    assert "**When it runs.**" in dag.doc_md
    assert "**When it fails.**" in dag.doc_md


def validated(dag: Any, name: str, value: Any) -> Any:
    params = copy.deepcopy(dag.params)
    params.update({name: value})
    return params.validate()[name]


def test_the_form_begins_with_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_dag: Callable[..., Any]
) -> None:
    values = _settings()
    values["schedule"] = None
    values["training"] |= {"top_k": 7, "seed": 8}
    values["serving"] |= {"instance_shape": "VM.Standard2.1", "ocpus": 3, "memory_gb": 48, "instance_count": 2}
    values["release"]["approval_timeout_hours"] = 5
    _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    dag = load_dag()

    assert dag.schedule is None
    assert dict(dag.params) == {
        "top_k": 7,
        "seed": 8,
        "instance_shape": "VM.Standard2.1",
        "ocpus": 3,
        "memory_gb": 48,
        "instance_count": 2,
        "skip_test_deployment": False,
        "approval_timeout_hours": 5,
        "accept_change": None,
    }


@pytest.mark.parametrize("approve", [False, True])
def test_whether_a_rollback_asks_may_be_settled_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_dag: Callable[..., Any], approve: bool
) -> None:
    values = _settings()
    values["release"]["approve_rollbacks"] = approve
    _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    dag = load_dag("recommender_rollback")

    assert dag.params["require_approval"] is approve
    assert validated(dag, "require_approval", True) is True
    if approve:
        with pytest.raises(ParamValidationError, match="require_approval"):
            validated(dag, "require_approval", False)
    else:
        assert validated(dag, "require_approval", False) is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["training"].update(top_k=0), "training.top_k"),
        (lambda values: values["training"].update(topk=10), "training.topk is not a setting"),
        (lambda values: values.pop("project_name"), "project_name"),
        (lambda values: values.update(storage="s3://bucket/x"), "neither file:///folder nor oci://"),
        (lambda values: values["serving"]["conda_environment"].pop("path"), "serving.conda_environment.path"),
    ],
)
def test_a_wrong_setting_is_named_where_airflow_shows_import_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    values = _settings()
    change(values)
    file = _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    error = _import_error()

    assert "SettingsError" in error
    assert str(file) in error
    assert said in error


@pytest.mark.parametrize(("text", "said"), [("a: [", "is not valid YAML"), ("- a", "must be a mapping")])
def test_a_settings_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    file = _use(tmp_path, monkeypatch, text)

    assert f"{file} {said}" in _import_error()


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(tmp_path / "none.yaml"))

    assert f"Cannot read the settings file {tmp_path / 'none.yaml'}: No such file" in _import_error()


def _settings() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))
    return values


def _use(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    file = folder / "recommender.yaml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(file))
    return file


def _import_error() -> str:
    from airflow.dag_processing.dagbag import DagBag

    file = ROOT / "dags" / "recommender_retrain.py"
    bag = DagBag(dag_folder=file, bundle_path=ROOT / "dags", bundle_name="x")
    assert not bag.dags
    [error] = bag.import_errors.values()
    return str(error)
