"""The best items of every user: approximate scores decide which pairs get scikit-surprise's own score.

The stock engine scores every pair of user and item in Python. Here float32 matrix products approximate all scores of a
block of users at once; ``select_contenders`` keeps every item that could be in a list; only those, about a dozen per
user, get the exact score that is written. The lists are the same as if all had been scored exactly.

Why no item is lost. Let u = 2^-24 be the rounding unit of float32, and n = factors + 1 the terms of a sum. Whatever
the order of additions, the computed sum of n products of rounded numbers differs from the true one by at most
(n + 2) u / (1 - (n + 2) u) times the sum of their magnitudes (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1, with two more roundings for the operands), and that sum is at most
|p| |q| + |bias| by Cauchy and Schwarz. The margin is more than twice that, which also covers underflow and, many
times over, the roundings in float64 of scikit-surprise's own score. Numbers that are too large for this argument, such
as diverged factors, get an infinite margin: all their pairs are scored.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

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

Buffers = TypeVar("Buffers")

# Scores of a block: many, as BLAS rearranges the factors of all items for each block.
BLOCK_SCORES = 1 << 23
# Users of a block: more do not fit into the caches, and are not faster.
FEWEST_ROWS, MOST_ROWS = 32, 256
# Products of smaller numbers are far from the limits of float32.
LARGEST = 1e15
SINGLE, DOUBLE = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)
# Even a thousandth of TINY * SINGLE is far above the loss of sums by underflow in float32.
TINY = 1e-9


@dataclass(frozen=True)
class Lists:
    """The best items of each user, best first, user after user.

    Attributes:
        users: rows in the table of users, int32.
        items: positions in the catalogue, int32.
        scores: scikit-surprise's predictions, float64.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: Floats


