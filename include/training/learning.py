"""One training of ADS's recipe: hold out a fifth, fit the rest, measure, and fit all of it if that is wanted.

An ensemble does that once for each of its models, which holds out a fifth of its own.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from include.training.ensembles import average
from include.training.metrics import measure
from include.training.trainsets import build_trainset, hold_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from include.training.factors import Factors, Hyperparameters
    from include.training.sgd import Fit
    from include.training.trainsets import Ratings


@dataclass(frozen=True)
class Recipe:
    """What determines a model besides its ratings and its seed.

    Attributes:
        parameters: of the SGD.
        refit: whether to train on all ratings once the metrics are measured on those held out.
        fit: how to learn factors, as `choose_fit` returns it.
        ensemble: number of models whose predictions are averaged.
    """

    parameters: Hyperparameters
    refit: bool
    fit: Fit
    ensemble: int = 1


@dataclass(frozen=True)
class Measures:
    """The measurements on the held-out ratings; of several models, the mean of what each gives on its own.

    Attributes:
        rmse: root mean squared error.
        mae: mean absolute error.
        variance: of the held-out ratings themselves.
    """

    rmse: np.float64
    mae: np.float64
    variance: np.float64


def learn(
    ratings: Ratings,
    recipe: Recipe,
    random: np.random.RandomState,
    share: float,
    begin: Callable[[], Callable[[], None]],
    refitting: Callable[[], None] = lambda: None,
    rows: NDArray[np.int64] | None = None,
) -> tuple[Factors, Measures]:
    """Learn factors and measure them.

    Args:
        ratings: all of them.
        recipe: how to learn.
        random: the source of random numbers, of one model after the other.
        share: of the ratings to hold out.
        begin: called before each fit; what it returns is called after each epoch.
        refitting: called before each second fit.
        rows: of the ratings to learn from; None for all.
    """
    measured: list[Measures] = []

    def members() -> Iterator[Factors]:
        for _ in range(recipe.ensemble):
            factors, measures = _learn_one(ratings, rows, recipe, random, share, begin, refitting)
            measured.append(measures)
            yield factors

    factors = average(members(), recipe.ensemble)
    return factors, measured[0] if recipe.ensemble == 1 else _mean(measured)


def _learn_one(
    ratings: Ratings,
    rows: NDArray[np.int64] | None,
    recipe: Recipe,
    random: np.random.RandomState,
    share: float,
    begin: Callable[[], Callable[[], None]],
    refitting: Callable[[], None],
) -> tuple[Factors, Measures]:
    kept, held_out = hold_out(random, len(ratings) if rows is None else len(rows), share)
    if rows is not None:
        kept, held_out = rows[kept], rows[held_out]
    factors = _fit(ratings, kept, recipe, random, begin)
    del kept  # large
    rmse, mae = measure(factors, ratings, held_out)
    variance = np.float64(np.var(ratings.values[held_out]))
    if recipe.refit:
        refitting()
        factors = _fit(ratings, np.arange(len(ratings)) if rows is None else rows, recipe, random, begin)
    return factors, Measures(rmse, mae, variance)


def _mean(measured: Sequence[Measures]) -> Measures:
    """Return the mean error of the models; that of their mean cannot be measured, as each has seen other ratings."""
    return Measures(*(np.float64(np.mean(values)) for values in zip(*map(astuple, measured), strict=True)))


def _fit(
    ratings: Ratings,
    rows: NDArray[np.int64],
    recipe: Recipe,
    random: np.random.RandomState,
    begin: Callable[[], Callable[[], None]],
) -> Factors:
    trainset = build_trainset(ratings, rows)
    return recipe.fit(trainset, recipe.parameters, random, begin())
