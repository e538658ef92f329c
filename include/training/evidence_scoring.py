"""The best items of every user by an item-item model: approximate scores decide which pairs get an exact one.

The score of an item is the sum of the weights that the user's items have for it. Sums in float32, of all items at once,
approximate it; `select_contenders` keeps every item that could be in a list; only those get the sum in float64 that
decides. A sum of n rounded products differs from the true one by at most (n + 1) u / (1 - (n + 1) u) times the sum of
their magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1), with u = 2^-24 in
float32; the margin is more than twice that. Every sum has the order of the item codes, so that neither the number of
threads nor the other users of a block change a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from include.training.contenders import rank_rows, select_contenders
from include.training.kernels import compiled
from include.training.scoring import SINGLE, Lists, recommend_in_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from include.training.evidence import Evidence
    from include.training.kernels import Array


class EvidenceScorer:
    """Scores the catalogue for users, without what they have."""

    def __init__(self, evidence: Evidence, weights: NDArray[np.float32], columns: NDArray[np.int32]) -> None:
        """Prepare the data that all users share.

        Args:
            evidence: of all users; items without a row in ``weights`` do not count.
            weights: of each item that anyone has, in the order of `Evidence.known`, for each column of the catalogue.
            columns: of each item code in the catalogue, -1 for none; their order decides between equal scores.
        """
        rows = np.full(len(columns), -1, np.int32)
        rows[evidence.known] = np.arange(len(evidence.known))
        matrix = evidence.matrix
        self._starts, self._values = matrix.indptr.astype(np.int64), matrix.data
        self._rows, self._columns = rows[matrix.indices], columns[matrix.indices]
        self._weights = weights
        self._largest = np.maximum(weights.max(axis=1, initial=0), -weights.min(axis=1, initial=0)).astype(np.float64)

    @property
    def is_finite(self) -> bool:
        """Return whether all weights are finite numbers."""
        return bool(np.isfinite(self._largest).all())

    def recommend(
        self, users: NDArray[np.int32], top_k: int, threads: int = 1, advance: Callable[[int], None] | None = None
    ) -> Lists:
        """Return the ``top_k`` best items of each user.

        Args:
            users: their codes in the evidence; -1 is a new user, for whom all scores are 0.
            top_k: the most items of a list.
            threads: number of blocks of users in progress at a time.
            advance: called after each block with its number of users.
        """
        width = self._weights.shape[1]

        def make_buffers(size: int) -> _Buffers:
            return _Buffers(size, width)

        def work(start: int, block: NDArray[np.int32], buffers: _Buffers) -> Lists:
            return self._recommend_block(start, block, min(top_k, width), buffers)

        return recommend_in_blocks(users, width, threads, make_buffers, work, advance)

    def _recommend_block(self, first_row: int, users: NDArray[np.int32], top_k: int, buffers: _Buffers) -> Lists:
        scores, counts = buffers.scores[: len(users)], buffers.counts[: len(users)]
        margins, unbounded = np.empty(len(users)), np.full(len(users), np.inf)
        add_weights(users, self._starts, self._rows, self._values, self._weights, self._largest, scores, margins)
        margins *= SINGLE
        end = select_contenders(
            scores,
            margins,
            -unbounded,
            unbounded,
            users,
            self._starts,
            self._columns,
            top_k,
            buffers.contenders,
            counts,
        )
        owners, items = np.repeat(np.arange(len(users), dtype=np.int32), counts), buffers.contenders[:end]
        exact = np.empty(end)
        add_exactly(users[owners], items, self._starts, self._rows, self._values, self._weights, exact)
        best = np.empty(end, np.int64)
        best = best[: rank_rows(exact, counts, top_k, best)]
        return Lists(owners[best] + np.int32(first_row), items[best], exact[best])


class _Buffers:
    """The arrays that one thread works with, block after block."""

    def __init__(self, rows: int, items: int) -> None:
        self.scores = np.empty((rows, items), np.float32)
        self.contenders = np.empty(rows * items, np.int32)
        self.counts = np.empty(rows, np.int64)


@compiled
def add_weights(
    users: Array,
    starts: Array,
    rows: Array,
    values: Array,
    weights: Array,
    largest: Array,
    scores: Array,
    margins: Array,
) -> None:
    """Write the approximate scores of users.

    Args:
        users: their codes.
        starts: where the items of each code start, and where the last one's end.
        rows: of each user's items, in ``weights``; -1 for none.
        values: of each user's items.
        weights: float32, a row per item and a column per item of the catalogue.
        largest: magnitude in each row of ``weights``.
        scores: gets a row per user, float32.
        margins: gets more than twice the error of each row, in units of 2^-23.
    """
    for number in range(len(users)):
        sums, magnitude, terms = scores[number], 0.0, 4
        sums[:] = 0
        if users[number] < 0:
            margins[number] = 0.0
            continue
        for index in range(starts[users[number]], starts[users[number] + 1]):
            if rows[index] < 0:
                continue
            value, of_item = np.float32(values[index]), weights[rows[index]]
            for column in range(len(sums)):
                sums[column] += value * of_item[column]
            magnitude += abs(values[index]) * largest[rows[index]]
            terms += 1
        margins[number] = terms * magnitude


@compiled
def add_exactly(
    users: Array, columns: Array, starts: Array, rows: Array, values: Array, weights: Array, scores: Array
) -> None:
    """Write the score of each pair of user and column of the catalogue, in float64; arguments as `add_weights`."""
    for pair in range(len(users)):
        total, user = 0.0, users[pair]
        for index in range(starts[user], starts[user + 1]) if user >= 0 else range(0):
            if rows[index] >= 0:
                total += values[index] * np.float64(weights[rows[index], columns[pair]])
        scores[pair] = total
