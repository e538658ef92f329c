"""The items of a row of approximate scores that can be among the best; compiled, as numpy cannot stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from include.training.kernels import compiled

if TYPE_CHECKING:
    from include.training.kernels import Array

# Scores that are compared at a time: enough to fill the vector registers, few enough to skip most of a row.
CHUNK = 64
# For every 16 requested items, 32 maxima of a row: a power of two, which fills the vector registers.
MAXIMA, ITEMS = 32, 16


@compiled
def select_contenders(
    scores: Array,
    margins: Array,
    low: Array,
    high: Array,
    users: Array,
    rated_starts: Array,
    rated_items: Array,
    top_k: int,
    columns: Array,
    counts: Array,
) -> int:
    """Find the items that can be among the ``top_k`` of each user, given approximate scores.

    The exact score of an item is between ``clip(score - margin)`` and ``clip(score + margin)``, and of equal
    scores the earlier item wins. So an item is out when ``top_k`` others are certainly better, or are certainly
    as good and come earlier in the catalogue. A first pass finds a score that ``top_k`` items reach. The second
    keeps the ``top_k`` highest lower bounds in a heap: an item whose upper bound does not exceed the lowest of them
    is out for good.

    Args:
        scores: float32, a row per user and a column per item of the catalogue; those of rated items become -inf.
        margins: of each row, more than the error of approximation and rounding.
        low: of each row, the lower bound to which scores are clipped.
        high: of each row, the upper bound.
        users: of each row, the code of the user in the ratings, or -1.
        rated_starts: where the rated items of each code start.
        rated_items: columns that each user has rated, -1 for items that are not in the catalogue.
        top_k: number of requested items.
        columns: gets the contenders' columns, user by user, each user's in the order of the catalogue.
        counts: gets the number of columns of each row.

    Returns:
        The number of columns.
    """
    end = 0
    heap = np.empty(top_k)
    maxima = np.empty((top_k + ITEMS - 1) // ITEMS * MAXIMA, np.float32)
    higher = np.empty(len(maxima), np.int32)
    for row in range(len(scores)):
        user, start, margin = users[row], end, margins[row]
        if user >= 0:
            for rated in rated_items[rated_starts[user] : rated_starts[user + 1]]:
                if rated >= 0:
                    scores[row, rated] = -np.inf
        reached = _clip(_score_reached(scores[row], top_k, maxima, higher) - margin, low[row], high[row])
        cut = _below(reached - margin) if reached > low[row] else np.float32(-np.inf)
        end = _scan(scores[row], margin, low[row], high[row], cut, heap, columns, start)
        end = _drop_beaten(columns, start, end, scores[row], margin, low[row], high[row], heap[0])
        counts[row] = end - start
    return end


@compiled
def rank_rows(scores: Array, counts: Array, top_k: int, best: Array) -> int:
    """Sort the highest scores of each row; of equal ones the earlier stays first.

    Args:
        scores: float64 without NaN, row after row.
        counts: number of scores of each row.
        top_k: number of scores to keep of a row.
        best: gets their indices in ``scores``, row after row, the highest first.

    Returns:
        The number of indices.
    """
    start, end = 0, 0
    for count in counts:
        first = end
        for index in range(start, start + count):
            if end < first + top_k:
                end += 1
            elif scores[index] <= scores[best[end - 1]]:
                continue
            hole = end - 1
            while hole > first and scores[best[hole - 1]] < scores[index]:
                best[hole] = best[hole - 1]
                hole -= 1
            best[hole] = index
        start += count
    return end


@compiled
def _score_reached(scores: Array, count: int, maxima: Array, higher: Array) -> Any:
    """Return a score that ``count`` items reach, near the highest such, from the maxima of disjoint groups of items.

    The last two arguments are scratch space.
    """
    maxima[:] = -np.inf
    whole = len(scores) - len(scores) % len(maxima)
    for first in range(0, whole, len(maxima)):
        for index in range(len(maxima)):
            score = scores[first + index]
            maxima[index] = score if score > maxima[index] else maxima[index]
    for index in range(len(scores) - whole):
        maxima[index] = max(maxima[index], scores[whole + index])
    higher[:] = 0
    for maximum in maxima:
        for index in range(len(maxima)):
            higher[index] += np.int32(maximum > maxima[index])
    lowest = np.float32(np.inf)
    for index in range(len(maxima)):
        if higher[index] < count:
            lowest = min(lowest, maxima[index])
    return lowest


@compiled
def _scan(
    scores: Array, margin: float, low: float, high: float, cut: Any, heap: Array, columns: Array, end: int
) -> int:
    """Append the columns of a row that earlier ones do not beat; return where they end.

    Scores up to ``cut`` are skipped; ``cut`` rises as higher scores come up.
    """
    heap[:] = -np.inf
    for first in range(0, len(scores), CHUNK):
        chunk = scores[first : first + CHUNK]
        if not _any_above(chunk, cut):
            continue
        for index in range(len(chunk)):
            score = np.float64(chunk[index])
            if chunk[index] <= cut or _clip(score + margin, low, high) <= heap[0]:
                continue
            columns[end] = first + index
            end += 1
            lower = _clip(score - margin, low, high)
            if lower > heap[0]:
                _replace_lowest(heap, lower)
                cut = max(cut, _below(heap[0] - margin)) if heap[0] < high else np.float32(np.inf)
    return end


@compiled
def _drop_beaten(
    columns: Array, start: int, end: int, scores: Array, margin: float, low: float, high: float, bound: float
) -> int:
    """Keep only the columns that may still reach ``bound``, without gaps; return where they end."""
    kept = start
    for index in range(start, end):
        if _clip(np.float64(scores[columns[index]]) + margin, low, high) >= bound:
            columns[kept] = columns[index]
            kept += 1
    return kept


@compiled
def _any_above(scores: Array, bound: float) -> bool:
    is_above = False
    for index in range(len(scores)):
        is_above |= scores[index] > bound
    return is_above


@compiled
def _replace_lowest(heap: Array, value: float) -> None:
    """Replace the lowest value of a binary heap, its first, by ``value``."""
    parent, child = 0, 1
    while child < len(heap):
        if child + 1 < len(heap) and heap[child + 1] < heap[child]:
            child += 1
        if value <= heap[child]:
            break
        heap[parent] = heap[child]
        parent, child = child, 2 * child + 1
    heap[parent] = value


@compiled
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@compiled
def _below(value: float) -> Any:
    """Return the float32 next below the rounded ``value``."""
    return np.nextafter(np.float32(value), np.float32(-np.inf))
