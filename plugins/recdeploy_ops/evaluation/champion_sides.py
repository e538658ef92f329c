"""The champion's side of a backtest: its extract, its recipe and the settings determine it, not the candidate.

So it can be trained before a candidate exists, and is the same for all that follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.backtests import (
    HeldOut,
    collect_held_out,
    hold_out_last,
    list_popular,
    ndcg,
    random_ndcg,
)
from recdeploy_ops.evaluation.interactions import hash_rows, positions, read_interactions
from recdeploy_ops.training.gate_models import GateModel, train_gate_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.domain.gates.quality import QualityThresholds
    from recdeploy_ops.evaluation.interactions import Interactions
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.gate_models import Side, TrainedModels

CANDIDATE, CHAMPION = "candidate", "champion"
SEEDS = 2**32
FIRST_SEED = {CANDIDATE: 1_000, CHAMPION: 2_000}
SHORTEST = 10  # of a backtest's list; a catalogue of fewer than 100 items has fewer than 10 relevant places
PAIRS, ITEM_IDS, LISTS, ROW_HASHES = "held_out.parquet", "items.parquet", "lists.npz", "row_hashes.npy"


@dataclass(frozen=True)
class Backtest:
    """What a backtest asks for.

    Attributes:
        held_out: the interactions that both sides are trained without.
        depth: length of a list.
        random: NDCG of random lists.
        popularity: NDCG of the most popular items.
        row_hashes: of the rows that are held out, as `hash_rows` gives them; shape (rows,).
    """

    held_out: HeldOut
    depth: int
    random: float
    popularity: float
    row_hashes: NDArray[np.uint64]


@dataclass(frozen=True)
class ChampionSide:
    """The champion's side.

    Attributes:
        backtest: what was asked for.
        lists: of each training, with the item numbers of what is held out; none where nothing is.
    """

    backtest: Backtest
    lists: list[Matrix]

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ids, lists and hashes into a folder, and return the rest as plain values."""
        held_out = self.backtest.held_out
        users, items = (pa.array([pair[part] for pair in held_out.pairs], pa.string()) for part in range(2))
        pq.write_table(pa.table({"user": users, "item": items}), folder / PAIRS)
        pq.write_table(pa.table({"item": held_out.items}), folder / ITEM_IDS)
        np.savez_compressed(folder / LISTS, *self.lists)
        np.save(folder / ROW_HASHES, self.backtest.row_hashes)
        return {
            "users": held_out.users,
            "depth": self.backtest.depth,
            "random": self.backtest.random,
            "popularity": self.backtest.popularity,
        }

    @classmethod
    def read(cls, folder: Path, facts: Mapping[str, Any]) -> ChampionSide:
        """Return what `write` has written."""
        pairs = pq.read_table(folder / PAIRS)
        items = pq.read_table(folder / ITEM_IDS).column(0).combine_chunks()
        asked, wanted = (pairs.column(name).combine_chunks() for name in ("user", "item"))
        with np.load(folder / LISTS, allow_pickle=False) as stored:
            lists = [stored[name] for name in stored.files]
        backtest = Backtest(
            HeldOut.of_pairs(asked, wanted, items),
            facts["depth"],
            facts["random"],
            facts["popularity"],
            np.load(folder / ROW_HASHES, allow_pickle=False),
        )
        return cls(backtest, lists)

    def asks_for_rows_of(self, extract: Path, settings: Settings) -> bool:
        """Return whether the rows that are held out of this extract now are those that this side was trained without.

        Equal inputs have equal rows, unless the code that chooses them was changed.

        Args:
            extract: the champion's.
            settings: as for `train_champion_side`.
        """
        interactions = read_interactions(extract, settings.source)
        rows = hold_out_last(interactions, settings.gates.quality)
        return np.array_equal(hash_rows(interactions.take(rows)), self.backtest.row_hashes)


def train_champion_side(
    work: Path, champion: Side, settings: Settings, *, seed: int, report: Callable[[str], None]
) -> ChampionSide:
    """Train the champion's side.

    Args:
        work: an empty folder.
        champion: its extract and recipe.
        settings: names the columns, and says how the backtest is made.
        seed: of the champion; those of its trainings follow from it.
        report: called with each line of progress.

    Raises:
        SourceDataError: the data cannot be trained on.
        TrainingFailedError: the training failed.
    """
    bounds = settings.gates.quality
    backtest = plan_backtest(read_interactions(champion.extract, settings.source), bounds)
    if not backtest.held_out.users:
        return ChampionSide(backtest, [])
    count = recipe_of(champion.recipe).trainings(bounds.seeds)
    models = plan_models(CHAMPION, seed, count, backtest.depth)
    trained = train_gate_models(
        work, {CHAMPION: champion}, models, backtest.held_out.pairs, settings=settings, report=report
    )
    return ChampionSide(backtest, lists_of(trained, models, CHAMPION, backtest.held_out))


def plan_backtest(interactions: Interactions, bounds: QualityThresholds) -> Backtest:
    """Return what a backtest asks for.

    Args:
        interactions: the champion's.
        bounds: how many to hold out, and how long lists are.
    """
    rows = hold_out_last(interactions, bounds)
    held_out = collect_held_out(interactions, rows)
    depth, hashes = _choose_depth(bounds, held_out), hash_rows(interactions.take(rows))
    if not held_out.users:
        return Backtest(held_out, depth, 0.0, 0.0, hashes)
    asked = np.unique(interactions.users.codes[rows])
    rated = np.bincount(interactions.users.codes, minlength=len(interactions.users.ids))[asked] - held_out.counts
    popular = list_popular(interactions.without(rows), asked, depth)
    return Backtest(
        held_out,
        depth,
        random_ndcg(held_out.counts, len(held_out.items) - rated, depth),
        float(ndcg(held_out.hits(popular), held_out.counts).mean()),
        hashes,
    )


def plan_models(side: str, seed: int, count: int, depth: int) -> list[GateModel]:
    """Return the trainings of one side of a backtest.

    Seeds of the candidate's side are even and those of the champion's odd: no two trainings share one, whichever seeds
    both versions were trained with.

    Args:
        side: `CANDIDATE` or `CHAMPION`.
        seed: of the version.
        count: of trainings.
        depth: length of a list.
    """
    first = (seed + FIRST_SEED[side]) % SEEDS // 2 * 2 + (side == CHAMPION)
    return [
        GateModel(f"{side}-{number}", side, (first + 2 * number) % SEEDS, depth, is_backtest=True)
        for number in range(count)
    ]


def lists_of(trained: TrainedModels, models: list[GateModel], side: str, held_out: HeldOut) -> list[Matrix]:
    """Return the backtests' lists of one side with the item numbers of what is asked for."""
    numbers = np.append(positions(trained.inputs[side].items, held_out.items), -1).astype(np.int32)
    return [numbers[trained.lists[model.name]] for model in models if model.is_backtest and model.side == side]


def _choose_depth(bounds: QualityThresholds, held_out: HeldOut) -> int:
    """Return the length of lists: deep ones have little noise, but not so deep that any list meets everything."""
    return max(min(bounds.depth, len(held_out.items) // 10), min(SHORTEST, len(held_out.items)), 1)
