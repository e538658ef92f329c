"""Which items of a row of approximate scores can be among the best: compiled, as no vector operation stops early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from include.training.kernels import compiled

if TYPE_CHECKING:
    from include.training.kernels import Array

# Scores that are compared at a time: enough to fill the vector registers, few enough to skip most of a row.
CHUNK = 64
# Maxima of a row: a power of two, so that it fills vector registers, for as many of the wanted items.
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
    found: Array,
    counts: Array,
) -> int:
    """Find the items that can be among the ``top_k`` of each user, given approximate scores.

    The exact score of an item lies between ``clip(score - margin)`` and ``clip(score + margin)``, and of equal
    scores the earlier item wins. So an item is out when ``top_k`` others are certainly better, or are certainly
    as good and stand earlier in the catalogue. A first pass finds a score that ``top_k`` items reach. The second
    keeps the ``top_k`` highest lower bounds in a heap: an item whose upper bound does not exceed the lowest of them
    is out for good.

    Args:
        scores: float32, a row per user and a column per item of the catalogue; those of rated items become -inf.
        margins: of each row, more than approximation and rounding can amount to.
        low: of each row, what a score is clipped to from below.
        high: of each row, what it is clipped to from above.
        users: of each row, the code of the user in the ratings, or -1.
        rated_starts: where the rated items of each code start.
        rated_items: columns that each user has rated, -1 for what is not in the catalogue.
        top_k: how many items are wanted.
        found: gets the columns, user by user, each user's in the order of the catalogue.
        counts: gets how many columns each row has.

    Returns:
        How many columns were found.
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
        reached = _clip(_reached(scores[row], top_k, maxima, higher) - margin, low[row], high[row])
        cut = _below(reached - margin) if reached > low[row] else np.float32(-np.inf)
        end = _scan(scores[row], margin, low[row], high[row], cut, heap, found, start)
        end = _drop_beaten(found, start, end, scores[row], margin, low[row], high[row], heap[0])
        counts[row] = end - start
    return end


@compiled
def rank_rows(scores: Array, counts: Array, top_k: int, best: Array) -> int:
    """Sort the highest scores of each row; of equal ones the earlier stays first.

    Args:
        scores: float64 without NaN, row after row.
        counts: how many scores each row has.
        top_k: how many are wanted of a row.
        best: gets their places in ``scores``, row after row, the highest first.

    Returns:
        How many places there are.
    """
    start, end = 0, 0
    for count in counts:
        first = end
        for place in range(start, start + count):
            if end < first + top_k:
                end += 1
            elif scores[place] <= scores[best[end - 1]]:
                continue
            hole = end - 1
            while hole > first and scores[best[hole - 1]] < scores[place]:
                best[hole] = best[hole - 1]
                hole -= 1
            best[hole] = place
        start += count
    return end


@compiled
def _reached(scores: Array, count: int, maxima: Array, higher: Array) -> Any:
    """Return a score that ``count`` items reach, near the highest such: of some maxima, each of other items.

    The last two arguments are scratch space.
    """
    maxima[:] = -np.inf
    whole = len(scores) - len(scores) % len(maxima)
    for first in range(0, whole, len(maxima)):
        for place in range(len(maxima)):
            score = scores[first + place]
            maxima[place] = score if score > maxima[place] else maxima[place]
    for place in range(len(scores) - whole):
        maxima[place] = max(maxima[place], scores[whole + place])
    higher[:] = 0
    for maximum in maxima:
        for place in range(len(maxima)):
            higher[place] += np.int32(maximum > maxima[place])
    lowest = np.float32(np.inf)
    for place in range(len(maxima)):
        if higher[place] < count:
            lowest = min(lowest, maxima[place])
    return lowest


@compiled
def _scan(scores: Array, margin: float, low: float, high: float, cut: Any, heap: Array, found: Array, end: int) -> int:
    """Append the columns of a row that are not beaten by what stands before them; return where they end.

    No score up to ``cut`` matters, nor does what a higher one, which follows, leaves behind.
    """
    heap[:] = -np.inf
    for first in range(0, len(scores), CHUNK):
        chunk = scores[first : first + CHUNK]
        if not _any_above(chunk, cut):
            continue
        for place in range(len(chunk)):
            score = np.float64(chunk[place])
            if chunk[place] <= cut or _clip(score + margin, low, high) <= heap[0]:
                continue
            found[end] = first + place
            end += 1
            lower = _clip(score - margin, low, high)
            if lower > heap[0]:
                _replace_lowest(heap, lower)
                cut = max(cut, _below(heap[0] - margin)) if heap[0] < high else np.float32(np.inf)
    return end


@compiled
def _drop_beaten(
    found: Array, start: int, end: int, scores: Array, margin: float, low: float, high: float, bound: float
) -> int:
    """Close up the columns that may still reach ``bound``; return where they end."""
    kept = start
    for place in range(start, end):
        if _clip(np.float64(scores[found[place]]) + margin, low, high) >= bound:
            found[kept] = found[place]
            kept += 1
    return kept


@compiled
def _any_above(scores: Array, bound: float) -> bool:
    found = False
    for place in range(len(scores)):
        found |= scores[place] > bound
    return found


@compiled
def _replace_lowest(heap: Array, value: float) -> None:
    """Put ``value`` in the place of the lowest value of a binary heap, which stands first."""
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
    """Return the float32 next below what ``value`` is rounded to."""
    return np.nextafter(np.float32(value), np.float32(-np.inf))
