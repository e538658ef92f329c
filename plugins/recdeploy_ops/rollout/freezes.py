"""Freeze promotions and resume them, in the ledger; and whether anything may be promoted now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import PromotionsFrozenError, SettingsError, TransientError
from recdeploy_ops.domain.events import PromotionsFrozen, PromotionsResumed
from recdeploy_ops.domain.freezes import FreezeCause, describe_freezes, find_freezes, require_not_frozen
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.rollout.tagging import tag_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.freezes import Freeze
    from recdeploy_ops.domain.ledger_state import LedgerState

log = logging.getLogger(__name__)


def current_freezes(context: ReleaseContext) -> tuple[Freeze, ...]:
    """Return what freezes promotions now: of the ledger as last read, and of the settings."""
    return find_freezes(context.state.freezes, context.settings.release.freeze_windows, context.now())


def require_promotions_allowed(context: ReleaseContext) -> None:
    """Refuse to begin the promotion of the run's version while promotions are frozen.

    Raises:
        PromotionsFrozenError: says why, since when and until when.
    """
    require_not_frozen(context.release.version, current_freezes(context))


def freeze(context: ReleaseContext, *, reason: str, by: str) -> tuple[Freeze, ...]:
    """Freeze promotions until a person resumes them, and return what freezes them now.

    The release lock is not needed: a release in progress goes on, up to its promotion. A switch of production that
    has begun is finished, or restored.

    Args:
        context: of the run that freezes; a run counts once, however often it is tried.
        reason: why; the approver reads it.
        by: who.

    Raises:
        SettingsError: the storage has no ledger.
    """
    is_known = any(
        (known.cause, known.reason, known.by) == (FreezeCause.PERSON, reason, by) for known in context.refresh().freezes
    )
    if not is_known:
        _record(context, PromotionsFrozen(reason=reason, by=by), guard=_require_ledger)
    _anchor(context)
    return current_freezes(context)


def resume(context: ReleaseContext, *, reason: str, by: str, asked_at: datetime) -> tuple[Freeze, ...]:
    """End every freeze and hold of the ledger, and return what freezes promotions still: windows of the settings.

    Args:
        context: of the run that resumes; a run counts once, however often it is tried.
        reason: why.
        by: who.
        asked_at: when that person decided, UTC: what began later is unknown to them, and stays.

    Raises:
        PromotionsFrozenError: something froze promotions after `asked_at`.
        SettingsError: the storage has no ledger.
    """

    def require_known(state: LedgerState) -> None:
        _require_ledger(state)
        later = [known for known in state.freezes if known.began_after(asked_at)]
        if later:
            raise PromotionsFrozenError(
                f"Promotions stay frozen: after you asked to resume them, {describe_freezes(later)}.",
                Remedy("Look at that, then resume promotions again"),
            )

    if context.refresh().freezes:
        _record(context, PromotionsResumed(reason=reason, by=by), guard=require_known)
    else:
        _require_ledger(context.state)
    _anchor(context)
    return current_freezes(context)


def _record(
    context: ReleaseContext,
    event: PromotionsFrozen | PromotionsResumed,
    *,
    guard: Callable[[LedgerState], None],
) -> None:
    """Append the event, unless an earlier try of this run has: a later decision of a person is not undone."""
    if any(entry.run_id == context.run_id and entry.type is event.type for entry in context.history()):
        log.info("This run has done that before: nothing is recorded again.")
        return
    context.ledger.append(context.run_id, event, guard=guard)
    log.warning("%s by %s: %s", event.type, event.by, event.reason)


def _require_ledger(state: LedgerState) -> None:
    """Refuse to begin a ledger with a freeze: nothing can be promoted there, and it may be the wrong storage.

    Raises:
        SettingsError: the ledger is empty.
    """
    if state.seq == 0:
        raise SettingsError(
            "The storage has no ledger yet: there is nothing to freeze or to resume.",
            Remedy("Check the setting storage; to freeze before a first release, use release.freeze_windows"),
        )


def _anchor(context: ReleaseContext) -> None:
    """Write the snapshot and tag production's model, so that a freeze cannot be cut off the ledger unnoticed.

    Without OCI it counts as well: the next release sets the tag.
    """
    context.publish_state()
    try:
        tag_model(context)
    except TransientError as err:
        log.warning("The tag of production's model does not name the newest entry of the ledger: %s", err)
