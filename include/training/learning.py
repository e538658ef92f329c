"""One training of ADS's recipe: hold out a fifth, fit the rest, measure, and fit all of it if that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from include.training.metrics import measure
from include.training.trainsets import build_trainset, hold_out

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """

    parameters: Hyperparameters
    refit: bool
    fit: Fit


@dataclass(frozen=True)
class Measures:
    """The measurements on the held-out ratings.

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
) -> tuple[Factors, Measures]:
    """Learn factors and measure them.

    Args:
        ratings: all of them.
        recipe: how to learn.
        random: the source of random numbers.
        share: of the ratings to hold out.
        begin: called before each fit; what it returns is called after each epoch.
        refitting: called before the second fit.
    """
    kept, held_out = hold_out(random, len(ratings), share)
    factors = _fit(ratings, kept, recipe, random, begin)
    del kept  # large
    rmse, mae = measure(factors, ratings, held_out)
    variance = np.float64(np.var(ratings.values[held_out]))
    if recipe.refit:
        refitting()
        factors = _fit(ratings, np.arange(len(ratings)), recipe, random, begin)
    return factors, Measures(rmse, mae, variance)


def _fit(
    ratings: Ratings,
    rows: NDArray[np.int64],
    recipe: Recipe,
    random: np.random.RandomState,
    begin: Callable[[], Callable[[], None]],
) -> Factors:
    trainset = build_trainset(ratings, rows)
    return recipe.fit(trainset, recipe.parameters, random, begin())
