"""A person's decision in a notebook: the ledger records the caller of the cell as the approver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals import questions
from recdeploy_ops.approvals.answers import Answer, record_answer, self_approval
from recdeploy_ops.deployment_manager.notebook_sessions import has_begun_promotion
from recdeploy_ops.deployment_manager.shown_reports import log_report, read_shown_report
from recdeploy_ops.domain.errors import (
    BakeHeldError,
    DeploymentFailedError,
    PromotionFailedError,
    SelfApprovalError,
)
from recdeploy_ops.domain.events import ApprovalAnswered, ApprovalRequested, TestDeployed, TestValidated
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import CHANGING_DECISIONS, Decision
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.callers import are_same_person
from recdeploy_ops.rollbacks.runs import close_after_failure
from recdeploy_ops.rollout.rejection import reject_candidate
from recdeploy_ops.steps import bake, close_release, promote, reject, validate_test

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.deployment_manager.notebook_sessions import NotebookSession

WITHOUT_TEST = "deployed from a notebook without TEST (is_test=False)"
SKIPPED = "TEST was skipped (is_test=False): Cell 10 was the approval, before the version had served anything."


def ask(session: NotebookSession, run_id: str) -> questions.Question:
    """Record that a person is asked, log the reasons first, and return the question with its evidence."""
    context = session.context(run_id)
    with session.explaining():
        asked = context.confirm_lock().get(ApprovalRequested)
        question = questions.ask(context, attempt=asked.attempt + 1 if asked else 1)
        log_report(read_shown_report(context, context.release))
        return question


def promote_release(session: NotebookSession, run_id: str, comment: str) -> dict[str, Any]:
    """Validate the test deployment if necessary, record the caller's approval, promote, close the release.

    An interrupted promotion continues with the approval that it has. The call returns after the bake: it takes as long
    as the setting ``release.bake_minutes`` says.

    Returns:
        ``version``, ``url`` and ``digest`` of what production serves.
    """
    release = session.confirm_lock(session.context(run_id))
    if not has_begun_promotion(release):
        validated = release.get(TestValidated)
        if validated is None or validated.verdict is Verdict.FAIL:
            session.finish(validate_test.advance, run_id)
        _answer(session, run_id, Decision.PROMOTE, comment)
    try:
        done = dict(session.finish(promote.advance, run_id))
        session.finish(bake.advance, run_id)
    except (PromotionFailedError, DeploymentFailedError, BakeHeldError):
        close_after_failure(lambda advance: session.finish(advance, run_id))
        raise
    session.finish(close_release.advance, run_id)
    return done


def reject_release(session: NotebookSession, run_id: str, reason: str) -> None:
    """Record the caller's rejection; do nothing if a promotion has begun: the teardown restores production."""
    context = session.context(run_id)
    release = session.confirm_lock(context)
    if has_begun_promotion(release):
        return
    validated = release.get(TestValidated)
    if validated and validated.verdict is not Verdict.FAIL:
        _answer(session, run_id, Decision.REJECT, reason)
        session.finish(reject.advance, run_id)
    else:  # nothing was validated: no question can be asked
        with session.explaining():
            reject_candidate(context, by=session.caller, reason=reason)


def _answer(session: NotebookSession, run_id: str, decision: Decision, comment: str) -> None:
    """Record the caller's answer; ask again if an answer is recorded already: each question takes one."""
    context = session.context(run_id)
    release = session.confirm_lock(context)
    if release.get(ApprovalRequested) is None or release.get(ApprovalAnswered):
        ask(session, run_id)
    asked = context.release.require(ApprovalRequested)
    answer = Answer(decision, session.caller, context.now(), comment, timed_out=False)
    try:
        with session.explaining():
            _require_other_person(context, session.caller, decision)
            record_answer(context, answer, attempt=asked.attempt)
    except SelfApprovalError as err:
        tested = release.require(TestDeployed).deployment_id
        how = f"run manager.promote_to_production({tested!r})" if tested else "approve it after a TEST (is_test=True)"
        err.remedy = Remedy(f"Let another person {how} in a notebook of their own")
        raise


def _require_other_person(context: ReleaseContext, caller: str, decision: Decision) -> None:
    """Refuse an approval by the person who opened the release, also under another system user's name."""
    opener = context.release.opened.triggered_by
    if context.settings.release.self_approval or decision not in CHANGING_DECISIONS:
        return
    if are_same_person(caller, opener):
        raise self_approval(f"{opener} opened this release; {caller} may not approve it")
