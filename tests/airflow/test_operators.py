"""Operators: each takes its step, waits without a worker, and tells Airflow which errors are worth another try."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRuntimeError,
    AirflowSkipException,
    ErrorType,
    TaskDeferred,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from recdeploy_ops.approvals.answers import Answer
from recdeploy_ops.approvals.questions import Question
from recdeploy_ops.domain import errors
from recdeploy_ops.domain.events import OUTSIDE_AIRFLOW, ApprovalAnswered, Purpose, ReleaseOpened, StoredFile
from recdeploy_ops.domain.params import RetrainParams
from recdeploy_ops.domain.records import Autoscaling, Decision
from recdeploy_ops.domain.sizes import NO_REQUEST, SizeRequest
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.operators import approvals, releases, upkeep
from recdeploy_ops.operators.release_steps import PATIENCE_SECONDS, failing_for_good
from recdeploy_ops.rollout import waits
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.domain.ledger_state import LedgerState, Release

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


@pytest.fixture(autouse=True)
def no_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `execute` be called outside of Airflow's task runner."""
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


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


class Held:
    """A context in which run-0 has held the lock since ANSWERED_AT, with a clock."""

    def __init__(self, folder: Path, dag_id: str = "recommender_retrain") -> None:
        self.settings = load_settings()
        self.hours_later = 0.0
        self.ledger = Ledger(open_store(folder.as_uri(), None), self.settings.project_name, self.now)
        self.refresh = self.ledger.read
        params = RetrainParams(**RETRAIN_PARAMS, approval_timeout_hours=200)
        opened = ReleaseOpened(Purpose.RETRAIN, 1, dag_id, params, None, StoredFile("settings", "sha256"), None, 1)
        self.ledger.append("run-0", opened, guard=lambda state: None)

    @property
    def state(self) -> LedgerState:
        return self.ledger.state

    @property
    def holder(self) -> Release:
        return self.ledger.state.releases["run-0"]

    def now(self) -> datetime:
        return ANSWERED_AT + timedelta(hours=self.hours_later)


@pytest.fixture
def held(tmp_path: Path) -> Any:
    return Held(tmp_path)


@pytest.mark.parametrize(
    ("state", "ended"), [("success", True), ("failed", True), ("running", False), ("queued", False)]
)
def test_a_run_has_ended_when_airflow_says_so(held: Any, state: str, ended: bool) -> None:
    context = context_of(instance(get_dagrun_state=lambda dag_id, run_id: state))

    assert releases.has_ended(held, context, held.holder) is ended


def unknown(dag_id: str, run_id: str) -> str:
    raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))


def test_a_run_that_this_airflow_does_not_know_holds_the_lock_until_its_lease_is_over(held: Any) -> None:
    ask = partial(releases.has_ended, held, context_of(instance(get_dagrun_state=unknown)), held.holder)

    for held.hours_later in (0, 100, 227):  # it may wait 200 hours for its approval, and train for 4
        with pytest.raises(errors.LockHeldError, match=r"does not know that run(?s:.)*with ended_run = run-0"):
            ask()
    held.hours_later = 228
    assert ask()


@pytest.mark.parametrize("origin", sorted(OUTSIDE_AIRFLOW))
def test_a_release_outside_airflow_ends_with_the_same_lease_without_a_question_to_airflow(
    tmp_path: Path, origin: str
) -> None:
    held: Any = Held(tmp_path, origin)
    ask = partial(releases.has_ended, held, context_of(instance(get_dagrun_state=None)), held.holder)

    for held.hours_later, ended in ((0, False), (227, False), (228, True)):
        assert ask() is ended


def test_a_person_may_say_that_a_run_unknown_to_this_airflow_has_ended(held: Any) -> None:
    context = context_of(instance(get_dagrun_state=unknown))
    context["params"]["ended_run"] = "run-0"
    assert releases.has_ended(held, context, held.holder)

    context["params"]["ended_run"] = "run-00"
    with pytest.raises(errors.LockHeldError):
        releases.has_ended(held, context, held.holder)

    context["params"]["ended_run"] = "run-0"
    context["ti"] = instance(get_dagrun_state=lambda dag_id, run_id: "running")
    assert not releases.has_ended(held, context, held.holder)  # Airflow says that it has not


def test_housekeeping_leaves_a_run_that_this_airflow_does_not_know_alone(
    held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = step(monkeypatch, "housekeeping", {})
    operator = with_hook(upkeep.HousekeepingOperator(task_id="housekeeping"), held)

    operator.execute(context_of(instance(get_dagrun_state=unknown)))

    has_ended = calls[0][1]["has_ended"]
    assert has_ended(held.holder) is False
    held.hours_later = 228
    assert has_ended(held.holder) is True


@pytest.mark.parametrize(
    ("named", "said"),
    [("run-00", "which the ledger does not know: the run run-0 holds"), ("run-0", "is in progress in this Airflow")],
)
def test_housekeeping_fails_where_the_named_run_could_not_be_closed(
    held: Any, monkeypatch: pytest.MonkeyPatch, named: str, said: str
) -> None:
    step(monkeypatch, "housekeeping", {})
    operator = with_hook(upkeep.HousekeepingOperator(task_id="housekeeping"), held)
    context = context_of(instance(get_dagrun_state=lambda dag_id, run_id: "running"))
    context["params"]["ended_run"] = named

    with pytest.raises(AirflowFailException, match=said):
        operator.execute(context)


@pytest.mark.parametrize("detail", [None, {"status_code": 503}])
def test_airflow_not_answering_does_not_show_that_a_run_has_ended(held: Any, detail: dict[str, int] | None) -> None:
    def silent(dag_id: str, run_id: str) -> str:
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))

    with pytest.raises(AirflowRuntimeError):
        releases.has_ended(held, context_of(instance(get_dagrun_state=silent)), held.holder)


