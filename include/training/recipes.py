"""The recipes by name: each trains a ranker from ratings, for the operator and for the models of the gates alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from include.training.als import AlsParameters, fit_als
from include.training.ease_models import GRID, PARTS, choose_regularization, fit_ease
from include.training.evidence import Evidence, collect_evidence
from include.training.evidence_scoring import EvidenceScorer
from include.training.factors import Hyperparameters
from include.training.learning import Recipe, learn
from include.training.popularity import Shelf, ShelfRanker, scale_of
from include.training.progress import Progress, tell
from include.training.scoring import Scorer, usable_cpus
from include.training.sgd import choose_fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from include.training.popularity import Ranker
    from include.training.trainsets import Ratings

TEST_SHARE = 0.2  # what ADS holds out


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        ranker: lists the items of the catalogue.
        measures: what was measured, as numbers or text.
    """

    ranker: Ranker
    measures: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """What a training is given.

    Attributes:
        ratings: all of them.
        catalogue: distinct item ids; their order decides between items that are equally good and equally popular.
        longest: the most places of a list.
        random: the source of random numbers; recipes without chance draw none.
    """

    ratings: Ratings
    catalogue: pd.Index[Any]
    longest: int
    random: np.random.RandomState

    def collect(self, *, implicit: bool) -> tuple[Evidence, Shelf]:
        """Return what users took, and the catalogue by popularity, for a recipe that ranks."""
        evidence = collect_evidence(self.ratings, implicit=implicit)
        return evidence, Shelf.arrange(evidence, self.ratings.item_ids, self.catalogue, self.longest)


class Trainer(Protocol):
    """A recipe with its settings."""

    @property
    def factors(self) -> int:
        """Return the number of factors per user and item; 0 if there are none."""
        ...

    def train(self, task: Task) -> Trained:
        """Train."""
        ...


@dataclass(frozen=True)
class SvdTrainer:
    """ADS's recipe, by the exact engine."""

    parameters: Hyperparameters
    refit: bool
    ensemble: int = 1

    @property
    def factors(self) -> int:
        """Return the most factors per user and item in memory: of the ensemble, and of the model being added."""
        return self.parameters.factors * (self.ensemble + (self.ensemble > 1))

    @cached_property
    def recipe(self) -> Recipe:
        """Return the recipe; the choice of how to learn factors tries it, so memory must have been checked before."""
        return Recipe(self.parameters, self.refit, choose_fit(self.parameters), self.ensemble)

    def train(self, task: Task) -> Trained:
        """Train; see `Trainer`."""
        with np.errstate(all="ignore"):  # a diverged model is judged, not an error
            factors, measures = learn(task.ratings, self.recipe, task.random, TEST_SHARE, lambda: lambda: None)
            ranker = Scorer(task.ratings, factors, task.catalogue)
        return Trained(ranker, {name: float(value) for name, value in asdict(measures).items()})


@dataclass(frozen=True)
class EaseTrainer:
    """EASE; its regularization is chosen again in each training, as the rows decide about it."""

    implicit: bool
    factors: int = 0

    def train(self, task: Task) -> Trained:
        """Train; see `Trainer`."""
        evidence, shelf = task.collect(implicit=self.implicit)
        choice = choose_regularization(evidence, Progress("Tried", len(GRID), "regularizations").advance)
        tell(f"Regularization {choice.regularization:g}, chosen with {choice.users:,} users")
        parts = Progress("Solved", PARTS, "parts of the item-item matrix")
        scorer = fit_ease(evidence, shelf, choice.regularization, parts.advance)
        measures = {
            "finite": scorer.is_finite,
            "regularization": choice.regularization,
            "choice_users": choice.users,
            "choice_ndcg": {f"{tried:g}": quality for tried, quality in choice.quality.items()},
        }
        return Trained(_ranker(scorer, shelf, evidence, task.ratings, implicit=self.implicit), measures)


@dataclass(frozen=True)
class PopularityTrainer:
    """The most popular items that a user does not have, the same for everyone: what recipes are compared with."""

    implicit: bool
    factors: int = 0

    def train(self, task: Task) -> Trained:
        """Train; see `Trainer`."""
        evidence, shelf = task.collect(implicit=self.implicit)
        nothing = Evidence(evidence.matrix, np.zeros_like(evidence.popularity))
        scorer = EvidenceScorer(nothing, np.zeros((0, len(shelf.positions)), np.float32), shelf.columns)
        return Trained(_ranker(scorer, shelf, evidence, task.ratings, implicit=self.implicit), {"finite": True})


@dataclass(frozen=True)
class AlsTrainer:
    """ALS for implicit feedback."""

    parameters: AlsParameters
    implicit: bool

    @property
    def factors(self) -> int:
        """Return the number of factors per user and item."""
        return self.parameters.factors

    def train(self, task: Task) -> Trained:
        """Train; see `Trainer`."""
        evidence, shelf = task.collect(implicit=self.implicit)
        epochs = Progress("Fitted", self.parameters.epochs, "epochs")
        factors = fit_als(evidence, self.parameters, task.random, usable_cpus(), epochs.advance)
        scorer = Scorer(task.ratings, factors, task.catalogue[shelf.positions], predicts_ratings=False)
        finite = all(bool(np.isfinite(np.sum(values))) for values in factors.learned())
        return Trained(_ranker(scorer, shelf, evidence, task.ratings, implicit=self.implicit), {"finite": finite})


def trainer_of(model: Mapping[str, Any]) -> Trainer:
    """Return the trainer of a model.

    Args:
        model: its settings, as the ledger has them; without the name of a recipe it is ADS's.

    Raises:
        ValueError: the recipe is unknown.
    """
    name, implicit = model.get("recipe", "svd"), bool(model.get("implicit", False))
    if name == "ease":
        return EaseTrainer(implicit)
    if name == "popularity":
        return PopularityTrainer(implicit)
    if name == "als":
        return AlsTrainer(_chosen(AlsParameters, model), implicit)
    if name == "svd":
        return SvdTrainer(
            _chosen(Hyperparameters, model), bool(model.get("refit", False)), int(model.get("ensemble", 1))
        )
    raise ValueError(f"{name!r} is not a recipe: svd, ease, als or popularity.")


def _chosen(kind: Any, model: Mapping[str, Any]) -> Any:
    names = kind.__dataclass_fields__
    return kind(**{name: model[name] for name in names if model.get(name) is not None})


def _ranker(scorer: Ranker, shelf: Shelf, evidence: Evidence, ratings: Ratings, *, implicit: bool) -> ShelfRanker:
    return ShelfRanker(scorer, shelf, evidence, scale_of(ratings, implicit=implicit))
