"""What the ADS operator is given: an extract without what it cannot be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import shops

from recdeploy_ops.domain.errors import SourceDataError

if TYPE_CHECKING:
    from pathlib import Path

RATINGS = [("u1", "p1", 1.0), ("u1", "p2", 5.0), ("u2", "p1", 3.0), ("u3", "p3", 4.0)]


def test_duplicate_users_and_items_and_unrated_interactions_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*RATINGS, ("u1", "p3", None), ("u2", "p3", float("nan")), ("u2", "p2", float("-inf"))]
    prepared, lines = shops.prepare(
        tmp_path, rows, users=["u1", "u2", "u2", "u3", "u2"], items=["p1", "p1", "p2", "p3"]
    )
    assert prepared.users.to_pylist() == ["u1", "u2", "u3"]
    assert prepared.items.to_pylist() == ["p1", "p2", "p3"]
    assert prepared.interactions == 4
    assert prepared.dropped == {"duplicate_users": 2, "duplicate_items": 1, "interactions_without_rating": 3}
    assert lines == [
        "Left out 2 rows: duplicate users.",
        "Left out 1 rows: duplicate items.",
        "Left out 3 rows: interactions without rating.",
        "Training on 4 interactions; 3 users, 3 items.",
    ]
    written = pq.read_table(tmp_path / "work" / "interactions.parquet")
    assert [tuple(row.values()) for row in written.to_pylist()] == RATINGS
    assert written.column_names == ["user_id", "product_id", "rating"]
    assert pq.read_table(tmp_path / "work" / "users.parquet").to_pydict() == {"user_id": ["u1", "u2", "u3"]}
    assert pq.read_table(tmp_path / "work" / "items.parquet").to_pydict() == {"product_id": ["p1", "p2", "p3"]}


EVERYTHING = [(f"u{u}", f"p{p}", 1.0) for u in range(3) for p in range(2)]


@pytest.mark.parametrize("unrated", [("u0", "p0"), ("u2", "p1")])
def test_one_unrated_item_is_enough(unrated: tuple[str, str], tmp_path: Path) -> None:
    rows = [row for row in EVERYTHING if row[:2] != unrated] + [("u9", "p0", 1.0), ("u1", "p9", 1.0)]
    prepared, _ = shops.prepare(tmp_path, rows, users=["u0", "u1", "u2"], items=["p0", "p1"])
    assert prepared.interactions == 7


@pytest.mark.parametrize(
    ("rows", "tables", "message"),
    [
        (EVERYTHING, {}, "All 3 users have rated all 2 items: nothing is left"),
        ([], {"users": ["u1"], "items": ["p1"]}, "too few to train on"),
        ([("u1", "p1", 1.0), ("u2", "p1", None)], {"users": ["u1"], "items": ["p1"]}, "too few to train on"),
        (RATINGS, {"items": ["p1", "a\rb"]}, "1 ids in product_id have a carriage return or a zero byte"),
        (RATINGS, {"items": ["p1", "a\x00b"]}, "1 ids in product_id have a carriage return or a zero byte"),
        (RATINGS, {"users": ["u1", None]}, "must be text without NULL"),
    ],
    ids=["all items rated", "no ratings", "one rating", "a carriage return", "a zero byte", "a null id"],
)
def test_an_extract_that_cannot_be_trained_on_is_rejected(rows: Any, tables: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=message):
        shops.prepare(tmp_path, rows, **tables)
