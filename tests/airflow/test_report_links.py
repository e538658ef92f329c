"""The button *Report*: on which tasks' pages it is, when it opens something, and where it leads."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.types import TaskInstanceKey
from airflow.serialization.serialized_objects import DagSerialization

from recdeploy_ops.domain.errors import GateFailedError, LockHeldError, MissingInputError, StorageUnavailableError
from recdeploy_ops.domain.gates.verdicts import GateReport
from recdeploy_ops.operators.report_links import ReportLink, find_report

if TYPE_CHECKING:
    from collections.abc import Callable

GATES = ["check_data", "check_candidate", "evaluate_candidate", "validate_test"]
WITH_REPORT = {*GATES, "request_approval"}
RUN = "manual__2026-11-29T05:30:00+00:00"
QUOTED = "manual__2026-11-29T05%3A30%3A00%2B00%3A00"
KEY = TaskInstanceKey("recommender_retrain", "check_data", RUN)
CONTEXT: Any = {"run_id": RUN, "params": {}}


class Release:
    """What a gate's step gets."""


@pytest.fixture(autouse=True)
def airflow_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")


@pytest.fixture
def gate(request: pytest.FixtureRequest, load_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A gate's task of the DAG, which looks for neither settings nor OCI."""
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    task = load_dag().get_task(request.param)
    monkeypatch.setattr(type(task), "hook", property(lambda self: Hook()))
    monkeypatch.setattr(type(task), "_tries", lambda self, context: None)
    return task


class Hook:
    def context(self, run_id: str, tries: object) -> Release:
        return Release()


def let_step(monkeypatch: pytest.MonkeyPatch, task_id: str, outcome: Exception | None) -> None:
    """Let a gate's step raise an error, or pass."""

    def advance(*_: object, **__: object) -> dict[str, object]:
        if outcome:
            raise outcome
        return {}

    monkeypatch.setattr(importlib.import_module(f"recdeploy_ops.steps.{task_id}"), "advance", advance)


def test_the_approval_and_the_gates_have_the_button_and_no_other_task(load_dag: Callable[..., Any]) -> None:
    dag = load_dag()
    linked = {task.task_id for task in dag.tasks if any(link.name == "Report" for link in task.operator_extra_links)}
    assert linked == WITH_REPORT

    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert {task.task_id for task in stored.tasks if "Report" in task.extra_links} == WITH_REPORT


@pytest.mark.parametrize("gate", GATES, indirect=True)
def test_a_gate_that_said_fail_opens_the_report(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    let_step(monkeypatch, gate.task_id, GateFailedError(GateReport(())))

    with pytest.raises(AirflowFailException):
        gate.execute(CONTEXT)

    expected = f"https://airflow.example/team/recdeploy/report/recommender_retrain/{QUOTED}"
    assert ReportLink().get_link(gate, ti_key=KEY) == expected


@pytest.mark.parametrize("gate", GATES, indirect=True)
@pytest.mark.parametrize(
    "outcome",
    [None, MissingInputError("no extract", task="extract"), LockHeldError("x"), StorageUnavailableError("x")],
    ids=["passed", "failed for another reason", "lost the lock", "will be tried again"],
)
def test_a_gate_without_a_report_has_no_button(
    gate: Any, outcome: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_step(monkeypatch, gate.task_id, outcome)
    with pytest.raises((type(outcome), AirflowException)) if outcome else nullcontext() as raised:
        gate.execute(CONTEXT)
    if outcome:
        assert outcome in {raised.value, raised.value.__cause__}
    assert ReportLink().get_link(gate, ti_key=KEY) == ""


def test_the_approval_always_opens_the_report(load_dag: Callable[..., Any]) -> None:
    address = ReportLink().get_link(load_dag().get_task("request_approval"), ti_key=KEY)

    assert address == find_report("recommender_retrain", RUN)


def test_where_airflow_does_not_know_its_address_the_browser_adds_it(
    load_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    address = ReportLink().get_link(load_dag().get_task("request_approval"), ti_key=KEY)

    assert find_report("recommender_retrain", RUN) is None
    assert address == f"recdeploy/report/recommender_retrain/{QUOTED}"
