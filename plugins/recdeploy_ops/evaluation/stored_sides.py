"""The champion's side of a backtest in storage: used if it has exactly the inputs that are needed now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyExistsError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.events import ChampionBacktested
from recdeploy_ops.evaluation.champion_sides import ChampionSide, train_champion_side
from recdeploy_ops.storage.bundles import MANIFEST, fetch_bundle, open_bundle, store_bundle, write_manifest
from recdeploy_ops.storage.keys import bundle_prefix, run_prefix
from recdeploy_ops.training.gate_models import Side

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.gates.quality import QualityThresholds
    from recdeploy_ops.evaluation.champions import Champion
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

FORMAT = 1  # of what is stored, and of how it is trained: a change of either is a new one
KIND = "backtests"
# The settings of gates.quality that say how the backtest is made; the others only judge it.
HOW = ("seeds", "depth", "held_out_share", "most_held_out", "fewest_interactions", "most_users")


def describe_inputs(champion: Champion, bounds: QualityThresholds) -> dict[str, Any] | None:
    """Return what determines the champion's side of a backtest; None if its recipe is unknown."""
    if "model" not in champion.inputs:
        return None
    return {
        "format": FORMAT,
        "extract": champion.extract.digest,
        "model": champion.inputs["model"],
        "seed": champion.inputs["seed"],
        "backtest": {name: getattr(bounds, name) for name in HOW},
    }


def read_side(
    context: ReleaseContext, champion: Champion, inputs: Mapping[str, Any], folder: Path, *, extract: Path | None
) -> ChampionSide | str:
    """Return the stored side of a champion that has these inputs, verified, or why there is none, as a clause.

    Args:
        context: of the run.
        champion: whose side.
        inputs: as `describe_inputs` returns them.
        folder: receives its files.
        extract: folder of its extract, to compare the rows that are held out; None to compare the inputs only.
    """
    stored = context.state.backtests.get(champion.version)
    if stored is None:
        return "it was not trained before"
    changed = [name for name, value in inputs.items() if stored.inputs.get(name) != value]
    if changed:
        return f"changed since it was trained: {', '.join(changed)}"
    try:
        bundle = open_bundle(context.store, stored.prefix, digest=stored.digest, made_by=stored.task)
        fetch_bundle(context.store, bundle, folder)
    except (MissingInputError, IntegrityError, KeyNotFoundError) as err:
        return f"the stored one cannot be used: {err.message}"
    side = ChampionSide.read(folder, bundle.facts)
    if extract is not None and not side.asks_for_rows_of(extract, context.settings):
        return "other interactions are held out now"
    return side


def store_side(
    context: ReleaseContext, champion: Champion, inputs: Mapping[str, Any], extract: Path, work: Path
) -> tuple[ChampionSide, ChampionBacktested]:
    """Train the side of a champion and store it beside its other files; return it with the event to record.

    Args:
        context: of the run.
        champion: whose side.
        inputs: as `describe_inputs` returns them.
        extract: folder of its extract.
        work: a folder to make.

    Raises:
        SourceDataError: the data cannot be trained on.
        TrainingFailedError: the training failed.
    """
    target, training = work / "side", work / "training"
    for folder in (target, training):
        folder.mkdir(parents=True)
    recipe, seed = inputs["model"], inputs["seed"]
    side = train_champion_side(training, Side(extract, recipe), context.settings, seed=seed, report=log.info)
    digest = write_manifest(target, {"inputs": dict(inputs), **side.write(target)})
    parent = run_prefix(champion.run_id, KIND)
    try:
        bundle = store_bundle(context.store, parent, target)
    except KeyExistsError as err:  # equal inputs give equal bytes under the same keys
        log.warning("Replacing a stored side of the backtest that was damaged: %s", err)
        discard_side(context.store, bundle_prefix(parent, digest))
        bundle = store_bundle(context.store, parent, target)
    return side, ChampionBacktested(bundle.prefix, bundle.digest, champion.version, inputs)


def is_recorded(context: ReleaseContext, event: ChampionBacktested) -> bool:
    """Return whether the ledger has this event as the newest of its version, e.g. by another run meanwhile."""
    return context.refresh().backtests.get(event.version) == event


def discard_side(store: Store, prefix: str) -> None:
    """Delete a stored side, its manifest first: what is left has no meaning without one."""
    store.delete(f"{prefix}/{MANIFEST}")
    for stored in list(store.list(f"{prefix}/")):
        store.delete(stored.key)
