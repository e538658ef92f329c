"""Operators outside of Airflow's task runner, on a release that is made up."""

from __future__ import annotations

import importlib
import inspect
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain import errors
from recdeploy_ops.domain.sizes import NO_REQUEST
from recdeploy_ops.operators import releases, upkeep

if TYPE_CHECKING:
    import pytest


STEPS = {
    "plan_release": releases.PlanReleaseOperator,
    "backup_production": releases.BackupProductionOperator,
    "extract": releases.ExtractTablesOperator,
    "check_data": releases.CheckDataOperator,
    "run_ads_operator": releases.RunAdsOperatorOperator,
    "build_artifact": releases.BuildArtifactOperator,
    "check_candidate": releases.CheckCandidateOperator,
    "evaluate_candidate": releases.EvaluateCandidateOperator,
    "register_model": releases.RegisterModelOperator,
    "deploy_test": releases.DeployTestOperator,
    "validate_test": releases.ValidateTestOperator,
    "promote": releases.PromoteReleaseOperator,
    "bake": releases.BakeReleaseOperator,
    "monitor": upkeep.MonitorOperator,
    "reject": releases.RejectReleaseOperator,
    "close_release": releases.CloseReleaseOperator,
    "confirm_outcome": releases.ConfirmOutcomeOperator,
    "plan_rollback": releases.PlanRollbackOperator,
    "rehearse_rollback": releases.RehearseRollbackOperator,
    "roll_back": releases.RollBackOperator,
    "adopt_production": upkeep.AdoptProductionOperator,
    "housekeeping": upkeep.HousekeepingOperator,
    "freeze_promotions": upkeep.FreezePromotionsOperator,
}
ERRORS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.RecdeployError) and found is not errors.RecdeployError
]
DEADLINE = datetime(2026, 11, 23, 12, tzinfo=UTC)
RELEASE = SimpleNamespace(
    settings=SimpleNamespace(
        release=SimpleNamespace(poll_seconds=3, approve_rollbacks=False), serving=SimpleNamespace(size=NO_REQUEST)
    ),
    now=lambda: DEADLINE - timedelta(hours=1),
    deployments="the deployments",
    state=SimpleNamespace(production=None),
)
RETRAIN_PARAMS = {
    "top_k": 3,
    "seed": 1,
    "instance_shape": "VM.Standard.E4.Flex",
    "ocpus": 1,
    "memory_gb": 16,
    "instance_count": 1,
    "skip_test_deployment": False,
}
ROLLBACK_PARAMS = {"version": "previous", "reason": None, "require_approval": False}
ANSWERED_AT = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)


class Pushed:
    """A task instance that keeps the values pushed to it."""

    def __init__(self, try_number: int = 1) -> None:
        self.try_number, self.max_tries = try_number, 2
        self.xcoms: dict[str, Any] = {}
        self.dag_id, self.task_id, self.run_id, self.map_index = "recommender_retrain", "request_approval", "run-1", -1

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_task_states(self, dag_id: str, *, run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {run_id: {"promote": "success", "confirm_outcome": "running"} for run_id in run_ids}


def instance(**attributes: Any) -> SimpleNamespace:
    """Return the first of three tries of a task instance."""
    return SimpleNamespace(try_number=1, max_tries=2, **attributes)


def operator_of(task_id: str, **arguments: Any) -> Any:
    operator = STEPS[task_id](task_id=task_id, **arguments)
    return with_hook(operator, RELEASE)


def with_hook(operator: Any, release: Any) -> Any:
    """Give an operator a hook whose context for every run is this one."""
    operator.__dict__["hook"] = SimpleNamespace(context=lambda run_id, tries=None: release, source=lambda: "the source")
    return operator


def context_of(task_instance: Any = None) -> Any:
    return {
        "run_id": "run-1",
        "params": {
            **RETRAIN_PARAMS,
            **ROLLBACK_PARAMS,
            "approval_timeout_hours": 0.5,
            "deployment_id": None,
            "apply": False,
            "freeze": True,
        },
        "ti": task_instance or Pushed(),
        "dag_run": SimpleNamespace(dag_id="recommender_retrain", triggering_user_name="ann", run_after=ANSWERED_AT),
    }


def step(monkeypatch: pytest.MonkeyPatch, task_id: str, outcome: Any) -> list[tuple[Any, ...]]:
    """Replace a step; returns its calls."""
    calls: list[tuple[Any, ...]] = []

    def advance(*args: Any, **kwargs: Any) -> Any:
        calls.append((*args, kwargs))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(importlib.import_module(f"recdeploy_ops.steps.{task_id}"), "advance", advance)
    return calls
