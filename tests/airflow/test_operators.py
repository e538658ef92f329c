"""The operators of the steps: what they pass on, how they wait, and which errors Airflow tries again."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_operators import ANSWERED_AT, DEADLINE, ERRORS, RELEASE, STEPS, context_of, operator_of, step, with_hook

from recdeploy_ops.domain import errors
from recdeploy_ops.domain.records import Autoscaling
from recdeploy_ops.domain.sizes import SizeRequest
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.operators.release_steps import PATIENCE_SECONDS, failing_for_good
from recdeploy_ops.rollout import waits

pytestmark = pytest.mark.usefixtures("no_task_runner")


@pytest.mark.parametrize("task_id", STEPS)
def test_an_operator_takes_its_step_and_returns_its_summary(monkeypatch: pytest.MonkeyPatch, task_id: str) -> None:
    calls = step(monkeypatch, task_id, {"version": 3})

    assert operator_of(task_id).execute(context_of()) == {"version": 3}
    [(given, _)] = calls
    assert given is RELEASE


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a task would have slept."""
    seconds: list[float] = []
    monkeypatch.setattr(waits.time, "sleep", seconds.append)
    return seconds


def show(monkeypatch: pytest.MonkeyPatch, *looks: bool) -> None:
    """Set whether each look at the deployment shows that OCI has finished; the last holds for all that follow."""
    left = list(looks)
    monkeypatch.setattr(waits, "is_finished", lambda deployments, ocid: left.pop(0) if len(left) > 1 else left[0])


def test_the_switch_of_promotions_knows_who_turns_it_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = step(monkeypatch, "freeze_promotions", {})
    operator_of("freeze_promotions").execute(context_of())

    [(_, arguments)] = calls
    assert arguments == {"freeze": True, "reason": None, "by": "ann", "asked_at": ANSWERED_AT}


@pytest.mark.parametrize("task_id", STEPS)
def test_an_operator_waits_without_a_worker(monkeypatch: pytest.MonkeyPatch, task_id: str, slept: list[float]) -> None:
    show(monkeypatch, False)
    step(monkeypatch, task_id, Waiting("ocid1.x", "it is CREATING", DEADLINE))

    with pytest.raises(TaskDeferred) as deferred:
        operator_of(task_id, settings_name="basket").execute(context_of())

    assert deferred.value.method_name == "resume"
    _, arguments = deferred.value.trigger.serialize()
    expected = {"deployment_id": "ocid1.x", "deadline": DEADLINE.isoformat(), "poll_seconds": 3}
    assert arguments == {**expected, "settings_name": "basket"}


