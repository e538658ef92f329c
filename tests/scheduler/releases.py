"""Releases under the scheduler: what is done to them, and the facts that the tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_processes import is_running
from rest import APPROVAL, AWAITING

from recdeploy_ops.domain.events import RolledBack

if TYPE_CHECKING:
    from datetime import timedelta

    import httpx
    from pollers import Poller
    from services import EndedRun, Installation

OTHER_PARAMS = {"seed": 7, "top_k": 5}
TOO_EARLY, LATER = "answered too early", "answered when it was asked again"
TIMEOUT_HOURS = 2
# For this long OCI keeps a task waiting that is killed meanwhile; less than the SDK waits for an answer.
HELD_SECONDS = 50


@dataclass(frozen=True)
class Switched:
    """A run that changed production's version.

    Attributes:
        seen: at its end.
        poller: the client that asked production from its beginning to its end.
    """

    seen: EndedRun
    poller: Poller

    def require_one_change(self, *, answers: int) -> None:
        """Require more than this number of answers, no error, and one change of the version."""
        assert self.poller.errors == []
        assert self.poller.versions == [int(self.seen.before.version), int(self.seen.after.version)]
        assert self.poller.answers > answers

    def require_rolled_back(self) -> None:
        """Require that an earlier version answers at the same URL, and that nothing else is left."""
        seen, target = self.seen, self.seen.event(RolledBack)
        assert seen.outcome.state == "success"
        assert (seen.after.ocid, seen.after.url) == (seen.before.ocid, seen.before.url)
        assert int(seen.after.version) == target.version < int(seen.before.version)
        served = {(answer["model_version"], answer["digest"]) for answer in seen.answers.values()}
        assert served == {(target.version, target.digest)}
        assert (seen.tests, seen.holder) == ([], None)


@dataclass(frozen=True)
class Interrupted(Switched):
    """A release that is interrupted in every way.

    Attributes:
        asked: the question after the answer that Airflow lost; None when it lost none.
        early: Airflow's reply to that answer.
        training_survived: whether the ADS operator outlived the task that was killed.
        promoting: types of the ledger's events when the task that promotes was killed.
        updates: changes of production that OCI accepted for the promotion.
        models: names in the catalog.
        creations: calls that made a deployment.
    """

    asked: dict[str, Any] | None
    early: httpx.Response
    training_survived: bool
    promoting: list[str]
    updates: int
    models: list[str]
    creations: int


@dataclass(frozen=True)
class Reopened:
    """The release that was rejected, and opened again.

    Attributes:
        cleared: the tasks that Airflow cleared.
        first: the first question.
        asked: the second question.
        viewer: Airflow's reply to an answer of a user who may only look.
        kinds: types of the ledger's events at the second question.
        limit: how much longer Airflow would have waited for an answer.
        seen: at its end, when nobody had answered.
    """

    cleared: list[str]
    first: dict[str, Any]
    asked: dict[str, Any]
    viewer: httpx.Response
    kinds: list[str]
    limit: timedelta
    seen: EndedRun


def kill_training(installation: Installation, run_id: str) -> bool:
    """Kill the task that trains, and return whether the ADS operator went on without it, to its end."""
    training = installation.wait_for("the ADS operator runs", installation.processes.ads_operator, every=0.05)
    task, folder = installation.processes.task(run_id, "run_ads_operator"), Path(training.cwd())
    assert task is not None
    assert training.ppid() == task.pid
    task.kill()
    installation.wait_for("the ADS operator has ended", lambda: not is_running(training), every=0.05)
    return any(folder.rglob("recommendations.csv"))


def answer_too_early(installation: Installation, run_id: str) -> httpx.Response:
    """Answer the moment the task is parked, before Airflow has heard that its process has ended.

    Airflow 3.3.2 mistakes the end of the process that parked the task for the end of the one that resumes it, and
    fails the task. That depends on the load; holding the scheduler makes it happen every time.
    """
    installation.wait_for_state(run_id, APPROVAL, "running", AWAITING, every=0.05)
    with installation.processes.suspended_scheduler():
        installation.wait_for_state(run_id, APPROVAL, AWAITING, every=0.05)
        installation.wait_for(
            "the task's process has ended", lambda: installation.processes.task(run_id, APPROVAL) is None
        )
        return installation.approver.respond(run_id, "Promote", TOO_EARLY)


def question_after(installation: Installation, run_id: str, early: httpx.Response) -> dict[str, Any] | None:
    """Return the second question; None when the early answer was recorded."""
    assert early.is_success, early.text

    def final_state() -> str | None:
        task = installation.task(run_id, APPROVAL)
        asks_again = task.state == AWAITING and task.attempt > 1
        return task.state if asks_again or task.state in {"success", "failed"} else None

    state = installation.wait_for("the early answer counts, or is asked for again", final_state)
    return installation.admin.question(run_id) if state == AWAITING else None


def answer_in_time(installation: Installation, run_id: str, option: str, comment: str) -> None:
    """Answer an approval that has just been asked, as a person who reads it first."""
    installation.wait_until_asked(run_id)
    installation.approver.respond(run_id, option, comment).raise_for_status()


def hold_promotion(installation: Installation) -> None:
    """Let OCI keep the next update of a deployment in progress until `kill_promotion`."""
    installation.emulator.fail_next("UpdateModelDeployment", "stuck")


def kill_promotion(installation: Installation, run_id: str) -> list[str]:
    """Kill the task that promotes once OCI has switched production, and return what the ledger says then.

    OCI takes longer than the task waits with a worker, so the task is deferred. The process that resumes it requests
    the model first.
    """
    installation.wait_for_state(run_id, "promote", "deferred")
    installation.emulator.clear_faults()
    installation.emulator.fail_next("GetModel", "slow", seconds=HELD_SECONDS)
    asked = len(installation.emulator.calls("GetModel"))
    installation.wait_for("the promotion goes on", lambda: len(installation.emulator.calls("GetModel")) > asked)
    task = installation.processes.task(run_id, "promote")
    assert task is not None
    task.kill()
    return [str(entry.type) for entry in installation.entries(run_id)]