@pytest.fixture
def approval() -> Any:
    operator = approvals.RequestApprovalOperator(
        task_id="request_approval", promote_task_id="promote", reject_task_id="reject"
    )
    return with_hook(operator, "the release")


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int, str | None]]:
    """The questions that were asked: of which release, in which try, with which notice; each parks the task."""
    asked: list[tuple[Any, int, str | None]] = []

    def ask(given: Any, *, attempt: int, notice: str | None, link: str | None) -> Question:
        asked.append((given, attempt, notice))
        return Question("Promote v3?", "the evidence", 3, "d1")

    monkeypatch.setattr(approvals.request_approval, "ask", ask)
    monkeypatch.setattr(HITLBranchOperator, "execute", lambda self, context: "parked")
    return asked


def test_the_approval_shows_the_evidence_of_this_try_and_waits_as_long_as_the_run_says(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    monkeypatch.setattr(approval, "_link", lambda context: "http://link")

    assert approval.execute(context_of(Pushed(try_number=2))) == "parked"
    assert [(release, attempt) for release, attempt, _ in questions] == [("the release", 2)]
    assert (approval.subject, approval.body) == ("Promote v3?", "the evidence")
    assert approval.response_timeout == timedelta(minutes=30)


def test_the_approval_is_asked_where_airflow_does_not_know_its_own_address(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)

    assert approval.execute(context_of()) == "parked"


def test_the_requester_who_answers_is_asked_again_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, approval: Any, questions: list[Any]
) -> None:
    def record_answer(*_: Any, **__: Any) -> None:
        raise errors.SelfApprovalError("bo triggered this run and may not approve it")

    monkeypatch.setattr(approvals.request_approval, "record_answer", record_answer)

    assert approval.execute_complete(context_of(), event_of()) == "parked"
    assert [notice for _, _, notice in questions] == ["bo triggered this run and may not approve it"]


def event_of(**changes: Any) -> dict[str, Any]:
    event = {
        "chosen_options": ["Promote"],
        "params_input": {"comment": "ship it"},
        "responded_at": ANSWERED_AT,
        "responded_by_user": {"id": "7", "name": "ann"},
        "timedout": False,
    }
    return {**event, **changes}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Answer, int]]:
    answers: list[tuple[Answer, int]] = []

    def record_answer(given: Any, answer: Answer, *, attempt: int) -> ApprovalAnswered:
        answers.append((answer, attempt))
        asked = {"attempt": attempt, "version": 3, "digest": "d1", "fingerprint": "f1"}
        said = {"decision": answer.decision, "by": "ann", "at": answer.at, "comment": answer.comment}
        return ApprovalAnswered(**said, timed_out=answer.timed_out, **asked)

    monkeypatch.setattr(approvals.request_approval, "record_answer", record_answer)
    monkeypatch.setattr(HITLBranchOperator, "execute_complete", lambda self, context, event: "branched")
    return answers


def answer(decision: Decision = Decision.PROMOTE, **changes: Any) -> Answer:
    return replace(Answer(decision, "ann", ANSWERED_AT, "", timed_out=False), **changes)


ANSWERS = {
    "with a comment": (event_of(), answer(comment="ship it")),
    "with an empty comment": (
        event_of(chosen_options=["Reject"], params_input={"comment": None}),
        answer(Decision.REJECT),
    ),
    "without a form": (event_of(params_input=None), answer()),
    "by a user without a name": (
        event_of(responded_by_user={"id": "7", "name": ""}),
        answer(by="7", comment="ship it"),
    ),
    "by nobody in time": (
        event_of(chosen_options=["Reject"], params_input={}, responded_by_user=None, timedout=True),
        answer(Decision.REJECT, by=None, timed_out=True),
    ),
}


@pytest.mark.parametrize(("event", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_recorded_with_its_author_and_time(
    approval: Any, recorded: list[tuple[Answer, int]], event: dict[str, Any], answer: Answer
) -> None:
    task_instance = Pushed(try_number=2)

    assert approval.execute_complete(context_of(task_instance), event) == "branched"
    assert recorded == [(answer, 2)]
    [pushed] = task_instance.xcoms.values()
    assert json.loads(json.dumps(pushed))["decision"] == str(answer.decision)
    assert (pushed["version"], pushed["digest"], pushed["attempt"]) == (3, "d1", 2)


def test_an_approval_that_ended_in_an_error_is_not_an_answer(approval: Any, recorded: list[tuple[Answer, int]]) -> None:
    task_instance = Pushed()

    approval.execute_complete(context_of(task_instance), {"error": "timeout", "error_type": "timeout"})

    assert recorded == []
    assert task_instance.xcoms == {}


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
