"""A person's answer: recorded for the digest in the question, and compared with the present state."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.approvals.questions import tag_question
from recdeploy_ops.domain import stages
from recdeploy_ops.domain.errors import AnswerRefusedError, ApprovalError, MissingInputError, SelfApprovalError
from recdeploy_ops.domain.events import ApprovalAnswered, ApprovalRequested, ModelRegistered, TestDeployed
from recdeploy_ops.domain.freezes import describe_freezes, find_remedy
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import CHANGING_DECISIONS, Decision
from recdeploy_ops.domain.release_plan import ASK_AGAIN
from recdeploy_ops.domain.remedies import ChangeSetting, Remedy
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.rollout.freezes import current_freezes

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext

log = logging.getLogger(__name__)

NO_TEST = "Cannot promote to production - no test deployment"


@dataclass(frozen=True)
class Answer:
    """A person's answer, or a timeout.

    Attributes:
        decision: one of the question's options.
        by: name of the person; None after a timeout.
        at: when, UTC.
        comment: the comment to it.
        timed_out: whether nobody answered in time.
    """

    decision: Decision
    by: str | None
    at: datetime
    comment: str
    timed_out: bool


def record_answer(context: ReleaseContext, answer: Answer, *, attempt: int) -> ApprovalAnswered:
    """Record an answer, for the digest in the question.

    Args:
        context: of the run.
        answer: of the person.
        attempt: the try of the question that it answers.

    Raises:
        MissingInputError: nobody was asked, or the subject of the question was made again since.
        ApprovalError: the answer is to an earlier try.
        SelfApprovalError: the requester has approved their own run, which the settings forbid.
        AnswerRefusedError: promotions are frozen; or a HOLD was promoted without a comment, or the settings forbid to
            promote it.
    """
    release = context.confirm_lock()
    question = release.require(ApprovalRequested)
    if question.attempt != attempt:
        raise ApprovalError(
            f"This answers try {attempt} of the question, but the last try is {question.attempt}.", ASK_AGAIN
        )
    is_own = answer.by == release.opened.triggered_by
    if answer.decision in CHANGING_DECISIONS and is_own and not context.settings.release.self_approval:
        raise self_approval(f"{answer.by} triggered this run and may not approve it")
    if answer.decision is Decision.PROMOTE:
        _refuse_while_frozen(context)
        if question.verdict is not Verdict.PASS:
            _require_reason(context, answer)
    recorded = context.record(
        ApprovalAnswered(
            decision=answer.decision,
            by=answer.by or "nobody (timeout)",
            at=answer.at,
            comment=answer.comment,
            timed_out=answer.timed_out,
            attempt=attempt,
            version=question.version,
            digest=question.digest,
            fingerprint=question.fingerprint,
        )
    )
    answered = recorded.require(ApprovalAnswered)
    tag_question(context)
    log.info("%s answered %s for v%s (%s).", answered.by, answer.decision, question.version, question.digest[:12])
    return answered


def _refuse_while_frozen(context: ReleaseContext) -> None:
    """Refuse to promote while promotions are frozen; the question stays, with its evidence, and can be rejected."""
    freezes = current_freezes(context)
    if freezes:
        raise AnswerRefusedError(
            f"Refusing to promote v{context.release.version}: {describe_freezes(freezes)}.", find_remedy(freezes)
        )


def _require_reason(context: ReleaseContext, answer: Answer) -> None:
    """Refuse to promote a HOLD without a comment; in a notebook, which has printed the reasons, the call is enough."""
    version = context.release.version
    if context.settings.gates.require_pass:
        raise AnswerRefusedError(
            f"Refusing to promote v{version}: it is on HOLD, and gates.require_pass allows only what passes.",
            ChangeSetting("Reject it and correct the causes, or allow it", setting="gates.require_pass"),
        )
    if not answer.comment.strip() and not context.release.is_from_notebook:
        raise AnswerRefusedError(
            f"Refusing to promote v{version}: it is on HOLD, and the answer has no comment.",
            Remedy("Say in the comment why each reason does not matter, and promote again; or reject it"),
        )


def self_approval(message: str) -> SelfApprovalError:
    """Return the error for a requester who has approved their own run; ``message`` is without a full stop."""
    return SelfApprovalError(
        f"{message}.", ChangeSetting("Let another person answer, or allow it", setting="release.self_approval")
    )


def require_promotion_approved(context: ReleaseContext) -> ModelRegistered:
    """Return the approved model, after comparing it with storage and catalog.

    Raises:
        ApprovalError: nobody approved it, it has changed since, or the approval is too old or was used before.
        IllegalTransitionError: the version was not validated.
    """
    release = context.release
    registered = release.require(ModelRegistered)
    if release.get(TestDeployed) is None:
        raise MissingInputError(f"{NO_TEST}: v{release.version} was never deployed", task="deploy_test")
    answer = release.require(ApprovalAnswered)
    if answer.decision is not Decision.PROMOTE:
        raise ApprovalError(f"v{release.version} was not approved: {answer.by} answered {answer.decision}.", ASK_AGAIN)
    if release.open_switch is None:  # a switch that has begun is finished
        _require_recent(context, answer)
    question, parts = release.require(ApprovalRequested), fingerprints.read_parts(context)
    if fingerprints.PAGE_PART in question.parts:
        parts |= fingerprints.read_page(context, question.parts[fingerprints.PAGE_PART])
    fingerprints.require_unchanged(question, parts, action="promote")
    # Checked before any request to OCI: the ledger would refuse the event only afterwards.
    stage = context.state.versions[release.version].stage
    if stage is not Stage.CHAMPION:  # the champion may be approved again, and is verified again
        stages.advance(stage, Stage.CHAMPION)
    return registered


def _require_recent(context: ReleaseContext, answer: ApprovalAnswered) -> None:
    """Refuse an approval that is older than the settings allow: shop and production have moved on.

    Raises:
        ApprovalError: it is.
    """
    hours = context.settings.release.approval_max_age_hours
    if context.now() - answer.at > timedelta(hours=hours):
        raise ApprovalError(
            f"Refusing to promote v{context.release.version}: {answer.by} approved it at {answer.at:%Y-%m-%d %H:%M} "
            f"UTC, more than {hours:g} hours ago (setting release.approval_max_age_hours).",
            ASK_AGAIN,
        )


def require_rollback_approved(context: ReleaseContext) -> None:
    """Refuse a rollback that needs an approval and has none for its present state.

    Raises:
        ApprovalError: a person answered Keep production, or something approved has changed since.
        MissingInputError: nobody has answered.
    """
    release = context.release
    if not release.rollback_params.require_approval:
        return
    answer = release.require(ApprovalAnswered)
    if answer.decision is not Decision.ROLL_BACK:
        raise ApprovalError(
            f"The rollback to v{release.version} was rejected: {answer.by} answered {answer.decision}.",
            Remedy("Trigger a new rollback"),
        )
    question, parts = release.require(ApprovalRequested), fingerprints.read_rollback_parts(context)
    fingerprints.require_unchanged(question, parts, action="roll back to")
