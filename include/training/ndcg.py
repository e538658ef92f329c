"""NDCG with binary relevance: of each user, the discounted hits of a list by the most that it could have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def discounts(places: int) -> Floats:
    """Return what a hit counts at each place of a list, ``1 / log2(rank + 1)``; shape (places,)."""
    return np.asarray(1 / np.log2(np.arange(2, places + 2)))


def normalize(gains: NDArray[Any], relevant: NDArray[Any], places: int) -> Floats:
    """Return the NDCG of lists.

    Args:
        gains: the sum of the discounts of each list's hits.
        relevant: how many items are relevant to each list's user, at least 1.
        places: of a list.
    """
    return np.asarray(gains / np.cumsum(discounts(places))[np.minimum(relevant, places) - 1])
