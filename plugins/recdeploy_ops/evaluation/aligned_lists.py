"""The lists of champion, candidate and twins, with the same users and item numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from recdeploy_ops.evaluation.interactions import positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recdeploy_ops.evaluation.list_matrix import ListMatrix, Matrix


@dataclass(frozen=True)
class Sides:
    """The lists to compare, with the same users and item numbers.

    Attributes:
        users: id of each row.
        items: id of each item number.
        champion: lists.
        candidate: lists.
        twins: lists of each twin.
    """

    users: pa.Array
    items: pa.Array
    champion: Matrix
    candidate: Matrix
    twins: tuple[Matrix, ...]


def align(
    champion: ListMatrix, candidate: ListMatrix, users: pa.Array, items: pa.Array, twins: Sequence[Matrix]
) -> Sides:
    """Give both sides and the twins one numbering.

    Args:
        champion: its lists.
        candidate: its lists.
        users: of today's extract, whom the rows of the twins are of.
        items: of today's extract, which the twins' numbers are of.
        twins: their lists.
    """
    all_users = _union(_union(users, champion.users), candidate.users)
    all_items = _union(_union(items, champion.items), candidate.items)
    new = len(all_users) - len(users)
    padded = tuple(np.pad(twin, ((0, new), (0, 0)), constant_values=-1) for twin in twins)
    return Sides(
        all_users,
        all_items,
        champion.within(all_users, all_items),
        candidate.within(all_users, all_items),
        padded,
    )


def _union(one: pa.Array, other: pa.Array) -> pa.Array:
    """Return ``one``, followed by the ids that only ``other`` has."""
    return pa.concat_arrays([one, other.filter(pa.array(positions(other, one) < 0))])
