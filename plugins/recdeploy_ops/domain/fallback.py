"""The ranking for users who are not in the model, where the operator gives none: popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Popularity:
    """How often an item was recommended, or rated.

    Attributes:
        item: its id.
        count: lists that name it, or ratings of it.
        rating: the mean of the ratings there.
    """

    item: str
    count: int
    rating: float


def rank_by_popularity(items: Iterable[Popularity], length: int) -> list[tuple[str, float]]:
    """Return the ``length`` most popular items with their mean ratings, most popular first.

    Equal counts are ordered by the mean rating, then by id, so that the order never depends on the input's.
    """
    ranked = sorted(items, key=lambda item: (-item.count, -item.rating, item.item))
    return [(item.item, item.rating) for item in ranked[:length]]
