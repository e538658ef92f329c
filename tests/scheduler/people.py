"""A release that people handle in Airflow in ways that the manual does not mention."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.releases import hold_promotion

if TYPE_CHECKING:
    import httpx
    from services import EndedRun, Installation

COMMENTS = {"approver": "the first of two", "admin": "the second of two"}


@dataclass(frozen=True)
class Mishandled:
    """A release that is answered twice at once, beside which another is triggered, and whose tasks are marked.

    Attributes:
        seen: at its end.
        answers: Airflow's replies to two answers that were sent at the same moment, by the user.
        beside: the run that was triggered while it waited, at its end.
        holder: the message of the task that planned that run.
        sentence: the error of the task that confirms the outcome.
    """

    seen: EndedRun
    answers: dict[str, httpx.Response]
    beside: EndedRun
    holder: str
    sentence: str


def mishandle(installation: Installation) -> Mishandled:
    """Let a release wait, trigger another one, answer twice, and mark *promote* while OCI switches production."""
    before = installation.production()
    run_id = installation.trigger("mishandled", seed=11)
    installation.wait_until_asked(run_id)
    beside = installation.trigger_beside("beside")
    refused = installation.inspect_run(beside, installation.follow(beside), before)
    hold_promotion(installation)
    answers = _answer_twice(installation, run_id)
    installation.wait_for_state(run_id, "promote", "deferred")
    # The bake first: otherwise it begins, and fails the run because nothing was promoted.
    installation.admin.mark_success(run_id, "bake")
    installation.admin.mark_success(run_id, "promote")
    installation.emulator.clear_faults()
    seen = installation.inspect_run(run_id, installation.follow(run_id), before)
    return Mishandled(
        seen=seen,
        answers=answers,
        beside=refused,
        holder=installation.admin.error_of(beside, "plan_release"),
        sentence=installation.admin.error_of(run_id, "confirm_outcome"),
    )


def _answer_twice(installation: Installation, run_id: str) -> dict[str, httpx.Response]:
    users = {"approver": installation.approver, "admin": installation.admin}
    for user in users.values():
        user.question(run_id)  # logs the user in, so that both answers are sent at the same moment
    with ThreadPoolExecutor(2) as pool:
        sent = {name: pool.submit(user.respond, run_id, "Promote", COMMENTS[name]) for name, user in users.items()}
        return {name: answer.result() for name, answer in sent.items()}
