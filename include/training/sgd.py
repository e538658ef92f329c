"""Learning of factors by the SGD of ``surprise.SVD``: compiled, or by its own Cython loop if the two would differ."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from surprise import SVD

from include.training.factors import Factors, Hyperparameters
from include.training.kernels import descend
from include.training.progress import tell
from include.training.trainsets import Ratings, Trainset, build_trainset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Advance = Callable[[], None]
    Fit = Callable[[Trainset, Hyperparameters, np.random.RandomState, Advance], Factors]

# The defaults of surprise.SVD.
INITIAL_MEAN, INITIAL_DEVIATION = 0, 0.1
# Ratings that become Python objects at a time.
BATCH = 1 << 16


def choose_fit(parameters: Hyperparameters, descend: Callable[..., None] = descend) -> Fit:
    """Return the compiled loop if it equals scikit-surprise's bit by bit on a tiny case, otherwise the latter.

    Args:
        parameters: of the training; the tiny case is trained with them, for two epochs.
        descend: runs one epoch.
    """
    fit = partial(_fit_compiled, descend)
    trainset, tiny = _tiny_trainset(), replace(parameters, epochs=2)
    ours = fit(trainset, tiny, np.random.RandomState(1), _tell_nothing)
    theirs = fit_in_surprise(trainset, tiny, np.random.RandomState(1), _tell_nothing)
    if _same_bits(ours, theirs):
        return fit
    tell(
        "WARNING: the compiled SGD differs from scikit-surprise's on this machine. Training continues with "
        "scikit-surprise's own loop: the same result, several times slower. Clear numba's cache and check its version."
    )
    return fit_in_surprise


def fit_in_surprise(
    trainset: Trainset, parameters: Hyperparameters, random: np.random.RandomState, advance: Advance
) -> Factors:
    """Learn factors by scikit-surprise's Cython loop, fed from arrays."""
    algorithm = SVD(**parameters.for_surprise(), random_state=random)
    algorithm.trainset = _AsSurprise(trainset)
    algorithm.sgd(algorithm.trainset)
    for _ in range(parameters.epochs):
        advance()  # only now: the loop does not report single epochs
    return Factors(
        mean=trainset.global_mean,
        user_biases=algorithm.bu,
        item_biases=algorithm.bi,
        user_factors=algorithm.pu,
        item_factors=algorithm.qi,
        inner_users=trainset.inner_users,
        inner_items=trainset.inner_items,
    )


def _fit_compiled(
    descend: Callable[..., None],
    trainset: Trainset,
    parameters: Hyperparameters,
    random: np.random.RandomState,
    advance: Advance,
) -> Factors:
    factors = _initial_factors(trainset, parameters.factors, random)
    for _ in range(parameters.epochs):
        descend(
            factors.user_biases,
            factors.item_biases,
            factors.user_factors,
            factors.item_factors,
            trainset.starts,
            trainset.items,
            trainset.ratings,
            float(factors.mean),
            parameters.learning_rate,
            parameters.regularization,
        )
        advance()
    return factors


def _initial_factors(trainset: Trainset, count: int, random: np.random.RandomState) -> Factors:
    """Draw the initial factors like ``surprise.SVD.sgd``: users first."""
    return Factors(
        mean=trainset.global_mean,
        user_biases=np.zeros(trainset.n_users),
        item_biases=np.zeros(trainset.n_items),
        user_factors=random.normal(INITIAL_MEAN, INITIAL_DEVIATION, size=(trainset.n_users, count)),
        item_factors=random.normal(INITIAL_MEAN, INITIAL_DEVIATION, size=(trainset.n_items, count)),
        inner_users=trainset.inner_users,
        inner_items=trainset.inner_items,
    )


class _AsSurprise:
    """The part of ``surprise.Trainset`` that ``surprise.SVD.sgd`` reads."""

    def __init__(self, trainset: Trainset) -> None:
        self.n_users, self.n_items = trainset.n_users, trainset.n_items
        self.global_mean = trainset.global_mean
        users = np.repeat(np.arange(trainset.n_users, dtype=np.int32), np.diff(trainset.starts))
        self._columns = users, trainset.items, trainset.ratings

    def all_ratings(self) -> Iterator[tuple[int, int, float]]:
        for start in range(0, len(self._columns[0]), BATCH):
            yield from zip(*(column[start : start + BATCH].tolist() for column in self._columns), strict=True)


def _tiny_trainset() -> Trainset:
    """Return 90 ratings between 1 and 5 of 9 users for 40 items: some users share no item, some rate one twice."""
    random = np.random.RandomState(0)
    users, items = (random.randint(0, count, 90).astype(np.int32) for count in (9, 40))
    values = random.randint(2, 11, 90) / 2
    ratings = Ratings(users, items, values, pd.RangeIndex(9), pd.RangeIndex(40), lowest=1.0, highest=5.0)
    return build_trainset(ratings, np.arange(90))


def _tell_nothing() -> None:
    pass


def _same_bits(ours: Factors, theirs: Factors) -> bool:
    pairs: list[tuple[Any, Any]] = [
        (ours.user_biases, theirs.user_biases),
        (ours.item_biases, theirs.item_biases),
        (ours.user_factors, theirs.user_factors),
        (ours.item_factors, theirs.item_factors),
    ]
    return all(np.array_equal(one.view(np.int64), other.view(np.int64)) for one, other in pairs)
