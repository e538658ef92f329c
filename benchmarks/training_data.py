"""Data to train on: generated at any size, or MovieLens-100k, with the operator's configuration."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["user_id", "product_id", "rating"]
TOP_K = 10
CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class Shape:
    """The size of a data set.

    Attributes:
        users: number of users.
        items: number of items.
        interactions: number of interactions.
        sampled_users: number of users for whom stock is measured; None for all, 0 to omit stock.
    """

    users: int
    items: int
    interactions: int
    sampled_users: int | None


def generate(folder: Path, shape: Shape) -> None:
    """Write users with 36-character ids who rate random items, popular items more often, with one to five stars."""
    random = np.random.default_rng(1)
    ids = [pa.array([str(uuid.UUID(bytes=random.bytes(16))) for _ in range(n)]) for n in (shape.users, shape.items)]
    for name, column, values in zip(("users", "items"), COLUMNS, ids, strict=False):
        pq.write_table(pa.table({column: values}), folder / f"{name}.parquet")
    schema = pa.schema(list(zip(COLUMNS, (pa.string(), pa.string(), pa.float64()), strict=True)))
    with pq.ParquetWriter(folder / "interactions.parquet", schema) as sink:
        for start in range(0, shape.interactions, CHUNK_ROWS):
            count = min(CHUNK_ROWS, shape.interactions - start)
            users = np.sort(random.integers(0, shape.users, count))
            items = (shape.items * random.random(count) ** 2).astype(np.int64)
            stars = random.integers(1, 6, count).astype(np.float64)
            sink.write_table(
                pa.table([ids[0].take(pa.array(users)), ids[1].take(pa.array(items)), stars], schema=schema)
            )


def convert(movielens: Path, folder: Path) -> None:
    """Write MovieLens-100k with our column names, in the order of an extract."""
    tables = {name: pd.read_csv(movielens / f"{name}.csv", dtype=str) for name in ("users", "items", "interactions")}
    interactions = tables["interactions"].iloc[:, :3].set_axis(COLUMNS, axis=1)
    interactions = interactions.astype({"rating": float}).sort_values(COLUMNS[:2])
    interactions.to_parquet(folder / "interactions.parquet", index=False)
    for name, column in zip(("users", "items"), COLUMNS, strict=False):
        tables[name].iloc[:, :1].set_axis([column], axis=1).to_parquet(folder / f"{name}.parquet", index=False)


def write_config(folder: Path) -> None:
    """Write the operator's configuration as JSON, which is also YAML."""
    (folder / "outputs").mkdir()
    tables = {"user_data": "users", "item_data": "items", "interactions_data": "interactions"}
    spec: dict[str, Any] = {key: {"url": f"{name}.parquet"} for key, name in tables.items()}
    spec |= dict(zip(("user_column", "item_column", "interaction_column"), COLUMNS, strict=True))
    spec |= {"output_directory": {"url": "outputs"}, "top_k": TOP_K}
    config = {"kind": "operator", "type": "recommender", "version": "v1", "spec": spec}
    (folder / "recommender.yaml").write_text(json.dumps(config), encoding="utf-8")
