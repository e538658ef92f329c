"""Which items of a row of approximate scores can be among the best: compiled, as no vector operation stops early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from include.training.kernels import compiled

if TYPE_CHECKING:
    from include.training.kernels import Array

# Scores that are compared at a time: enough to fill the vector registers, few enough to skip most of a row.
CHUNK = 128


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
    stamps: Array,
    stamp: int,
    found: Array,
    counts: Array,
) -> int:
    """Find the items that can be among the ``top_k`` of each user, given approximate scores.

    The exact score of an item lies between ``clip(score - margin)`` and ``clip(score + margin)``, and of equal
    scores the earlier item wins. So an item is out when ``top_k`` others are certainly better, or are certainly
    as good and stand earlier in the catalogue. One pass keeps the ``top_k`` highest lower bounds in a heap: an
    item whose upper bound does not exceed the lowest of them is out for good.

    Args:
        scores: float32, a row per user and a column per item of the catalogue.
        margins: of each row, more than approximation and rounding can amount to.
        low: of each row, what a score is clipped to from below.
        high: of each row, what it is clipped to from above.
        users: of each row, the code of the user in the ratings, or -1.
        rated_starts: where the rated items of each code start.
        rated_items: columns that each user has rated, -1 for what is not in the catalogue.
        top_k: how many items are wanted.
        stamps: scratch space, an integer per item; says who has rated it.
        stamp: a number that, with those of the following rows, was not in ``stamps`` before.
        found: gets the columns, user by user, each user's in the order of the catalogue.
        counts: gets how many columns each row has.

    Returns:
        How many columns were found.
    """
    end = 0
    heap = np.empty(top_k)
    for row in range(len(scores)):
        user, mine = users[row], stamp + row
        if user >= 0:
            for rated in rated_items[rated_starts[user] : rated_starts[user + 1]]:
                if rated >= 0:
                    stamps[rated] = mine
        heap[:] = -np.inf
        start, margin = end, margins[row]
        end = _scan(scores[row], margin, low[row], high[row], stamps, mine, heap, found, start)
        end = _drop_beaten(found, start, end, scores[row], margin, low[row], high[row], heap[0])
        counts[row] = end - start
    return end


@compiled
def _scan(
    scores: Array,
    margin: float,
    low: float,
    high: float,
    stamps: Array,
    mine: int,
    heap: Array,
    found: Array,
    end: int,
) -> int:
    """Append the columns of a row that are not beaten by what stands before them; return where they end."""
    cut = np.float32(-np.inf)  # no score up to here can matter any more
    for first in range(0, len(scores), CHUNK):
        chunk = scores[first : first + CHUNK]
        if not _any_above(chunk, cut):
            continue
        for place in range(len(chunk)):
            score, column = np.float64(chunk[place]), first + place
            if chunk[place] <= cut or stamps[column] == mine or _clip(score + margin, low, high) <= heap[0]:
                continue
            found[end] = column
            end += 1
            lower = _clip(score - margin, low, high)
            if lower > heap[0]:
                _replace_lowest(heap, lower)
                cut = _below(heap[0] - margin) if heap[0] < high else np.float32(np.inf)
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
