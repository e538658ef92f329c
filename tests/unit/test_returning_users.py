"""What the champion's lists met since: only new interactions of users with a list count."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shops import settings_with

from recdeploy_ops.evaluation.interactions import Interactions, read_interactions
from recdeploy_ops.evaluation.list_matrix import ListMatrix
from recdeploy_ops.evaluation.returning_users import ReturningUsers, measure_returning_users

if TYPE_CHECKING:
    from pathlib import Path

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# "best" is the most popular item, then "good"; u4 is approved, but has no list.
APPROVED = [(f"v{n}", "best", 0) for n in range(5)] + [(f"v{n}", "good", 0) for n in range(4)]
APPROVED += [("u1", "best", 1), ("u2", "pen", 1), ("u3", "ink", 2), ("u4", "ink", 2)]
LISTS = {"u1": ["pen", "ink"], "u2": ["ink", "good"], "u3": ["pen", "good"]}


def interactions(folder: Path, rows: list[tuple[str, str, int]], *, has_times: bool = True) -> Interactions:
    """Return interactions of user, item and day, with items in the order of their ids."""
    columns = {
        "user_id": [user for user, _, _ in rows],
        "product_id": [item for _, item, _ in rows],
        "rating": [3.0] * len(rows),
    }
    table = pa.table(columns)
    if has_times:
        times = pa.array([START + dt.timedelta(days=day) for _, _, day in rows], pa.timestamp("us", "UTC"))
        table = table.append_column("ordered_at", times)
    folder.mkdir()
    pq.write_table(table, folder / "interactions.parquet")
    return read_interactions(folder, settings_with().source)


def champion() -> ListMatrix:
    items = sorted({item for chosen in LISTS.values() for item in chosen})
    lists = np.array([[items.index(item) for item in chosen] for chosen in LISTS.values()], np.int32)
    return ListMatrix(pa.array(LISTS), pa.array(items), lists, np.zeros(len(lists), bool))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ([("u3", "pen", 3)], ReturningUsers(users=1, met=1, met_popular=0, interactions=1)),
        # Both lists have it: u2's own, and the two most popular items that u2 has not rated.
        ([("u2", "good", 3)], ReturningUsers(users=1, met=1, met_popular=1, interactions=1)),
        # The bestseller that the list lacks; twice, and beside an item that the champion never saw.
        ([("u2", "best", 3), ("u2", "new", 3)], ReturningUsers(users=1, met=0, met_popular=1, interactions=2)),
        # u1 has rated "best", so the popular list has "good" instead.
        ([("u1", "good", 3), ("u3", "pen", 4)], ReturningUsers(users=2, met=1, met_popular=1, interactions=2)),
        # Nobody else counts: without a list, new, or not later than the newest approved interaction.
        ([("u4", "ink", 3), ("x", "pen", 3), ("u3", "pen", 2)], None),
    ],
)
def test_users_who_came_back_are_counted(
    tmp_path: Path, new: list[tuple[str, str, int]], expected: ReturningUsers | None
) -> None:
    approved = interactions(tmp_path / "approved", APPROVED)
    today = interactions(tmp_path / "today", new[::-1] + APPROVED)
    assert measure_returning_users(today, approved, champion()) == expected


@pytest.mark.parametrize("without", ["today", "approved"])
def test_without_timestamps_nothing_is_new(tmp_path: Path, without: str) -> None:
    approved = interactions(tmp_path / "approved", APPROVED, has_times=without != "approved")
    today = interactions(tmp_path / "today", [*APPROVED, ("u1", "ink", 3)], has_times=without != "today")
    assert measure_returning_users(today, approved, champion()) is None
