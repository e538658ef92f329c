"""The best items of every user: approximate scores decide which pairs are scored as scikit-surprise does.

Stock scores every pair of user and item in Python. Here float32 matrix products approximate all scores of a block
of users at once; ``select_contenders`` keeps every item that could be in a list; only those, about a dozen per
user, get the score that is written. The lists are the same as if all had been scored.

Why no item is lost. Let u = 2^-24 be the rounding unit of float32, and n = factors + 1 the terms of a sum. Whatever
the order of additions, the computed sum of n products of rounded numbers differs from the true one by at most
(n + 2) u / (1 - (n + 2) u) times the sum of their magnitudes (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1, with two more roundings for the operands), and that sum is at most
|p| |q| + |bias| by Cauchy and Schwarz. The margin takes twice that and more, which also covers underflow and, many
times over, the roundings in float64 of scikit-surprise's own score. What is too large for that reasoning, such as
factors that have diverged, gets an infinite margin: all its pairs are scored.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from include.training.contenders import rank_rows, select_contenders
from include.training.factors import clip, estimate
from include.training.kernels import group_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from include.training.factors import Factors
    from include.training.trainsets import Ratings

    Floats = NDArray[np.float64]
    Integers = NDArray[np.integer[Any]]

# Scores of a block: many, as BLAS rearranges the factors of all items again for each.
BLOCK_SCORES = 1 << 23
# Users of a block: more take memory that is not in the caches, and are not faster.
FEWEST_ROWS, MOST_ROWS = 32, 256
# Products of such numbers are far from the limits of float32.
LARGEST = 1e15
SINGLE, DOUBLE = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)
# Times a thousandth of SINGLE, still far above what sums lose where float32 underflows.
TINY = 1e-9


@dataclass(frozen=True)
class Lists:
    """The best items of each user, best first, user after user.

    Attributes:
        users: rows in the table of users, int32.
        items: places in the catalogue, int32.
        scores: what scikit-surprise predicts, float64.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: Floats


