"""The catalogue by popularity, and ratings for recipes that predict none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from include.training.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from include.training.evidence import Evidence
    from include.training.kernels import Array
    from include.training.scoring import Lists
    from include.training.trainsets import Ratings

    Floats = NDArray[np.float64]
    Scale = tuple[float, float]


class Ranker(Protocol):
    """A trained model that lists the best items of users."""

    def recommend(
        self, users: NDArray[np.int32], top_k: int, threads: int = 1, advance: Callable[[int], None] | None = None
    ) -> Lists:
        """Return the ``top_k`` best items of each user.

        Args:
            users: their codes in the ratings; -1 is a new user.
            top_k: the most items of a list.
            threads: number of blocks of users in progress at a time.
            advance: called after each block with its number of users.
        """
        ...


@dataclass(frozen=True)
class Shelf:
    """The items that can be listed, the most popular first, so that the more popular of equal scores wins.

    Of the items that nobody took, which no model can tell apart, only as many are here as a list has places.

    Attributes:
        positions: of each item in the catalogue, int32.
        shares: of the users who took each item.
        columns: the item's place here, by item code; -1 for none, int32.
    """

    positions: NDArray[np.int32]
    shares: Floats
    columns: NDArray[np.int32]

    @classmethod
    def arrange(cls, evidence: Evidence, item_ids: pd.Index[Any], catalogue: pd.Index[Any], longest: int) -> Shelf:
        """Arrange a catalogue.

        Args:
            evidence: says what is popular.
            item_ids: of each item code.
            catalogue: distinct item ids; their order decides between items that are equally popular.
            longest: the most places of a list.
        """
        codes = item_ids.get_indexer(catalogue)
        counts = np.where(codes >= 0, evidence.popularity[codes], 0) if len(item_ids) else np.zeros(len(codes), int)
        positions = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts) + longest].astype(np.int32)
        columns = np.full(len(item_ids), -1, np.int32)
        here = codes[positions]
        columns[here[here >= 0]] = np.flatnonzero(here >= 0)
        return cls(positions, counts[positions] / max(evidence.matrix.shape[0], 1), columns)


class ShelfRanker:
    """Lists of a model that scores the items of a shelf, with ratings on the shop's scale.

    A user of whom nothing is known gets the most popular items: all their scores are 0.
    """

    def __init__(self, scorer: Ranker, shelf: Shelf, evidence: Evidence, scale: Scale) -> None:
        """Keep what is needed.

        Args:
            scorer: lists columns of the shelf.
            shelf: the items.
            evidence: of all users.
            scale: lowest and highest rating.
        """
        self._scorer, self._shelf, self._scale = scorer, shelf, scale
        self._silent = np.append(evidence.silent_users, True)  # the last is the new user's

    def recommend(
        self, users: NDArray[np.int32], top_k: int, threads: int = 1, advance: Callable[[int], None] | None = None
    ) -> Lists:
        """Return the ``top_k`` best items of each user; see `Ranker`."""
        lists = self._scorer.recommend(users, top_k, threads, advance)
        is_silent = self._silent[users[lists.users]]
        scores = np.where(is_silent, self._shelf.shares[lists.items], lists.scores)
        return replace(lists, items=self._shelf.positions[lists.items], scores=rate(lists.users, scores, self._scale))


def scale_of(ratings: Ratings, *, implicit: bool) -> Scale:
    """Return the lowest and the highest rating: those of the shop; 0 and 1 where counts stand for ratings.

    A shop whose ratings are all the same has a scale from 0 to them.
    """
    lowest, highest = float(ratings.lowest), float(ratings.highest)
    if implicit or lowest == highest == 0:
        return 0.0, 1.0
    return (lowest, highest) if lowest < highest else (min(lowest, 0.0), max(highest, 0.0))


def rate(users: NDArray[np.int32], scores: Floats, scale: Scale) -> Floats:
    """Return a rating for each score: ``low + (high - low) * (1 + s / (1 + |s|)) / 2``.

    It rises with the score, so that it falls along a list, and stays between the bounds: 0 becomes the middle of the
    scale, 1 three quarters of it. Where rounding would make two scores equal, the later gets the next lower number.

    Args:
        users: of each score, user after user.
        scores: of each user in descending order.
        scale: lowest and highest rating.
    """
    low, high = scale
    ratings: Floats = low + (high - low) * (1 + scores / (1 + np.abs(scores))) / 2
    separate(users, scores, ratings)
    return ratings


@compiled
def separate(users: Array, scores: Array, ratings: Array) -> None:
    """Lower ratings that do not fall where the scores of a user do."""
    for row in range(1, len(ratings)):
        if users[row] != users[row - 1]:
            continue
        before = ratings[row - 1]
        bound = np.nextafter(before, -np.inf) if scores[row] < scores[row - 1] else before
        ratings[row] = min(ratings[row], bound)
