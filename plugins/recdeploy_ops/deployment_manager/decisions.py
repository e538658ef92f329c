"""A person's decision in a notebook: who runs the cell is who decides, and the ledger says so."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals import questions
from recdeploy_ops.deployment_manager.notebook_sessions import are_same_person
from recdeploy_ops.domain.errors import (
    DeploymentFailedError,
    PromotionFailedError,
    RecdeployError,
    SelfApprovalError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import CHANGING_DECISIONS, Decision
from recdeploy_ops.rollout import rejection
from recdeploy_ops.steps import close_release, promote, reject, validate_test

if TYPE_CHECKING:
    from recdeploy_ops.deployment_manager.notebook_sessions import NotebookSession
    from recdeploy_ops.domain.ledger import Release


def ask(session: NotebookSession, run_id: str) -> questions.Question:
    """Record that a decision is wanted, and return the question with its evidence."""
    asked = session.releases.release(run_id).get(Kind.APPROVAL_REQUESTED)
    with session.explaining():
        return questions.ask(session.releases, run_id, attempt=asked["attempt"] + 1 if asked else 1)


def promote_release(session: NotebookSession, run_id: str, comment: str) -> dict[str, Any]:
    """Validate what was not validated yet, keep the caller's approval, promote, close the release.

    A promotion that was interrupted goes on with the approval that it has.

    Returns:
        ``version``, ``url`` and ``digest`` of what production serves.
    """
    release = session.releases.release(run_id)
    if not (release.get(Kind.PROMOTION_STARTED) or release.get(Kind.PROMOTED)):
        validated = release.get(Kind.TEST_VALIDATED)
        if validated is None or validated["verdict"] == "FAIL":
            session.finish(validate_test.advance, run_id)
        _answer(session, run_id, Decision.PROMOTE, comment)
    try:
        done = dict(session.finish(promote.advance, run_id))
    except (PromotionFailedError, DeploymentFailedError):
        with suppress(RecdeployError):  # the promotion's own error says more
            session.finish(close_release.advance, run_id)
        raise
    session.finish(close_release.advance, run_id)
    return done


def reject_release(session: NotebookSession, run_id: str, reason: str) -> None:
    """Keep the caller's refusal; a promotion that has begun is left to the teardown, which settles production."""
    release = session.releases.release(run_id)
    if release.get(Kind.PROMOTION_STARTED) or release.get(Kind.PROMOTED):
        return
    validated = release.get(Kind.TEST_VALIDATED)
    if validated and validated["verdict"] != "FAIL":
        _answer(session, run_id, Decision.REJECT, reason)
        session.finish(reject.advance, run_id)
    else:  # there is nothing yet that a question could be about
        rejection.refuse(session.releases, run_id, by=session.caller, reason=reason)


def _answer(session: NotebookSession, run_id: str, decision: Decision, comment: str) -> None:
    """Keep the caller's answer; asked anew when there is an earlier answer, which counts only once."""
    release = session.releases.release(run_id)
    if release.get(Kind.APPROVAL_REQUESTED) is None or release.get(Kind.APPROVAL_ANSWERED):
        ask(session, run_id)
    asked = session.releases.facts(session.releases.release(run_id), Kind.APPROVAL_REQUESTED)
    answer = questions.Answer(decision, session.caller, session.releases.now(), comment, timed_out=False)
    try:
        _require_other_person(session, release, decision)
        questions.keep(session.releases, run_id, answer, attempt=asked["attempt"])
    except SelfApprovalError as err:
        tested = session.releases.facts(release, Kind.TEST_DEPLOYED)["deployment_id"]
        how = f"run manager.promote_to_production({tested!r})" if tested else "approve it after a TEST (is_test=True)"
        raise SelfApprovalError(f"{err} Another person can {how} in a notebook of their own.") from err


def _require_other_person(session: NotebookSession, release: Release, decision: Decision) -> None:
    """Refuse an approval by whoever opened the release, under whatever system user's name."""
    opener = session.releases.facts(release, Kind.RELEASE_OPENED)["triggered_by"]
    if session.releases.settings.release.self_approval or decision not in CHANGING_DECISIONS:
        return
    if are_same_person(session.caller, opener):
        raise SelfApprovalError(
            f"{opener} opened this release; {session.caller} may not approve it (setting release.self_approval)."
        )
