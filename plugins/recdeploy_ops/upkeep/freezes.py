"""Freeze promotions or resume them from a terminal, with the same step as the DAG."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import TERMINAL
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import freeze_promotions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext


def turn_switch(context: ReleaseContext, *, freeze: bool, reason: str, caller: str) -> Iterator[str]:
    """Freeze promotions or resume them; yield line by line what froze them before, and what does now.

    Args:
        context: of the step; its run id is replaced.
        freeze: whether to freeze; else promotions are resumed.
        reason: why; shown in the history.
        caller: the person's name for the ledger.

    Raises:
        PromotionsFrozenError: something has frozen promotions since the first line was shown.
        RecdeployError: as the step.
    """
    asked_at, before = context.now(), context.refresh()
    for known in before.freezes:
        yield f"Promotions were frozen {known}"
    # Named after the ledger's head, as a terminal's rollback is: a command that is given later is another run.
    own = context.of_run(f"{TERMINAL}-{'freeze' if freeze else 'resume'}-after-{before.seq}")
    act = partial(freeze_promotions.advance, own, freeze=freeze, reason=reason, by=caller, asked_at=asked_at)
    done = finish(own, act)
    for known in done["frozen"]:
        yield f"Promotions are frozen {known}"
    if not done["frozen"]:
        yield "Promotions are possible."
