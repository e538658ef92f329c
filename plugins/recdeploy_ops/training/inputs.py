"""The operator's inputs: an extract without the rows that would break the stock operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import SourceDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from recdeploy_ops.settings import SourceSettings

BATCH_ROWS = 131_072
# A bare carriage return ends a line and a zero byte ends a text in the CSV that the operator writes.
UNWRITABLE = "[\r\x00]"
# With fewer, nothing is left to train on after ADS holds out a fifth.
FEWEST_INTERACTIONS = 2


@dataclass(frozen=True)
class Inputs:
    """The operator's inputs.

    Attributes:
        users: the distinct user ids, in key order.
        items: the distinct item ids, in key order.
        interactions: rows to train on.
        dropped: rows of the extract that were left out, by reason.
    """

    users: pa.Array
    items: pa.Array
    interactions: int
    dropped: Mapping[str, int]


def prepare_inputs(extract_folder: Path, work: Path, source: SourceSettings, report: Callable[[str], None]) -> Inputs:
    """Write ``users.parquet``, ``items.parquet`` and ``interactions.parquet`` for the operator.

    Of repeated users and items the first row is kept, of interactions those with a finite rating. The data gate has
    limited the losses.

    Raises:
        SourceDataError: the stock operator would fail on the data, or write it wrongly.
    """
    users, duplicate_users = _distinct_ids(extract_folder / "users.parquet", source.user_column)
    items, duplicate_items = _distinct_ids(extract_folder / "items.parquet", source.item_column)
    for ids, column in ((users, source.user_column), (items, source.item_column)):
        _refuse_unwritable(ids, column)
        pq.write_table(pa.table({column: ids}), work / f"{'users' if ids is users else 'items'}.parquet")
    columns = [source.user_column, source.item_column, source.rating_column]
    kept, unrated = _rated_interactions(extract_folder / "interactions.parquet", work, columns)
    if kept < FEWEST_INTERACTIONS:
        raise SourceDataError(
            f"{kept} interactions with a rating are too few to train on. Check what interactions.sql returns."
        )
    if kept >= len(users) * len(items):
        _refuse_saturated(work / "interactions.parquet", users, items, columns)
    dropped = {
        "duplicate_users": duplicate_users,
        "duplicate_items": duplicate_items,
        "interactions_without_rating": unrated,
    }
    for reason, count in dropped.items():
        if count:
            report(f"Left out {count:,} rows: {reason.replace('_', ' ')}.")
    report(f"Training on {kept:,} interactions; {len(users):,} users, {len(items):,} items.")
    return Inputs(users, items, kept, dropped)


def _distinct_ids(path: Path, column: str) -> tuple[pa.Array, int]:
    ids = pq.read_table(path, columns=[column]).column(column)
    if not pa.types.is_string(ids.type) or ids.null_count:
        raise SourceDataError(f"{path.name}: {column} must be text without NULL. Extract the data again.")
    distinct = pc.unique(ids)
    return distinct, len(ids) - len(distinct)


def _refuse_unwritable(ids: pa.Array, column: str) -> None:
    wrong = ids.filter(pc.match_substring_regex(ids, UNWRITABLE))
    if len(wrong):
        raise SourceDataError(
            f"{len(wrong)} ids in {column} have a carriage return or a zero byte, which ADS's CSV file "
            f"cannot have (first: {wrong[0].as_py()!r}). Let the queries replace them."
        )


def _rated_interactions(path: Path, work: Path, columns: list[str]) -> tuple[int, int]:
    kept = seen = 0
    schema = pa.schema([(columns[0], pa.string()), (columns[1], pa.string()), (columns[2], pa.float64())])
    with pq.ParquetFile(path) as source, pq.ParquetWriter(work / "interactions.parquet", schema) as sink:
        for batch in source.iter_batches(BATCH_ROWS, columns=columns):
            rows = pa.Table.from_batches([batch]).select(columns).cast(schema)
            rated = rows.filter(pc.fill_null(pc.is_finite(rows.column(2)), False))
            sink.write_table(rated)
            kept += len(rated)
            seen += len(rows)
    return kept, seen - kept


def _refuse_saturated(path: Path, users: pa.Array, items: pa.Array, columns: list[str]) -> None:
    """Refuse data that leaves nothing to recommend. Such data easily fits into memory."""
    rows = pq.read_table(path, columns=columns[:2])
    user = pc.index_in(rows.column(0), value_set=users).combine_chunks().fill_null(-1)
    item = pc.index_in(rows.column(1), value_set=items).combine_chunks().fill_null(-1)
    rated = np.zeros((len(users) + 1, len(items) + 1), dtype=bool)
    rated[user.to_numpy(), item.to_numpy()] = True
    if rated[:-1, :-1].all():
        raise SourceDataError(
            f"All {len(users):,} users have rated all {len(items):,} items: nothing is left to recommend, "
            "and the ADS operator fails on it. Check that items.sql returns the whole catalogue."
        )