class Scorer:
    """Scores the catalogue for users, without what they have rated."""

    def __init__(
        self, ratings: Ratings, factors: Factors, catalogue: pd.Index[Any], *, predicts_ratings: bool = True
    ) -> None:
        """Prepare the data that all users share.

        Args:
            ratings: all of them, also those that were held out: no user is recommended an item that they have rated.
            factors: learned.
            catalogue: distinct item ids; their order decides between equal scores.
            predicts_ratings: whether scores are clipped to the ratings' bounds.
        """
        self._factors = factors
        self._bounds = (float(ratings.lowest), float(ratings.highest)) if predicts_ratings else (-np.inf, np.inf)
        codes = ratings.item_ids.get_indexer(catalogue)
        self._inner_items = _look_up(factors.inner_items, codes)
        columns = np.full(len(ratings.item_ids), -1, np.int32)
        columns[codes[codes >= 0]] = np.flatnonzero(codes >= 0)
        rows, self._rated_starts = group_rows(ratings.users, len(ratings.user_ids))
        self._rated_items = columns[ratings.items[rows]]
        self._weights, self._largest_norm, self._largest_bias = self._item_weights()

    def recommend(
        self, users: NDArray[np.int32], top_k: int, threads: int = 1, advance: Callable[[int], None] | None = None
    ) -> Lists:
        """Return the ``top_k`` best items of each user.

        Args:
            users: their codes in the ratings; -1 is a new user, who gets items by mean and item bias.
            top_k: the most items of a list.
            threads: number of blocks of users in progress at a time.
            advance: called after each block with its number of users.
        """
        items = self._weights.shape[1]

        def make_buffers(size: int) -> _Buffers:
            return _Buffers(size, self._weights.shape)

        def work(start: int, block: NDArray[np.int32], buffers: _Buffers) -> Lists:
            with np.errstate(over="ignore", invalid="ignore"):  # _approximate does not trust overflows
                return self._recommend_block(start, block, min(top_k, items), buffers)

        return recommend_in_blocks(users, items, threads, make_buffers, work, advance)

    def _item_weights(self) -> tuple[NDArray[np.float32], float, float]:
        """Return the factors and biases of the catalogue's items, and the largest norm and bias of an item."""
        known = np.flatnonzero(self._inner_items >= 0)
        inner = self._inner_items[known]
        weights = np.zeros((self._factors.item_factors.shape[1] + 1, len(self._inner_items)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            weights[:-1, known] = self._factors.item_factors[inner].T
            weights[-1, known] = self._factors.item_biases[inner]
            largest_norm = _norms(self._factors.item_factors).max(initial=0.0)
        return weights, float(largest_norm), float(np.abs(self._factors.item_biases).max(initial=0.0))

    def _recommend_block(self, first_row: int, users: NDArray[np.int32], top_k: int, buffers: _Buffers) -> Lists:
        inner = _look_up(self._factors.inner_users, users)
        counts = buffers.counts[: len(users)]
        end = select_contenders(
            *self._approximate(inner, buffers),
            users,
            self._rated_starts,
            self._rated_items,
            top_k,
            buffers.contenders,
            counts,
        )
        rows, items = np.repeat(np.arange(len(users), dtype=np.int32), counts), buffers.contenders[:end]
        scores = clip(estimate(self._factors, inner[rows], self._inner_items[items]), *self._bounds)
        best = np.empty(end, np.int64)
        best = best[: rank_rows(scores, counts, top_k, best)]
        return Lists(rows[best] + np.int32(first_row), items[best], scores[best])

    def _approximate(
        self, inner: NDArray[np.int32], buffers: _Buffers
    ) -> tuple[NDArray[np.float32], Floats, Floats, Floats]:
        """Return scores without mean and user bias, their margins, and the bounds that they are clipped to."""
        known, (lowest, highest) = inner >= 0, self._bounds
        factors = np.zeros((len(inner), self._factors.user_factors.shape[1]))
        factors[known] = self._factors.user_factors[inner[known]]
        base = np.full(len(inner), self._factors.mean)
        base[known] += self._factors.user_biases[inner[known]]
        norms, scores = _norms(factors), buffers.scores[: len(inner)]
        limits = [abs(bound) for bound in self._bounds if np.isfinite(bound)]
        largest = (norms.max(), np.abs(base).max(), self._largest_norm, self._largest_bias, *limits)
        if not np.max(largest) < LARGEST:
            scores[:] = 0
            bounds = np.zeros(len(inner)), np.full(len(inner), float(lowest < highest))
            return scores, np.full(len(inner), np.inf), *bounds
        operands = buffers.operands[: len(inner)]
        operands[:, :-1] = factors
        np.matmul(operands, self._weights, out=scores)
        terms = len(self._weights)
        margins = (terms + 8) * SINGLE * (norms * self._largest_norm + self._largest_bias + TINY)
        margins += 8 * DOUBLE * (np.abs(base) + sum(limits))
        return scores, margins, lowest - base, highest - base


def recommend_in_blocks(
    users: NDArray[np.int32],
    items: int,
    threads: int,
    make_buffers: Callable[[int], Buffers],
    work: Callable[[int, NDArray[np.int32], Buffers], Lists],
    advance: Callable[[int], None] | None,
) -> Lists:
    """Return the lists of users, block after block; the size of blocks does not depend on the number of threads.

    Args:
        users: their codes.
        items: of the catalogue.
        threads: the most blocks in progress at a time.
        make_buffers: makes what one thread works with, for a number of users.
        work: returns the lists of a block: its first row, its users, and buffers.
        advance: called after each block with its number of users.
    """
    if not len(users) or not items:
        return _joined([])
    size = min(len(users), max(FEWEST_ROWS, min(BLOCK_SCORES // items, MOST_ROWS)))
    # A thread costs more than the scores of a fraction of a block.
    threads = max(1, min(threads, len(users) * items // BLOCK_SCORES))
    free_buffers = SimpleQueue[Any]()
    for _ in range(threads):
        free_buffers.put(make_buffers(size))

    def work_on(start: int) -> Lists:
        buffers = free_buffers.get()
        try:
            return work(start, users[start : start + size], buffers)
        finally:
            free_buffers.put(buffers)

    blocks = []
    for block in _in_order(work_on, range(0, len(users), size), threads):
        blocks.append(block)
        if advance is not None:
            advance(min(size, len(users) - size * (len(blocks) - 1)))
    return _joined(blocks)


class _Buffers:
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
    """Return the number of each code, -1 for the code -1."""
    return np.where(codes >= 0, numbers[codes], np.int32(-1))


def _norms(factors: Floats) -> Floats:
    norms: Floats = np.sqrt(np.vecdot(factors, factors))
    return norms


def _in_order(work: Callable[[int], Lists], starts: range, threads: int) -> Iterator[Lists]:
    if threads == 1:  # without another thread, whose memory would have to be allocated
        yield from map(work, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, starts)


def _joined(blocks: list[Lists]) -> Lists:
    empty = Lists(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    parts = [empty, *blocks]
    return Lists(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
