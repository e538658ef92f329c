"""Reject a candidate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ReleaseRejected
from recdeploy_ops.rollout.current import make_current

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext

log = logging.getLogger(__name__)


def reject_candidate(context: ReleaseContext, *, by: str, reason: str) -> dict[str, object]:
    """Record a rejection and make the champion's files current again.

    Args:
        context: of the run.
        by: who rejected it.
        reason: why.
    """
    version = context.confirm_lock().version
    champion = context.state.champion
    if champion:
        make_current(context.store, champion)
    context.record(ReleaseRejected(version=version, by=by, reason=reason))
    context.publish_state()
    serving = f"production stays on v{champion.number}" if champion else "nothing is in production yet"
    log.info("v%s is rejected by %s (%s); %s.", version, by, reason, serving)
    production = champion.number if champion else None
    return {"version": version, "by": by, "reason": reason, "production": production}