def test_a_short_wait_takes_place_in_the_same_process(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> None:
    show(monkeypatch, False, True)
    outcomes = iter([Waiting("ocid1.x", "it is UPDATING", DEADLINE), {"url": "u"}])
    monkeypatch.setattr("recdeploy_ops.steps.deploy_test.advance", lambda _: next(outcomes))

    assert operator_of("deploy_test").execute(context_of()) == {"url": "u"}
    assert len(slept) == 2


@pytest.mark.parametrize("finished", [False, True], ids=["it takes long", "OCI does not show it yet"])
def test_a_task_holds_its_worker_no_longer_than_its_patience(
    monkeypatch: pytest.MonkeyPatch, slept: list[float], finished: bool
) -> None:
    show(monkeypatch, finished)
    calls = step(monkeypatch, "deploy_test", Waiting("ocid1.x", "it is UPDATING", DEADLINE))

    with pytest.raises(TaskDeferred):
        operator_of("deploy_test").execute(context_of())

    assert 0 < sum(slept) <= PATIENCE_SECONDS
    # The step is taken again after each look that shows nothing in progress; else once more when patience has ended.
    assert len(calls) == (len(slept) + 1 if finished else 2)


@pytest.mark.parametrize("task_id", ["plan_release", "plan_rollback"])
def test_a_plan_knows_the_requester(monkeypatch: pytest.MonkeyPatch, task_id: str) -> None:
    calls = step(monkeypatch, task_id, {})

    operator_of(task_id).execute(context_of())

    opening = calls[0][1]["opening"]
    assert (opening.triggered_by, opening.dag_id) == ("ann", "recommender_retrain")
    assert opening.params.approval_timeout_hours == 0.5


def test_a_plan_gets_the_autoscaling_of_the_settings_which_no_form_has(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = step(monkeypatch, "plan_release", {})
    policy = Autoscaling(2, 6, 2, "CPU_UTILIZATION", 30, 70, 600)
    serving = SimpleNamespace(size=SizeRequest(autoscaling=policy))
    settings = SimpleNamespace(release=RELEASE.settings.release, serving=serving)
    context = context_of()
    context["params"] |= {"instance_count": None, "autoscaling": "a text of a trigger"}

    with_hook(STEPS["plan_release"](task_id="plan_release"), SimpleNamespace(settings=settings)).execute(context)

    assert calls[0][1]["opening"].params.size.autoscaling == policy


def test_a_resumed_operator_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = step(monkeypatch, "deploy_test", {"url": "u"})

    assert operator_of("deploy_test").resume(context_of(), {"deployment_id": "ocid1.x"}) == {"url": "u"}
    assert len(calls) == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_only_an_error_that_may_pass_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: type[errors.RecdeployError]
) -> None:
    raised = error.__new__(error, "what, which, and what now")
    step(monkeypatch, "deploy_test", raised)

    with pytest.raises(Exception, match=r"^what, which, and what now$") as seen:
        operator_of("deploy_test").execute(context_of())

    is_final = isinstance(seen.value, AirflowFailException)
    assert is_final is not issubclass(error, errors.TransientError)
    assert (seen.value.__cause__ if is_final else seen.value) is raised


def test_a_defect_is_left_to_airflow() -> None:
    with pytest.raises(ZeroDivisionError), failing_for_good():
        _ = 1 / 0


@pytest.mark.parametrize("task_id", ["plan_release", "plan_rollback"])
def test_invalid_params_of_a_trigger_are_refused_by_name(task_id: str) -> None:
    context = context_of()
    context["params"] |= {"top_k": "ten", "require_approval": "yes"}

    with pytest.raises(AirflowFailException, match=r"(top_k is 'ten'|require_approval is 'yes').*Trigger it again"):
        operator_of(task_id).execute(context)


@pytest.mark.parametrize(
    ("run_type", "raised"), [("scheduled", AirflowSkipException), ("manual", AirflowFailException)]
)
def test_while_another_release_holds_the_lock_a_scheduled_run_is_skipped_and_another_one_fails(
    monkeypatch: pytest.MonkeyPatch, run_type: str, raised: type[Exception]
) -> None:
    step(monkeypatch, "plan_release", errors.LockHeldError("Release v2 (run r) has held the release lock."))
    context = context_of()
    context["dag_run"].run_type = run_type

    with pytest.raises(raised, match=r"Release v2 \(run r\) has held the release lock."):
        operator_of("plan_release").execute(context)


def test_a_scheduled_run_fails_for_every_other_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    step(monkeypatch, "plan_release", errors.SettingsError("The shape does not exist."))
    context = context_of()
    context["dag_run"].run_type = "scheduled"

    with pytest.raises(AirflowFailException, match=r"The shape does not exist\."):
        operator_of("plan_release").execute(context)


def test_the_outcome_is_compared_with_the_states_of_the_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = step(monkeypatch, "confirm_outcome", {"outcome": "promoted"})

    operator_of("confirm_outcome").execute(context_of())

    assert [kwargs for *_, kwargs in calls] == [{"states": {"promote": "success"}}]


def test_a_rollback_without_an_approval_is_refused_where_the_settings_demand_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = step(monkeypatch, "plan_rollback", {"version": 1})
    demanding = SimpleNamespace(**{**vars(RELEASE.settings.release), "approve_rollbacks": True})
    monkeypatch.setattr(RELEASE.settings, "release", demanding)

    with pytest.raises(AirflowFailException, match=r"ask nobody.*\(setting release.approve_rollbacks\)"):
        operator_of("plan_rollback").execute(context_of())
    asking = context_of()
    asking["params"]["require_approval"] = True
    operator_of("plan_rollback").execute(asking)

    assert len(calls) == 1


@pytest.mark.parametrize("conn_type", ["oci", "generic"])
def test_the_connection_to_oci_may_be_of_a_type_that_airflows_form_has(
    conn_type: str, surroundings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": conn_type, "extra": surroundings.oci}
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps(connection))

    profile = OciHook().session.profile

    assert profile.compartment_id == surroundings.oci["compartment_id"]
    assert profile.project_id == surroundings.oci["project_id"]
    assert list(OciHook().session.data_science.list_projects(profile.compartment_id).data)
