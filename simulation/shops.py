"""A shop over time: its interactions, users and items, as its queries would have returned them on any day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.evaluation.interactions import Codes, Interactions
from recdeploy_ops.extraction.repeats import REPEATED, Merging

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

SECOND = 1_000_000  # microseconds
DAY, WEEK = 86_400 * SECOND, 7 * 86_400 * SECOND


@dataclass(frozen=True)
class Table:
    """The users or the items of a shop.

    Attributes:
        columns: ids first; then titles of items, segments of users; then any others.
        since: when each row appeared, in microseconds since 1970, UTC; shape (rows,).
    """

    columns: pa.Table
    since: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def ids(self) -> pa.Array:
        """Return the ids."""
        return self.columns.column(0).combine_chunks()

    @property
    def names(self) -> pa.Array:
        """Return the titles or segments."""
        return self.columns.column(1).combine_chunks()

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
        """Return some rows."""
        where = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Table(self.columns.take(pa.array(where)), self.since[where])

    def rename(self, names: pa.Array) -> Table:
        """Return the table with other titles or segments."""
        return Table(self.columns.set_column(1, self.columns.column_names[1], names), self.since)


@dataclass(frozen=True)
class Shop:
    """What the three queries of a shop return.

    Attributes:
        interactions: in the order of their times.
        users: the table of users.
        items: the table of items.
    """

    interactions: Interactions
    users: Table
    items: Table

    @property
    def times(self) -> NDArray[np.int64]:
        """Return the time of each interaction, in microseconds since 1970, UTC; shape (interactions,)."""
        if self.interactions.times is None:
            raise ValueError("a simulated shop has times")
        return self.interactions.times

    @property
    def newest(self) -> int:
        """Return the time of the newest interaction."""
        return int(self.times.max())

    def until(self, time: int) -> Shop:
        """Return the shop as it was at a time."""
        return Shop(
            self.interactions.take(self.times <= time),
            self.users.take(self.users.since <= time),
            self.items.take(self.items.since <= time),
        )

    def keep(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Shop:
        """Return the shop with some of its interactions."""
        return replace(self, interactions=self.interactions.take(rows))


def make_interactions(
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    ratings: NDArray[np.float64],
    times: NDArray[np.int64],
    ids: tuple[pa.Array, pa.Array],
) -> Interactions:
    """Return interactions in the order of their times.

    Args:
        users: number of each row's user.
        items: number of each row's item.
        ratings: of each row.
        times: of each row, in microseconds since 1970, UTC.
        ids: of the users' and of the items' numbers.
    """
    order = np.argsort(times, kind="stable")
    columns = [Codes(codes[order].astype(np.int64), texts) for codes, texts in zip((users, items), ids, strict=True)]
    return Interactions(columns[0], columns[1], ratings[order], times[order])


def first_times(codes: NDArray[np.int64], times: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return when each number occurs first; one that never occurs gets the largest integer. Shape (count,)."""
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, codes, times)
    return first


def write_extract(shop: Shop, folder: Path, source: SourceSettings) -> dict[str, Any]:
    """Write the Parquet files that an extraction of the shop would leave, and return the facts of its manifest.

    Args:
        shop: as its queries would return it.
        folder: for the files; created.
        source: names the columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    merged = _write_interactions(shop.interactions, folder, source)
    for name, table, column, extra in (
        ("users", shop.users, source.user_column, source.segment_column),
        ("items", shop.items, source.item_column, source.title_column),
    ):
        order = np.argsort(_ranks(table.ids))
        columns = {column: table.ids.take(pa.array(order))}
        if extra is not None:
            columns[extra] = table.names.take(pa.array(order))
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    newest = pa.scalar(shop.newest, pa.timestamp("us", tz="UTC")).as_py() if len(shop.interactions) else None
    return {
        "interactions": {"null_ids": 0, "merged": merged},
        **{name: {"null_ids": 0} for name in ("users", "items")},
        "newest_interaction": newest.isoformat() if newest else None,
    }


def _write_interactions(interactions: Interactions, folder: Path, source: SourceSettings) -> int:
    """Write interactions in the order of their ids, as an extraction does; return how many rows were merged."""
    sides = (interactions.users, interactions.items)
    users, items = (_ranks(side.ids)[side.codes] for side in sides)
    order = np.lexsort((interactions.ratings, items, users))
    names = (source.user_column, source.item_column)
    columns: dict[str, Any] = {
        name: side.ids.take(pa.array(side.codes[order])) for name, side in zip(names, sides, strict=True)
    }
    columns[source.rating_column] = interactions.ratings[order]
    timestamp = source.timestamp_column if interactions.times is not None else None
    if timestamp is not None and interactions.times is not None:
        columns[timestamp] = pa.array(interactions.times[order], pa.timestamp("us", tz="UTC"))
    rows, repeated = pa.table(columns), list[pa.Table]()
    kept = rows
    if source.merging != "refuse":
        merging = Merging(source.merging, names, source.rating_column, timestamp)
        kept = pa.concat_tables(merging.merge([rows], repeated.append))
    pq.write_table(kept, folder / "interactions.parquet")
    if repeated:
        pq.write_table(pa.concat_tables(repeated), folder / REPEATED)
    return len(rows) - len(kept)


def _ranks(ids: pa.Array) -> NDArray[np.int64]:
    """Return the place of each id in the order of their bytes."""
    texts = np.array([text.encode() for text in ids.to_pylist()], dtype=object)
    ranks = np.empty(len(texts), np.int64)
    ranks[np.argsort(texts, kind="stable")] = np.arange(len(texts))
    return ranks
