"""The trainings that a candidate is compared by: two twins, and its side of the backtest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recdeploy_ops.domain.gates.quality import QualityFacts
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.backtests import compare_quality
from recdeploy_ops.evaluation.champion_sides import CANDIDATE, SEEDS, lists_of, plan_models
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from recdeploy_ops.evaluation.champion_sides import ChampionSide
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings

TWINS = 2  # of a recipe whose lists depend on the seed
FIRST_TWIN = 1  # from the candidate's seed
TWIN_FILE = "twins.npz"


@dataclass(frozen=True)
class Comparison:
    """What the trainings gave.

    Attributes:
        twins: the lists of each twin, with the users and items of the candidate's extract.
        quality: the backtest; None if there is none.
        why: why the backtest is missing.
        seconds: how long it took, without the champion's side.
    """

    twins: list[Matrix]
    quality: QualityFacts | None
    why: str
    seconds: float

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the twins' lists into a folder, and return the rest as plain values."""
        np.savez_compressed(folder / TWIN_FILE, *self.twins)
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
        quality = QualityFacts.from_plain(facts["quality"]) if facts["quality"] else None
        return cls(twins, quality, facts["why"], facts["seconds"])


def train_comparison(
    work: Path,
    candidate: Side,
    champion: ChampionSide | None,
    settings: Settings,
    *,
    top_k: int,
    seed: int,
    why: str,
    report: Callable[[str], None],
) -> Comparison:
    """Train the twins and, if there is a champion, the candidate's side of the backtest.

    Args:
        work: an empty folder.
        candidate: today's extract and recipe.
        champion: its side, trained or stored; None if there is none.
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
    bounds, recipe = settings.gates.quality, recipe_of(candidate.recipe)
    models = [
        GateModel(f"twin-{n}", CANDIDATE, (seed + FIRST_TWIN + n) % SEEDS, top_k, is_backtest=False)
        for n in range(recipe.trainings(TWINS))
    ]
    backtest = champion.backtest if champion and champion.lists else None
    if backtest:
        models += plan_models(CANDIDATE, seed, recipe.trainings(bounds.seeds), backtest.depth)
    pairs = backtest.held_out.pairs if backtest else []
    trained = train_gate_models(work, {CANDIDATE: candidate}, models, pairs, settings=settings, report=report)
    twins = [trained.lists[model.name] for model in models if not model.is_backtest]
    if champion is None or backtest is None:
        if champion:
            why = f"no user of the champion's extract has {bounds.fewest_interactions} interactions"
        return Comparison(twins, None, why, time.monotonic() - started)
    own = lists_of(trained, models, CANDIDATE, backtest.held_out)
    quality = compare_quality(champion.lists, own, backtest.held_out, (backtest.random, backtest.popularity))
    return Comparison(twins, quality, "", time.monotonic() - started)
