"""What all users would see change, compared exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from artifacts import SETTINGS, write_results

from recdeploy_ops.evaluation.aligned_lists import align
from recdeploy_ops.evaluation.blast_radius import (
    ChangedUser,
    Reach,
    SliceChange,
    measure_blast_radius,
    name_items,
)
from recdeploy_ops.evaluation.list_matrix import read_matrix
from recdeploy_ops.evaluation.slices import Slices

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.evaluation.blast_radius import BlastRadius

Lists = dict[str, str]
USERS, ITEMS = ["u1", "u2", "u3", "new"], ["a", "b", "c", "d", "e"]
CHAMPION = {"u1": "ab", "u2": "ab", "u3": "cd", "gone": "ax"}
CANDIDATE = {"u1": "ab", "u2": "be", "u3": "be", "new": "ab"}
TWIN = np.array([[0, 1], [0, 1], [1, 2], [0, 3]], np.int32)


def compare(folder: Path, champion: Lists, candidate: Lists, slices: Slices | None = None) -> BlastRadius:
    matrices = [
        read_matrix(
            write_results(
                folder / name, lists={user: [(item, 1.0) for item in items] for user, items in lists.items()}
            ),
            SETTINGS.source,
        )
        for name, lists in (("champion", champion), ("candidate", candidate))
    ]
    sides = align(*matrices, pa.array(USERS), pa.array(ITEMS), [TWIN])
    new_items = np.isin(np.array(sides.items.to_pylist()), ["e"])
    return measure_blast_radius(sides, new_items, slices)


def test_users_and_items_are_counted(tmp_path: Path) -> None:
    radius = compare(tmp_path, CHAMPION, CANDIDATE)
    assert (radius.both, radius.new_users, radius.lost_users) == (3, 1, 1)
    assert radius.kept == (1, 1, 1)
    assert (radius.places, radius.new_items, radius.new_item_places) == (8, 1, 2)
    assert (radius.entering, radius.leaving) == (1, 3)
    assert radius.enter == (Reach("e", 0, 2, (0,)),)
    assert [reach.item for reach in radius.leave] == ["c", "d", "x"]
    assert radius.movers[0] == Reach("b", 2, 4, (3,))


def test_chance_is_what_differs_from_a_twin(tmp_path: Path) -> None:
    assert compare(tmp_path, CHAMPION, CANDIDATE).chance == (0.0, 0.75, 0.25)


def test_the_most_changed_users_are_named_with_both_lists(tmp_path: Path) -> None:
    changed = compare(tmp_path, CHAMPION, CANDIDATE).changed
    assert changed[0] == ChangedUser("u3", 0, ("c", "d"), ("b", "e"))
    assert [user.user for user in changed] == ["u3", "u2"]


def test_slices_are_compared_with_chance_the_largest_one_first(tmp_path: Path) -> None:
    slices = Slices(("y", "gone", "x"), np.array([2, 2, 0, 0, 1]))
    radius = compare(tmp_path, CHAMPION, CANDIDATE, slices)
    assert radius.slices == (SliceChange("x", 2, 1.5, 1.5), SliceChange("y", 1, 0.0, 1.0))
    assert radius.more_slices == 0


def test_at_most_twenty_slices_are_shown(tmp_path: Path) -> None:
    count = 25
    lists = {f"u{n}": "ab" for n in range(count)}
    sides = [read_matrix(write_results(tmp_path, lists={user: [("a", 1.0)] for user in lists}), SETTINGS.source)] * 2
    aligned = align(sides[0], sides[1], sides[0].users, sides[0].items, [])
    slices = Slices(tuple(f"s{n:02}" for n in range(count - 1)), np.minimum(np.arange(count), count - 2))
    radius = measure_blast_radius(aligned, np.zeros(1, bool), slices)
    assert [(change.name, change.users) for change in radius.slices][:2] == [("s23", 2), ("s00", 1)]
    assert (len(radius.slices), radius.more_slices) == (20, 4)
    assert (radius.slices[0].chance, radius.lost_by_chance) == (None, None)


def test_lists_of_different_lengths_are_compared(tmp_path: Path) -> None:
    radius = compare(tmp_path, {"u1": "abc"}, {"u1": "ab"})
    assert (radius.kept, radius.lost) == ((0, 0, 1, 0), 1.0)


def test_the_items_that_a_list_loses_are_counted_without_empty_places(tmp_path: Path) -> None:
    radius = compare(tmp_path, {"u1": "abcd", "u2": "a"}, {"u1": "abce", "u2": "b"})
    assert (radius.lost, len(radius.kept)) == (1.0, 5)
    assert compare(tmp_path, CHAMPION, CANDIDATE).lost == 1.0
    radius = compare(tmp_path, CHAMPION, CANDIDATE)
    assert radius.lost_by_chance == 0.75
    # u1 loses nothing and nothing by chance, u2 one item and one by chance, u3 two and one.
    assert radius.beyond is not None
    assert radius.beyond == pytest.approx((1 / 3, 1 / 3 - 1.959964 / 3, 1 / 3 + 1.959964 / 3))
    assert compare(tmp_path, {"u1": "ab"}, {"u2": "ab"}).lost == 0.0


def test_titles_come_from_today_and_then_from_the_champion(tmp_path: Path) -> None:
    radius = compare(tmp_path, CHAMPION, CANDIDATE)
    for name, titles in (("today", {"a": "A today", "b": None}), ("then", {"a": "A then", "x": "X then"})):
        (tmp_path / name).mkdir()
        table = pa.table({"product_id": list(titles), "title": pa.array(titles.values(), pa.string())})
        pq.write_table(table, tmp_path / name / "items.parquet")
    titles = name_items(radius, [tmp_path / "today", tmp_path / "then"], SETTINGS.source)
    assert titles == {"a": "A today", "x": "X then"}
    without = SETTINGS.source.model_copy(update={"title_column": None})
    assert name_items(radius, [tmp_path / "today"], without) == {}


@pytest.mark.parametrize("count", [15])
def test_at_most_ten_users_and_items_are_named(tmp_path: Path, count: int) -> None:
    champion = {f"u{n}": f"{chr(97 + n)}z" for n in range(count)}
    candidate = {f"u{n}": f"{chr(97 + n)}y" for n in range(count)}
    radius = compare(tmp_path, champion, candidate)
    assert len(radius.changed) == 10
    assert len(radius.movers) == 2
