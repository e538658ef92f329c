"""The champion's side of the next backtest, trained before a release needs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import LedgerConflictError
from recdeploy_ops.domain.events import DataExtracted
from recdeploy_ops.evaluation.champion_sides import ChampionSide
from recdeploy_ops.evaluation.champions import Unknown, find_version
from recdeploy_ops.evaluation.stored_sides import describe_inputs, discard_side, is_recorded, read_side, store_side
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ChampionBacktested
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.evaluation.champions import Champion

log = logging.getLogger(__name__)


def train_missing_side(context: ReleaseContext) -> bool:
    """Train and record the champion's side of the next backtest; return False if there is nothing to do.

    The release lock is not taken, so that no release waits. Where one is in progress nothing is trained: it trains what
    it needs itself, and both would compete for the machine.
    """
    production = context.refresh().production
    if production is None or context.state.holder is not None:
        return False
    champion = find_version(context, production.version)
    if isinstance(champion, Unknown):
        log.info("The champion's side of the next backtest cannot be trained: %s.", champion.why)
        return False
    inputs = describe_inputs(champion, context.settings.gates.quality)
    if inputs is None:
        return False
    with workspace() as folder:
        side = read_side(context, champion, inputs, folder / "stored", extract=None)
        if isinstance(side, ChampionSide):
            return False
        log.info("Training the champion's (v%s) side of the next backtest: %s.", champion.version, side)
        fetch_bundle(context.store, champion.extract, folder / "extract")
        _, event = store_side(context, champion, inputs, folder / "extract", folder / "trained")
    if not is_recorded(context, event):
        _record(context, champion, event)
    return True


def _record(context: ReleaseContext, champion: Champion, event: ChampionBacktested) -> None:
    """Record a side, or delete it if a customer was erased from the data that it was trained on meanwhile."""

    def require_present_data(state: LedgerState) -> None:
        if state.releases[champion.run_id].require(DataExtracted).digest != champion.extract.digest:
            raise LedgerConflictError(f"the data of the champion v{champion.version} were replaced meanwhile")

    try:
        context.ledger.append(context.run_id, event, guard=require_present_data)
    except LedgerConflictError:
        discard_side(context.store, event.prefix)
        raise
