"""Loops that numpy cannot express, compiled by numba without fast-math, so that the arithmetic is as written.

All work on arrays only and release the GIL. Their results are compared with scikit-surprise's own loop at start-up
(``sgd.py``) and with the stock operator in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from include.training.prefetching import LINE, prefetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

AHEAD = 2  # steps of SGD that a fetch from memory takes


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, and cache the machine code for the next process if a folder is writable."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no such folder
        return numba.njit(nogil=True)(function)


@compiled
def number_by_first_row(codes: Array, rows: Array, count: int) -> tuple[Array, int]:
    """Number codes in order of first appearance, as scikit-surprise numbers raw ids.

    Args:
        codes: a code per rating.
        rows: of the ratings, in the order to use.
        count: number of codes.

    Returns:
        The number of each code, -1 if it does not appear; and how many appear.
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
        count: number of keys.

    Returns:
        The rows, and where those of each key start; shape (count + 1,).
    """
    starts = np.zeros(count + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for key in range(count):
        starts[key + 1] += starts[key]
    ends = starts[:-1].copy()
    rows = np.empty(len(keys), np.int64)
    for row in range(len(keys)):
        rows[ends[keys[row]]] = row
        ends[keys[row]] += 1
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
    """Run one epoch of the SGD of ``surprise.SVD``, in place, with the same numbers as its own loop.

    The products are added one by one, in the order of the factors: any other order would round differently.

    Args:
        user_biases: of each user.
        item_biases: of each item.
        user_factors: a row per user.
        item_factors: a row per item.
        starts: where the ratings of each user start, and where the last one's end.
        items: of each rating.
        ratings: the values.
        mean: of all ratings.
        rate: the learning rate.
        decay: the regularization.
    """
    for user in range(len(user_biases)):
        of_user = user_factors[user]
        for row in range(starts[user], starts[user + 1]):
            later = items[min(row + AHEAD, len(items) - 1)]
            for factor in range(0, len(of_user), LINE):
                prefetch(item_factors, later, factor)
            item = items[row]
            of_item = item_factors[item]
            dot = 0.0
            for factor in range(len(of_user)):
                dot += of_item[factor] * of_user[factor]
            error = ratings[row] - (mean + user_biases[user] + item_biases[item] + dot)
            user_biases[user] += rate * (error - decay * user_biases[user])
            item_biases[item] += rate * (error - decay * item_biases[item])
            for factor in range(len(of_user)):
                old_user, old_item = of_user[factor], of_item[factor]
                of_user[factor] = old_user + rate * (error * old_item - decay * old_user)
                of_item[factor] = old_item + rate * (error * old_user - decay * old_item)
