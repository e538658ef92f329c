"""Promotions hold after a rollback until a person resumes them.

The hold is a consequence of the rollback's own entry in the ledger: no crash can separate the two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ApprovalAnswered, Promoted, RolledBack
from recdeploy_ops.domain.freezes import Freeze, FreezeCause

if TYPE_CHECKING:
    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import SwitchDone
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.versions import Serving


def after_switch(state: LedgerState, event: SwitchDone, previous: Serving | None, entry: Entry) -> LedgerState:
    """Return the state with the hold that a verified switch begins or ends.

    Whatever is not a promotion begins one. A promotion is refused during a hold: one that follows a rollback in a
    ledger from before there were holds shows that it was over.

    Args:
        state: after the switch.
        event: the switch.
        previous: what production served before; None if nothing was known to serve.
        entry: of the event.
    """
    if isinstance(event, Promoted):
        left = tuple(freeze for freeze in state.freezes if freeze.cause is not FreezeCause.ROLLBACK)
        return replace(state, freezes=left)
    reason = event.reason if isinstance(event, RolledBack) else None
    what = f"production went from v{previous.version} to v{event.version}" if previous else f"v{event.version} serves"
    freeze = Freeze(
        cause=FreezeCause.ROLLBACK,
        reason=f"{what}: {reason}" if reason else what,
        by=_find_decider(state.releases[entry.run_id]),
        since=entry.at.isoformat(),
    )
    return replace(state, freezes=(*state.freezes, freeze))


def _find_decider(release: Release) -> str:
    """Return who decided a rollback; empty for one that follows a promotion in the same release by itself."""
    if not release.is_rollback:
        return ""
    answer = release.get(ApprovalAnswered)
    return answer.by if answer else release.opened.triggered_by or ""
