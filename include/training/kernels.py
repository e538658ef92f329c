"""The loops that numpy cannot express, compiled by numba without fast-math: each has the arithmetic that it shows.

All are pure functions of arrays that release the GIL. What they compute is compared with scikit-surprise's own
loop at start-up (``sgd.py``) and with the stock operator in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from include.training.prefetching import prefetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

# Scores that are compared at a time: enough to fill the vector registers, few enough to skip most of a row.
CHUNK = 128
# Steps of SGD that a fetch from memory takes.
AHEAD = 2


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, and keep the machine code for the next process where a folder can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no such folder
        return numba.njit(nogil=True)(function)


@compiled
def number_by_first_row(codes: Array, rows: Array, count: int) -> tuple[Array, int]:
    """Number codes in the order in which they first come up, as scikit-surprise numbers raw ids.

    Args:
        codes: a code per rating.
        rows: which ratings, in which order.
        count: how many codes there are.

    Returns:
        The number of each code, -1 where it does not come up; and how many do.
    """
    numbers = np.full(count, -1, np.int32)
    used = 0
    for row in rows:
        if numbers[codes[row]] < 0:
            numbers[codes[row]] = used
            used += 1
    return numbers, used


@compiled
def group_rows(keys: Array, count: int) -> tuple[Array, Array]:
    """Sort row numbers by key, stably and in linear time.

    Args:
        keys: a key per row, from 0 to ``count`` - 1.
        count: how many keys there are.

    Returns:
        The rows, and where those of each key start (one more than there are keys).
    """
    starts = np.zeros(count + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for key in range(count):
        starts[key + 1] += starts[key]
    place = starts[:-1].copy()
    rows = np.empty(len(keys), np.int64)
    for row in range(len(keys)):
        rows[place[keys[row]]] = row
        place[keys[row]] += 1
    return rows, starts


@compiled
def descend(
    user_biases: Array,
    item_biases: Array,
    user_factors: Array,
    item_factors: Array,
    starts: Array,
    items: Array,
    ratings: Array,
    mean: float,
    rate: float,
    decay: float,
) -> None:
    """Run one epoch of the SGD of ``surprise.SVD``, in place: every number is the one that its loop computes.

    That loop takes one rating after the other, and waits at each for a sum of products that must be added up one
    by one. Here two users advance side by side, so that two sums are under way. A step reads and writes nothing
    but its own user and item, so the order of two steps matters only where they share one: the younger user
    waits before any item that the older has still to pass.

    Args:
        user_biases: of each user.
        item_biases: of each item.
        user_factors: a row per user.
        item_factors: a row per item.
        starts: where the ratings of each user start, and where the last one's end.
        items: of each rating.
        ratings: themselves.
        mean: of all ratings.
        rate: the learning rate.
        decay: the regularization.
    """
    learned = (user_biases, item_biases, user_factors, item_factors)
    last = np.full(len(item_biases), -1)  # place of the last rating of each item by the older user or those before
    older, place, end = -1, 0, 0
    younger, next_place, next_end = 0, starts[0], starts[1]
    while True:
        while place < end and next_place < next_end and last[items[next_place]] < place:
            item, other = items[place], items[next_place]
            _fetch_ahead(item_factors, items, place)
            _fetch_ahead(item_factors, items, next_place)
            dot, other_dot = 0.0, 0.0
            for factor in range(user_factors.shape[1]):
                dot += item_factors[item, factor] * user_factors[older, factor]
                other_dot += item_factors[other, factor] * user_factors[younger, factor]
            _step(learned, older, item, ratings[place], mean, dot, rate, decay)
            _step(learned, younger, other, ratings[next_place], mean, other_dot, rate, decay)
            place, next_place = place + 1, next_place + 1
        if place < end:
            _fetch_ahead(item_factors, items, place)
            dot = _dot(item_factors[items[place]], user_factors[older])
            _step(learned, older, items[place], ratings[place], mean, dot, rate, decay)
            place += 1
        elif younger == len(user_biases):
            return
        else:
            older, place, end = younger, next_place, next_end
            for pending in range(place, end):
                last[items[pending]] = pending
            younger, next_place = younger + 1, end
            next_end = starts[younger + 1] if younger < len(user_biases) else end


@compiled
def _fetch_ahead(item_factors: Array, items: Array, place: int) -> None:
    if place + AHEAD < len(items):
        prefetch(item_factors, items[place + AHEAD])


@compiled
def _dot(of_item: Array, of_user: Array) -> float:
    """Add up the products one by one: any other order would round otherwise."""
    dot = 0.0
    for factor in range(len(of_user)):
        dot += of_item[factor] * of_user[factor]
    return dot


@compiled
def _step(
    learned: tuple[Array, ...],
    user: int,
    item: int,
    rating: float,
    mean: float,
    dot: float,
    rate: float,
    decay: float,
) -> None:
    """Correct what was learned of a user and an item by a rating, given the dot product of their factors."""
    user_biases, item_biases, user_factors, item_factors = learned
    error = rating - (mean + user_biases[user] + item_biases[item] + dot)
    user_biases[user] += rate * (error - decay * user_biases[user])
    item_biases[item] += rate * (error - decay * item_biases[item])
    of_user, of_item = user_factors[user], item_factors[item]
    for factor in range(len(of_user)):
        user_factor, item_factor = of_user[factor], of_item[factor]
        of_user[factor] += rate * (error * item_factor - decay * user_factor)
        of_item[factor] += rate * (error * user_factor - decay * item_factor)


@compiled
def select_candidates(
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
