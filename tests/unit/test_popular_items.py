"""The list for new users by popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from shops import settings_with

from recdeploy_ops.training.inputs import Inputs
from recdeploy_ops.training.popular_items import write_popular_items
from recdeploy_ops.training.recommendations import NEW_USERS, read_new_users

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = settings_with().source


def test_the_items_that_most_users_have_come_first(tmp_path: Path) -> None:
    pairs = [("u1", "b"), ("u2", "b"), ("u3", "b"), ("u1", "c"), ("u2", "c"), ("u1", "gone"), ("u2", "gone")]
    users, items = zip(*pairs, strict=True)
    columns = {"user_id": users, "product_id": items, "rating": [1.0, 5.0, 3.0, 3.0, 3.0, 3.0, 3.0]}
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), tmp_path / "interactions.parquet"
    )
    inputs = Inputs(pa.array(["u1", "u2", "u3", "u4"]), pa.array(["a", "b", "c", "d"]), len(pairs), {})

    write_popular_items(tmp_path / "interactions.parquet", tmp_path / NEW_USERS, inputs, SOURCE, 3)

    ranking = read_new_users(tmp_path, SOURCE)
    assert ranking is not None
    assert [item for item, _ in ranking] == ["b", "c", "a"]
    assert [round(rating, 4) for _, rating in ranking] == [3.8571, 3.6667, 3.0]
