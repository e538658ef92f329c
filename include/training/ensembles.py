"""An ensemble: the mean of several models of ratings, as one model with their factors side by side.

A prediction is the sum of a mean, two biases and a dot product. The mean of K predictions is the sum of the means of
each part. The mean of K dot products is one dot product of all factors, each divided by the square root of K. So the
code that scores one model scores the mean of K.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from include.training.factors import Factors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def average(members: Iterable[Factors], count: int) -> Factors:
    """Return the factors whose predictions are the means of the members', before they are clipped to the scale.

    A member that was not trained on a user or an item predicts without their bias and factors, as it does alone.

    Args:
        members: the models; one at a time is in memory, beside the result. A single one is returned unchanged.
        count: the number of members.
    """
    members = iter(members)
    first = next(members)
    if count == 1:
        return first
    users, items = len(first.inner_users), len(first.inner_items)
    width = first.item_factors.shape[1]
    mean, user_biases, item_biases = 0.0, np.zeros(users), np.zeros(items)
    user_factors, item_factors = np.zeros((users, count * width)), np.zeros((items, count * width))
    member = first
    del first
    for number in range(count):
        columns = slice(number * width, (number + 1) * width)
        mean += float(member.mean) / count
        _add(user_biases, member.inner_users, member.user_biases, 1 / count)
        _add(item_biases, member.inner_items, member.item_biases, 1 / count)
        _add(user_factors[:, columns], member.inner_users, member.user_factors, 1 / math.sqrt(count))
        _add(item_factors[:, columns], member.inner_items, member.item_factors, 1 / math.sqrt(count))
        if number < count - 1:
            del member
            member = next(members)
    return Factors(
        mean=np.float64(mean),
        user_biases=user_biases,
        item_biases=item_biases,
        user_factors=user_factors,
        item_factors=item_factors,
        inner_users=np.arange(users, dtype=np.int32),
        inner_items=np.arange(items, dtype=np.int32),
    )


def _add(total: NDArray[np.float64], numbers: NDArray[np.int32], learned: NDArray[np.float64], weight: float) -> None:
    """Add what a member learned, times a weight, to the rows of the codes that it was trained on."""
    known = numbers >= 0
    total[known] += learned[numbers[known]] * weight
