"""Step 14: reject the candidate; production stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ApprovalAnswered
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.rejection import reject_candidate

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome


def advance(context: ReleaseContext) -> Outcome:
    """Delete the test deployment, make the champion's files current again, record who rejected and why."""
    release = context.confirm_lock()
    waiting = deletion.advance_test_deletion(context)
    if waiting:
        return waiting
    answer = release.require(ApprovalAnswered)
    reason = "nobody answered in time" if answer.timed_out else answer.comment or "no reason given"
    return reject_candidate(context, by=answer.by, reason=reason)
