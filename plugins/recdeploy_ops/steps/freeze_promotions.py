"""Freeze promotions, or resume them: the switch that a person turns; a release and its lock are not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.rollout import freezes

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome


def advance(context: ReleaseContext, *, freeze: bool, reason: str, by: str | None, asked_at: datetime) -> Outcome:
    """Freeze promotions or resume them, and return under ``frozen`` what freezes them then, in words.

    Args:
        context: of the run, which does not have a release.
        freeze: whether to freeze; else promotions are resumed.
        reason: why; the approver and the history show it.
        by: the person who asks; None if nobody is known.
        asked_at: when that person asked, UTC.

    Raises:
        SettingsError: the reason is empty, nobody is known to resume, or the storage has no ledger.
        PromotionsFrozenError: something has frozen promotions since the person asked to resume them.
    """
    reason = reason.strip()
    if not reason:
        raise SettingsError("The reason is empty: the approver reads it.", Remedy("Say why, in a new run"))
    if freeze:
        left = freezes.freeze(context, reason=reason, by=by or "somebody unknown")
    elif by is None:
        raise SettingsError("No person has triggered this run: only a person resumes promotions.")
    else:
        left = freezes.resume(context, reason=reason, by=by, asked_at=asked_at)
    return {"frozen": [str(known) for known in left]}
