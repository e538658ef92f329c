"""The loops that numpy cannot express, compiled by numba without fast-math: each has the arithmetic that it shows.

All are pure functions of arrays that release the GIL. What they compute is compared with scikit-surprise's own
loop at start-up (``sgd.py``) and with the stock operator in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from include.training.vectors import WIDTH, correct_vector, prefetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

# Steps of SGD that a fetch from memory takes.
AHEAD = 3


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

    That loop takes one rating after the other: it adds up the dot product of the user and the item, one product
    after the other, then corrects their factors. The sum cannot be rearranged, and waits for each addition. Here the
    factors are corrected meanwhile: as soon as some of the user's are, their products with those of the next item
    are added to its sum. And where they can, two users advance side by side. A step reads and writes nothing but
    its own user and item, so the order of two steps matters only where they share one: the younger user waits before
    any item that the older has still to pass.

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
    learned = user_biases, item_biases, user_factors, item_factors
    last = np.full(len(item_biases), -1)  # place of the last rating of each item by the older user or those before
    older, place, end, dot = -1, 0, 0, 0.0
    younger, other_place, other_end, other_dot = 0, 0, starts[min(1, len(user_biases))], 0.0
    ready = False  # whether other_dot is that of the younger user's next item
    while True:
        if place < end:
            step = _start_step(learned, older, items, ratings, place, end, mean, dot, rate, decay)
            if other_place < other_end and last[items[other_place]] < place:
                if not ready:
                    other_dot = _dot(learned, younger, items[other_place])
                other_step = _start_step(
                    learned, younger, items, ratings, other_place, other_end, mean, other_dot, rate, decay
                )
                dot, other_dot = _correct_two(learned, step, other_step, rate, decay)
                other_place += 1
                ready = other_place < other_end and last[items[other_place]] < place
            else:
                dot = _correct_one(learned, step, rate, decay)
            place += 1
        elif younger == len(user_biases):
            return
        else:
            older, place, end = younger, other_place, other_end
            if place < end:
                dot = other_dot if ready else _dot(learned, older, items[place])
            for pending in range(place, end):
                last[items[pending]] = pending
            younger, other_place, ready = younger + 1, end, False
            other_end = starts[younger + 1] if younger < len(user_biases) else end


@compiled
def _dot(learned: tuple[Array, ...], user: int, item: int) -> float:
    """Add up the products one by one: any other order would round otherwise."""
    _, _, user_factors, item_factors = learned
    dot = 0.0
    for factor in range(user_factors.shape[1]):
        dot += item_factors[item, factor] * user_factors[user, factor]
    return dot


@compiled
def _start_step(
    learned: tuple[Array, ...],
    user: int,
    items: Array,
    ratings: Array,
    place: int,
    end: int,
    mean: float,
    dot: float,
    rate: float,
    decay: float,
) -> tuple[int, int, int, int, float]:
    """Correct the biases by a rating.

    Returns:
        The user, the item, the user's next item (this one after the last), an item that comes later, and the error.
    """
    user_biases, item_biases, _, _ = learned
    item, later = items[place], items[min(place + AHEAD, len(items) - 1)]
    error = ratings[place] - (mean + user_biases[user] + item_biases[item] + dot)
    user_biases[user] += rate * (error - decay * user_biases[user])
    item_biases[item] += rate * (error - decay * item_biases[item])
    return user, item, items[min(place + 1, end - 1)], later, error


@compiled
def _correct_one(learned: tuple[Array, ...], step: tuple[Any, ...], rate: float, decay: float) -> float:
    """Correct the factors of a user and an item; return the dot product of the user and the next item."""
    _, _, user_factors, item_factors = learned
    user, item, next_item, later, error = step
    dot, whole = 0.0, user_factors.shape[1] // WIDTH * WIDTH
    for factor in range(0, whole, WIDTH):
        prefetch(item_factors, later, factor)
        dot = correct_vector(dot, user_factors, user, item_factors, item, next_item, factor, error, rate, decay)
    return float(_correct_rest(learned, step, whole, dot, rate, decay))


@compiled
def _correct_two(
    learned: tuple[Array, ...], step: tuple[Any, ...], other_step: tuple[Any, ...], rate: float, decay: float
) -> tuple[float, float]:
    """Do what ``_correct_one`` does for two steps, which share neither user nor item, side by side."""
    _, _, user_factors, item_factors = learned
    user, item, next_item, later, error = step
    other_user, other_item, next_other, later_other, other_error = other_step
    dot, other_dot, whole = 0.0, 0.0, user_factors.shape[1] // WIDTH * WIDTH
    for factor in range(0, whole, WIDTH):
        prefetch(item_factors, later, factor)
        prefetch(item_factors, later_other, factor)
        dot = correct_vector(dot, user_factors, user, item_factors, item, next_item, factor, error, rate, decay)
        other_dot = correct_vector(
            other_dot, user_factors, other_user, item_factors, other_item, next_other, factor, other_error, rate, decay
        )
    dot = _correct_rest(learned, step, whole, dot, rate, decay)
    other_dot = _correct_rest(learned, other_step, whole, other_dot, rate, decay)
    return dot, other_dot


@compiled
def _correct_rest(
    learned: tuple[Array, ...], step: tuple[Any, ...], first: int, dot: float, rate: float, decay: float
) -> float:
    """Correct the factors from ``first`` on, too few for a vector; return the whole dot product."""
    _, _, user_factors, item_factors = learned
    user, item, next_item, _, error = step
    for factor in range(first, user_factors.shape[1]):
        of_user, of_item = user_factors[user, factor], item_factors[item, factor]
        user_factors[user, factor] += rate * (error * of_item - decay * of_user)
        item_factors[item, factor] += rate * (error * of_user - decay * of_item)
        dot += item_factors[next_item, factor] * user_factors[user, factor]
    return dot
