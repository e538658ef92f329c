"""Ratings as arrays, numbered, split and ordered like the lists of ``surprise.Dataset`` and ``surprise.Trainset``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from include.training.kernels import group_rows, number_by_first_row

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ratings:
    """Every interaction, with ids replaced by codes.

    Attributes:
        users: code of the user of each rating, int32.
        items: code of the item of each rating, int32.
        values: the ratings, float64.
        user_ids: the id of each user code.
        item_ids: the id of each item code.
        lowest: of the ratings, in the type of their column; scores are clipped to it.
        highest: likewise.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float64]
    user_ids: pd.Index[Any]
    item_ids: pd.Index[Any]
    lowest: Any
    highest: Any

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Trainset:
    """The ratings to train on, in scikit-surprise's terms.

    Attributes:
        starts: where the ratings of each inner user id start, and where the last one's end.
        items: inner item id of each rating, int32, in the order of ``surprise.Trainset.all_ratings``.
        ratings: the values, float64, in the same order.
        global_mean: of the ratings.
        n_users: number of inner user ids.
        n_items: number of inner item ids.
        inner_users: the inner id of each user code, -1 for a user without a rating here.
        inner_items: the inner id of each item code, likewise.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    global_mean: np.float64
    n_users: int
    n_items: int
    inner_users: NDArray[np.int32]
    inner_items: NDArray[np.int32]


def encode_ratings(interactions: pd.DataFrame, user_column: str, item_column: str, rating_column: str) -> Ratings:
    """Replace ids by codes.

    Args:
        interactions: a row per rating; id columns may already be categorical.
        user_column: name of the column of user ids.
        item_column: name of the column of item ids.
        rating_column: name of the column of ratings, numbers.

    Raises:
        ValueError: an id or a rating is missing, or a rating is not a finite number.
    """
    users, user_ids = _encode(interactions[user_column])
    items, item_ids = _encode(interactions[item_column])
    column = interactions[rating_column]
    values = column.to_numpy(dtype=np.float64)
    if unusable := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{unusable:,} interactions have no finite number in {rating_column}. Leave them out.")
    return Ratings(users, items, values, user_ids, item_ids, column.min(), column.max())


def _encode(ids: pd.Series[Any]) -> tuple[NDArray[np.int32], pd.Index[Any]]:
    if isinstance(ids.dtype, pd.CategoricalDtype):
        codes, distinct = ids.cat.codes.to_numpy(), ids.cat.categories
    else:
        codes, distinct = pd.factorize(ids)
    if len(codes) and codes.min() < 0:
        raise ValueError(f"{int((codes < 0).sum()):,} interactions have no id in {ids.name}. Leave them out.")
    # Copied if necessary: the kernels are compiled for one type, writable.
    return np.require(codes, np.int32, ["C", "W"]), pd.Index(distinct)


def hold_out(random: np.random.RandomState, count: int, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the ratings to train on and to hold out, like ``surprise.model_selection.train_test_split``.

    Args:
        random: the source of random numbers.
        count: number of ratings.
        share: of them to hold out.

    Returns:
        The rows to train on and those to measure on.
    """
    kept = count - math.ceil(share * count)
    rows = random.permutation(count)
    return rows[:kept], rows[kept:].copy()  # a copy, so that the rest can be freed


def build_trainset(ratings: Ratings, rows: NDArray[np.int64]) -> Trainset:
    """Build the equivalent of ``surprise.Dataset.construct_trainset`` for these rows in this order.

    Inner ids are numbered by first appearance; ratings are then ordered by user, each user's in the given order.
    """
    inner_users, n_users = number_by_first_row(ratings.users, rows, len(ratings.user_ids))
    inner_items, n_items = number_by_first_row(ratings.items, rows, len(ratings.item_ids))
    order, starts = group_rows(inner_users[ratings.users[rows]], n_users)
    rows = rows[order]
    values = ratings.values[rows]
    return Trainset(
        starts=starts,
        items=inner_items[ratings.items[rows]],
        ratings=values,
        global_mean=np.float64(np.mean(values)),
        n_users=n_users,
        n_items=n_items,
        inner_users=inner_users,
        inner_items=inner_items,
    )
