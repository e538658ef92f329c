"""What users took, as a sparse matrix: the evidence of recipes that predict no ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from include.training.trainsets import Ratings


@dataclass(frozen=True)
class Evidence:
    """A row per user code and a column per item code.

    Attributes:
        matrix: the weight of each pair, float64 in CSR format; columns ascend in each row. A weight of 0, as of a
            purchase that was returned, says nothing, but the item is not recommended to that user.
        popularity: number of users with a positive weight for each item; shape (items,).
    """

    matrix: Any
    popularity: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.int64]:
        """Return the codes of the items that anyone took, in ascending order."""
        return np.flatnonzero(self.popularity)

    @property
    def silent_users(self) -> NDArray[np.bool_]:
        """Return which user codes have no positive weight, so that nothing is known about them."""
        taken = np.add.reduceat(np.append(self.matrix.data, 0.0), self.matrix.indptr[:-1])
        return np.asarray((np.diff(self.matrix.indptr) == 0) | (taken == 0))


def collect_evidence(ratings: Ratings, *, implicit: bool) -> Evidence:
    """Return what users took.

    Args:
        ratings: all of them. A pair that is there more often counts once, or with the sum of its counts.
        implicit: whether values are counts, of which the weight is `weigh_counts`; otherwise they are ratings, and
            every pair has the weight 1: what a user chose to rate says more about the next choice than how.
    """
    shape = len(ratings.user_ids), len(ratings.item_ids)
    values = ratings.values if implicit else np.ones(len(ratings))
    matrix = sparse.csr_matrix((values, (ratings.users, ratings.items)), shape)  # adds the values of equal pairs
    matrix.sort_indices()
    matrix.data = weigh_counts(matrix.data) if implicit else np.ones(matrix.nnz)
    popularity = np.bincount(matrix.indices[matrix.data > 0], minlength=shape[1])
    return Evidence(matrix, popularity)


def weigh_counts(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of each count: ``log2(1 + count)``, so that one counts 1; none below 0.

    Counts of purchases or plays differ by orders of magnitude, and the second says less than the first: the logarithm
    is the second scheme of Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008.
    """
    return np.asarray(np.log2(1 + np.maximum(counts, 0)))
