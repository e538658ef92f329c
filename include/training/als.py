"""ALS for implicit feedback, by the library ``implicit``, as factors that `Scorer` can score.

It minimises ``sum c (p - x y)^2 + regularization (|x|^2 + |y|^2)`` over the factors x of users and y of items. The
preference p is 1 and the confidence c is weight times the evidence where a user took an item; everywhere else p is 0
and c is 1 (Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from include.training.factors import Factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from include.training.evidence import Evidence

    Advance = Callable[[], None]


@dataclass(frozen=True)
class AlsParameters:
    """Of ALS.

    Attributes:
        factors: per user and per item.
        epochs: how often users' and items' factors are solved for.
        regularization: of the factors.
        weight: confidence of one purchase, or of one rating.
    """

    factors: int = 64
    epochs: int = 15
    regularization: float = 10.0
    weight: float = 5.0


def fit_als(
    evidence: Evidence, parameters: AlsParameters, random: np.random.RandomState, threads: int, advance: Advance
) -> Factors:
    """Learn factors; equal evidence, parameters and random numbers give equal ones, whatever the number of threads.

    Args:
        evidence: of all users.
        parameters: of ALS.
        random: the source of the initial factors.
        threads: that solve for rows.
        advance: called after each epoch.
    """
    from implicit.cpu.als import AlternatingLeastSquares  # only here: it takes half a second

    with threadpool_limits(1, "blas"):  # the order of a summation is part of the result
        return _fit(AlternatingLeastSquares, evidence, parameters, random, threads, advance)


def _fit(
    library: Any,
    evidence: Evidence,
    parameters: AlsParameters,
    random: np.random.RandomState,
    threads: int,
    advance: Advance,
) -> Factors:
    model = library(
        factors=parameters.factors,
        regularization=parameters.regularization,
        alpha=parameters.weight,
        iterations=parameters.epochs,
        num_threads=threads,
        random_state=int(random.randint(2**31 - 1)),  # it refuses a RandomState
    )
    known, users = evidence.known, np.flatnonzero(~evidence.silent_users)
    taken = evidence.matrix[users][:, known].astype(np.float32)
    taken.eliminate_zeros()
    model.fit(taken, show_progress=False, callback=lambda *_: advance())
    return Factors(
        mean=np.float64(0),
        user_biases=np.zeros(len(users)),
        item_biases=np.zeros(len(known)),
        user_factors=model.user_factors.astype(np.float64),
        item_factors=model.item_factors.astype(np.float64),
        inner_users=_number(users, evidence.matrix.shape[0]),
        inner_items=_number(known, evidence.matrix.shape[1]),
    )


def _number(codes: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    numbers = np.full(count, -1, np.int32)
    numbers[codes] = np.arange(len(codes), dtype=np.int32)
    return numbers
