"""What the champion's lists met since it was trained: for information, as most shops have too little of it to judge.

It favours what was on display, and says nothing about the candidate, which was trained on these interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recdeploy_ops.evaluation.backtests import list_popular
from recdeploy_ops.evaluation.interactions import positions, read_interactions
from recdeploy_ops.evaluation.list_matrix import read_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.evaluation.behaviour import Folders
    from recdeploy_ops.evaluation.interactions import Interactions
    from recdeploy_ops.evaluation.list_matrix import ListMatrix, Matrix
    from recdeploy_ops.settings import SourceSettings

MOST_USERS = 20_000


@dataclass(frozen=True)
class ReturningUsers:
    """Users with a list of the champion who have new interactions.

    Attributes:
        users: how many; of more than `MOST_USERS`, the first ones are looked at.
        met: of them, users who met an item of their list.
        met_popular: of them, users who would have met one of as many of the most popular items that they had not rated.
        interactions: new ones of these users.
    """

    users: int
    met: int
    met_popular: int
    interactions: int


def read_returning_users(today: Path, champion: Folders, source: SourceSettings) -> ReturningUsers | None:
    """Measure as `measure_returning_users` does.

    Args:
        today: folder of today's extract.
        champion: its files.
        source: names the columns.

    Raises:
        TrainingFailedError: a file of recommendations cannot be used.
    """
    new, approved = (read_interactions(folder, source) for folder in (today, champion.extract))
    return measure_returning_users(new, approved, read_matrix(champion.results, source))


def measure_returning_users(today: Interactions, approved: Interactions, champion: ListMatrix) -> ReturningUsers | None:
    """Measure what the champion's lists met; None without timestamps, or if no user with a list came back.

    Args:
        today: the interactions of today's extract.
        approved: those of the champion's extract.
        champion: its lists.
    """
    if today.times is None or approved.times is None or not len(approved):
        return None
    new = today.take(today.times > approved.times.max())
    # Users and items as the champion's extract numbers them; what it does not have was in no list.
    users, items = new.users.within(approved.users.ids), new.items.within(approved.items.ids)
    has_list = positions(approved.users.ids, champion.users) >= 0
    asked = np.unique(users[users >= 0])
    asked = asked[has_list[asked]][:MOST_USERS]
    if not len(asked):
        return None
    rows = np.isin(users, asked)
    users, items = np.searchsorted(asked, users[rows]), items[rows]
    served = champion.within(approved.users.ids.take(asked), approved.items.ids)
    popular = list_popular(approved, asked, served.shape[1])
    return ReturningUsers(
        users=len(asked),
        met=_count_met(served, users, items),
        met_popular=_count_met(popular, users, items),
        interactions=len(users),
    )


def _count_met(lists: Matrix, users: NDArray[np.int64], items: NDArray[np.int64]) -> int:
    """Return how many users have an interaction with an item of their list."""
    met = (lists[users] == items[:, None]) & (items >= 0)[:, None]
    return len(np.unique(users[met.any(axis=1)]))
