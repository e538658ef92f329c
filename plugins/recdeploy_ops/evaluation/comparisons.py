"""The trainings that a candidate is compared by: two twins, and the backtest of both sides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recdeploy_ops.domain.gates.quality import QualityFacts
from recdeploy_ops.evaluation.backtests import (
    collect_held_out,
    compare_quality,
    hold_out_last,
    list_popular,
    ndcg,
    random_ndcg,
)
from recdeploy_ops.evaluation.interactions import positions, read_interactions
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.domain.gates.quality import QualityThresholds
    from recdeploy_ops.evaluation.backtests import HeldOut
    from recdeploy_ops.evaluation.interactions import Interactions
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.gate_models import TrainedModels

CANDIDATE, CHAMPION = "candidate", "champion"
TWINS = 2
SEEDS = 2**32
# The seeds of twins and of each side's backtests, from the candidate's: all different.
FIRST_TWIN, FIRST_OF_CANDIDATE, FIRST_OF_CHAMPION = 1, 1_000, 2_000
SHORTEST = 10  # of a backtest's list; a catalogue of fewer than 100 items has fewer than 10 relevant places
TWIN_FILE, BACKTEST_FILE = "twins.npz", "backtests.npz"


@dataclass(frozen=True)
class Comparison:
    """What the trainings gave.

    Attributes:
        twins: the lists of each twin, with the users and items of the candidate's extract.
        quality: the backtest; None if there is none.
        scores: NDCG of each training and user of the backtest, by side.
        why: the reason if there is no backtest.
        seconds: how long it took.
    """

    twins: list[Matrix]
    quality: QualityFacts | None
    scores: Mapping[str, NDArray[np.float64]]
    why: str
    seconds: float

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the lists and scores into a folder, and return the rest as plain values."""
        np.savez_compressed(folder / TWIN_FILE, *self.twins)
        np.savez_compressed(folder / BACKTEST_FILE, **dict[str, Any](self.scores))
        return {
            "quality": self.quality.to_plain() if self.quality else None,
            "why": self.why,
            "seconds": round(self.seconds, 1),
        }

    @classmethod
    def read(cls, folder: Path, facts: Mapping[str, Any]) -> Comparison:
        """Return what `write` has written."""
        with np.load(folder / TWIN_FILE, allow_pickle=False) as stored:
            twins = [stored[name] for name in stored.files]
        with np.load(folder / BACKTEST_FILE, allow_pickle=False) as stored:
            scores = {name: stored[name] for name in stored.files}
        quality = QualityFacts.from_plain(facts["quality"]) if facts["quality"] else None
        return cls(twins, quality, scores, facts["why"], facts["seconds"])


def train_comparison(
    work: Path,
    candidate: Side,
    champion: Side | None,
    settings: Settings,
    *,
    top_k: int,
    seed: int,
    why: str,
    report: Callable[[str], None],
) -> Comparison:
    """Train the twins and, if there is a champion, the backtests.

    Args:
        work: an empty folder.
        candidate: today's extract and recipe.
        champion: its extract and recipe; None if there is none.
        settings: names the columns, and says how the backtest is made.
        top_k: length of the twins' lists, as of the candidate's.
        seed: of the candidate; the others follow from it.
        why: the reason if ``champion`` is None.
        report: called with each line of progress.

    Raises:
        SourceDataError: the data cannot be trained on.
        TrainingFailedError: the training failed.
    """
    started = time.monotonic()
    bounds = settings.gates.quality
    sides = {CANDIDATE: candidate}
    models = [
        GateModel(f"twin-{n}", CANDIDATE, (seed + FIRST_TWIN + n) % SEEDS, top_k, is_backtest=False)
        for n in range(TWINS)
    ]
    held_out = rows = approved = None
    if champion is not None:
        approved = read_interactions(champion.extract, settings.source)
        rows = hold_out_last(approved, bounds)
        held_out = collect_held_out(approved, rows)
        why = f"no user of the champion's extract has {bounds.fewest_interactions} interactions"
        if held_out.users:
            sides[CHAMPION] = champion
            models += _plan_backtests(bounds, seed, depth=_choose_depth(bounds, held_out))
    pairs = held_out.pairs if held_out else []
    trained = train_gate_models(work, sides, models, pairs, settings=settings, report=report)
    twins = [trained.lists[model.name] for model in models[:TWINS]]
    if approved is None or rows is None or held_out is None or not held_out.users:
        return Comparison(twins, None, {}, why, time.monotonic() - started)
    by_side = {name: _lists_of(trained, models, name, held_out) for name in (CHAMPION, CANDIDATE)}
    quality = compare_quality(
        by_side[CHAMPION], by_side[CANDIDATE], held_out, _measure_baselines(approved, rows, held_out, models[-1].depth)
    )
    scores = {
        name: np.array([ndcg(held_out.hits(one), held_out.counts) for one in lists]) for name, lists in by_side.items()
    }
    return Comparison(twins, quality, scores, "", time.monotonic() - started)


def _plan_backtests(bounds: QualityThresholds, seed: int, *, depth: int) -> list[GateModel]:
    firsts = {CANDIDATE: FIRST_OF_CANDIDATE, CHAMPION: FIRST_OF_CHAMPION}
    return [
        GateModel(f"{side}-{number}", side, (seed + first + number) % SEEDS, depth, is_backtest=True)
        for side, first in firsts.items()
        for number in range(bounds.seeds)
    ]


def _choose_depth(bounds: QualityThresholds, held_out: HeldOut) -> int:
    """Return the length of lists: deep ones have little noise, but not so deep that any list meets everything."""
    return max(min(bounds.depth, len(held_out.items) // 10), min(SHORTEST, len(held_out.items)), 1)


def _lists_of(trained: TrainedModels, models: list[GateModel], side: str, held_out: HeldOut) -> list[Matrix]:
    """Return the backtests' lists of one side with the item numbers of what is asked for."""
    numbers = np.append(positions(trained.inputs[side].items, held_out.items), -1).astype(np.int32)
    return [numbers[trained.lists[model.name]] for model in models if model.is_backtest and model.side == side]


def _measure_baselines(
    approved: Interactions, rows: NDArray[np.int64], held_out: HeldOut, depth: int
) -> tuple[float, float]:
    asked = np.unique(approved.users.codes[rows])
    rated = np.bincount(approved.users.codes, minlength=len(approved.users.ids))[asked] - held_out.counts
    random = random_ndcg(held_out.counts, len(held_out.items) - rated, depth)
    popular = list_popular(approved.without(rows), asked, depth)
    return random, float(ndcg(held_out.hits(popular), held_out.counts).mean())
