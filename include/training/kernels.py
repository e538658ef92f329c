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
