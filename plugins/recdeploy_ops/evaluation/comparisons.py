"""The trainings that a candidate is compared by: two twins, and its side of the backtest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.domain.gates.quality import QualityFacts
from recdeploy_ops.domain.rankings import POPULARITY, Rankings
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.backtests import compare_quality, rank_recipes
from recdeploy_ops.evaluation.champion_sides import CANDIDATE, SEEDS, lists_of, plan_backtest, plan_models
from recdeploy_ops.evaluation.interactions import read_interactions
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from recdeploy_ops.evaluation.champion_sides import Backtest, ChampionSide
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings

TWINS = 2  # of a recipe whose lists depend on the seed
FIRST_TWIN = 1  # from the candidate's seed
TWIN_FILE = "twins.npz"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Comparison:
    """What the trainings gave.

    Attributes:
        twins: the lists of each twin, with the users and items of the candidate's extract.
        quality: the backtest; None if there is none.
        why: why the backtest is missing.
        seconds: how long it took, without the champion's side.
        rankings: the recipe beside others on the same backtest, for information; None without a backtest.
    """

    twins: list[Matrix]
    quality: QualityFacts | None
    why: str
    seconds: float
    rankings: Rankings | None = None

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the twins' lists into a folder, and return the rest as plain values."""
        np.savez_compressed(folder / TWIN_FILE, *self.twins)
        return {
            "quality": self.quality.to_plain() if self.quality else None,
            "why": self.why,
            "seconds": round(self.seconds, 1),
            "rankings": self.rankings.to_plain() if self.rankings else None,
        }

    @classmethod
    def read(cls, folder: Path, facts: Mapping[str, Any]) -> Comparison:
        """Return what `write` has written."""
        with np.load(folder / TWIN_FILE, allow_pickle=False) as stored:
            twins = [stored[name] for name in stored.files]
        quality = QualityFacts.from_plain(facts["quality"]) if facts["quality"] else None
        rankings = Rankings.from_plain(facts["rankings"]) if facts.get("rankings") else None
        return cls(twins, quality, facts["why"], facts["seconds"], rankings)


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
    backtest = champion.backtest if champion else _plan_own(candidate, settings)
    if not backtest.held_out.users:
        trained = train_gate_models(work, {CANDIDATE: candidate}, models, [], settings=settings, report=report)
        if champion:
            why = f"no user of the champion's extract has {bounds.fewest_interactions} interactions"
        return Comparison([trained.lists[model.name] for model in models], None, why, time.monotonic() - started)
    models += plan_models(CANDIDATE, seed, recipe.trainings(bounds.seeds), backtest.depth)
    popular = Side(candidate.extract, {"recipe": POPULARITY, "implicit": settings.source.implicit})
    sides = {CANDIDATE: candidate, POPULARITY: popular}
    models.append(GateModel(POPULARITY, POPULARITY, seed, backtest.depth, is_backtest=True))
    trained = train_gate_models(work, sides, models, backtest.held_out.pairs, settings=settings, report=report)
    twins = [trained.lists[model.name] for model in models if not model.is_backtest]
    own = lists_of(trained, models, CANDIDATE, backtest.held_out)
    others = {POPULARITY: lists_of(trained, models, POPULARITY, backtest.held_out)[0]}
    configured = (recipe.name, own)
    rankings = _rank(work / CHALLENGER, configured, others, candidate.extract, backtest, settings, seed, report)
    quality = None
    if champion:
        baselines = (backtest.random, backtest.popularity)
        quality, why = compare_quality(champion.lists, own, backtest.held_out, baselines), ""
    return Comparison(twins, quality, why, time.monotonic() - started, rankings)


def _plan_own(candidate: Side, settings: Settings) -> Backtest:
    """Return a backtest on the candidate's own data, on which a first release's recipe is compared with others."""
    return plan_backtest(read_interactions(candidate.extract, settings.source), settings.gates.quality)


def _rank(
    work: Path,
    configured: tuple[str, list[Matrix]],
    others: Mapping[str, Matrix],
    extract: Path,
    backtest: Backtest,
    settings: Settings,
    seed: int,
    report: Callable[[str], None],
) -> Rankings:
    """Return the configured recipe beside others and a challenger, which is trained here, in a process of its own.

    The challenger is for information: if it cannot be trained, that is what is said.
    """
    challenger: str = settings.training.challenger
    lists, why = dict(others), ""
    if challenger not in {"none", configured[0]}:
        model = {**settings.model_of(challenger), "most_minutes": settings.training.challenger_minutes}
        models = [GateModel(challenger, challenger, seed, backtest.depth, is_backtest=True)]
        sides, pairs = {challenger: Side(extract, model)}, backtest.held_out.pairs
        work.mkdir()
        try:
            trained = train_gate_models(
                work, sides, models, pairs, settings=settings, report=report, purpose="to compare with"
            )
            lists |= {challenger: lists_of(trained, models, challenger, backtest.held_out)[0]}
        except TrainingFailedError as err:
            why = str(err).splitlines()[-1].strip().rstrip(".")
            report(f"The recipe is not compared with {challenger}: {why}.")
    return rank_recipes(configured, lists, backtest.held_out, backtest.random, why)
