"""Matrix factors, and the scores that ``surprise.SVD`` computes from them, bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.integer[Any]]

# Pairs whose factors are gathered at a time: as many as fit into a processor's own cache.
BLOCK = 1 << 8


@dataclass(frozen=True)
class Hyperparameters:
    """Of ``surprise.SVD``, with its defaults."""

    factors: int = 100
    epochs: int = 20
    learning_rate: float = 0.005
    regularization: float = 0.02

    def for_surprise(self) -> dict[str, Any]:
        """Return them as ``surprise.SVD`` names them."""
        return {
            "n_factors": self.factors,
            "n_epochs": self.epochs,
            "lr_all": self.learning_rate,
            "reg_all": self.regularization,
        }


@dataclass(frozen=True)
class Factors:
    """The factors and biases that SGD learns.

    Attributes:
        mean: of the ratings that were trained on.
        user_biases: surprise's ``bu``, one per inner user id.
        item_biases: ``bi``, one per inner item id.
        user_factors: ``pu``, a row per inner user id.
        item_factors: ``qi``, a row per inner item id.
        inner_users: the inner id of each user code, -1 for a user who was not trained on.
        inner_items: the inner id of each item code, likewise.
    """

    mean: np.float64
    user_biases: Floats
    item_biases: Floats
    user_factors: Floats
    item_factors: Floats
    inner_users: NDArray[np.int32]
    inner_items: NDArray[np.int32]

    def learned(self) -> tuple[Floats, ...]:
        """Return all biases and factors."""
        return self.user_biases, self.item_biases, self.user_factors, self.item_factors


def estimate(factors: Factors, users: Integers, items: Integers) -> Floats:
    """Return what ``surprise.SVD.estimate`` returns for each pair: mean + user bias + item bias + dot product.

    The terms are added in the same order, and the dot product equals ``np.dot``'s.

    Args:
        factors: learned.
        users: inner user ids, -1 for an unknown user.
        items: inner item ids, likewise.
    """
    known_user, known_item = users >= 0, items >= 0
    estimates = np.full(len(users), factors.mean)
    estimates[known_user] += factors.user_biases[users[known_user]]
    estimates[known_item] += factors.item_biases[items[known_item]]
    known = np.flatnonzero(known_user & known_item)
    for start in range(0, len(known), BLOCK):
        pairs = known[start : start + BLOCK]
        of_items = factors.item_factors.take(items[pairs], axis=0)
        of_users = factors.user_factors.take(users[pairs], axis=0)
        estimates[pairs] += np.vecdot(of_items, of_users)
    return estimates


def clip(estimates: Floats, lowest: float, highest: float) -> Floats:
    """Clip as ``surprise.AlgoBase.predict`` does, by Python's ``min`` and ``max``: NaN becomes the highest."""
    estimates = np.where(estimates < highest, estimates, highest)
    return np.where(estimates > lowest, estimates, lowest)
