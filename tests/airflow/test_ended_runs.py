"""Whether the run that holds the release lock has ended: what Airflow says, and what is known without it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRuntimeError,
    ErrorType,
)
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow_operators import ANSWERED_AT, RETRAIN_PARAMS, context_of, instance, step, with_hook

from recdeploy_ops.domain import errors
from recdeploy_ops.domain.events import OUTSIDE_AIRFLOW, Purpose, ReleaseOpened, StoredFile
from recdeploy_ops.domain.params import RetrainParams
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.operators import releases, upkeep
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.domain.ledger_state import LedgerState, Release

pytestmark = pytest.mark.usefixtures("no_task_runner")


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