class Scorer:
    """Scores the catalogue for users, without what they have rated."""

    def __init__(self, ratings: Ratings, factors: Factors, catalogue: pd.Index[Any]) -> None:
        """Prepare what all users share.

        Args:
            ratings: all that is known, also what was not trained on: no user is recommended what they have rated.
            factors: what was learned.
            catalogue: distinct item ids; their order decides between equal scores.
        """
        self._factors = factors
        self._bounds = float(ratings.lowest), float(ratings.highest)
        codes = ratings.item_ids.get_indexer(catalogue)
        self._inner_items = _look_up(factors.inner_items, codes)
        places = np.full(len(ratings.item_ids), -1, np.int32)
        places[codes[codes >= 0]] = np.flatnonzero(codes >= 0)
        rows, self._rated_starts = group_rows(ratings.users, len(ratings.user_ids))
        self._rated_items = places[ratings.items[rows]]
        self._weights, self._largest_norm, self._largest_bias = self._item_weights()

    def recommend(
        self, users: NDArray[np.int32], top_k: int, threads: int = 1, advance: Callable[[int], None] | None = None
    ) -> Lists:
        """Return the ``top_k`` best items of each user.

        Args:
            users: their codes in the ratings; -1 is someone new, who gets items by mean and item bias.
            top_k: the most items of a list.
            threads: how many blocks of users are worked on at a time.
            advance: told after each block how many users more are done.
        """
        items = self._weights.shape[1]
        if not len(users) or not items:
            return _joined([])
        size = min(len(users), max(FEWEST_ROWS, min(BLOCK_SCORES // items, MOST_ROWS)))
        # Fewer scores than a block's cost less than another thread.
        threads = max(1, min(threads, len(users) * items // BLOCK_SCORES))
        desks = SimpleQueue[_Desk]()
        for _ in range(threads):
            desks.put(_Desk(size, self._weights.shape))

        def work(start: int) -> Lists:
            desk = desks.get()
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not trusted, see _approximate
                    return self._recommend_block(start, users[start : start + size], min(top_k, items), desk)
            finally:
                desks.put(desk)

        blocks = []
        for block in _in_order(work, range(0, len(users), size), threads):
            blocks.append(block)
            if advance is not None:
                advance(min(size, len(users) - size * (len(blocks) - 1)))
        return _joined(blocks)

    def _item_weights(self) -> tuple[NDArray[np.float32], float, float]:
        """Return what a user's factors and a one are multiplied with, and the largest norm and bias of an item."""
        known = np.flatnonzero(self._inner_items >= 0)
        inner = self._inner_items[known]
        weights = np.zeros((self._factors.item_factors.shape[1] + 1, len(self._inner_items)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            weights[:-1, known] = self._factors.item_factors[inner].T
            weights[-1, known] = self._factors.item_biases[inner]
            largest_norm = _norms(self._factors.item_factors).max(initial=0.0)
        return weights, float(largest_norm), float(np.abs(self._factors.item_biases).max(initial=0.0))

    def _recommend_block(self, first_row: int, users: NDArray[np.int32], top_k: int, desk: _Desk) -> Lists:
        inner = _look_up(self._factors.inner_users, users)
        counts = desk.counts[: len(users)]
        end = select_contenders(
            *self._approximate(inner, desk),
            users,
            self._rated_starts,
            self._rated_items,
            top_k,
            desk.contenders,
            counts,
        )
        rows, items = np.repeat(np.arange(len(users), dtype=np.int32), counts), desk.contenders[:end]
        scores = clip(estimate(self._factors, inner[rows], self._inner_items[items]), *self._bounds)
        best = np.empty(end, np.int64)
        best = best[: rank_rows(scores, counts, top_k, best)]
        return Lists(rows[best] + np.int32(first_row), items[best], scores[best])

    def _approximate(self, inner: NDArray[np.int32], desk: _Desk) -> tuple[NDArray[np.float32], Floats, Floats, Floats]:
        """Return scores without mean and user bias, their margins, and the bounds that they are clipped to."""
        known, (lowest, highest) = inner >= 0, self._bounds
        factors = np.zeros((len(inner), self._factors.user_factors.shape[1]))
        factors[known] = self._factors.user_factors[inner[known]]
        base = np.full(len(inner), self._factors.mean)
        base[known] += self._factors.user_biases[inner[known]]
        norms, scores = _norms(factors), desk.scores[: len(inner)]
        largest = (norms.max(), np.abs(base).max(), self._largest_norm, self._largest_bias, abs(lowest), abs(highest))
        if not np.max(largest) < LARGEST:
            scores[:] = 0
            bounds = np.zeros(len(inner)), np.full(len(inner), float(lowest < highest))
            return scores, np.full(len(inner), np.inf), *bounds
        operands = desk.operands[: len(inner)]
        operands[:, :-1] = factors
        np.matmul(operands, self._weights, out=scores)
        terms = len(self._weights)
        margins = (terms + 8) * SINGLE * (norms * self._largest_norm + self._largest_bias + TINY)
        margins += 8 * DOUBLE * (np.abs(base) + abs(lowest) + abs(highest))
        return scores, margins, lowest - base, highest - base


class _Desk:
    """The arrays that one thread works with, block after block."""

    def __init__(self, rows: int, shape: tuple[int, ...]) -> None:
        terms, items = shape
        self.operands = np.ones((rows, terms), np.float32)
        self.scores = np.empty((rows, items), np.float32)
        self.contenders = np.empty(rows * items, np.int32)
        self.counts = np.empty(rows, np.int64)


def usable_cpus() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _look_up(numbers: NDArray[np.int32], codes: Integers) -> NDArray[np.int32]:
    """Return the number of each code, -1 where the code is -1."""
    return np.where(codes >= 0, numbers[codes], np.int32(-1))


def _norms(factors: Floats) -> Floats:
    norms: Floats = np.sqrt(np.vecdot(factors, factors))
    return norms


def _in_order(work: Callable[[int], Lists], starts: range, threads: int) -> Iterator[Lists]:
    if threads == 1:  # in this one, whose memory is there already
        yield from map(work, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, starts)


def _joined(blocks: list[Lists]) -> Lists:
    nothing = Lists(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    parts = [nothing, *blocks]
    return Lists(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
