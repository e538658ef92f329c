"""An extract as 64-bit hashes: enough to see what became of its rows when the extract itself is not kept.

The extract has customers' data and is kept for a short time; 8 bytes a row, from which no id can be read, are kept
longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from recdeploy_ops.domain.gates.history import Differences, HistoryFacts
from recdeploy_ops.evaluation.history import find_copies, name_rows, take_since
from recdeploy_ops.evaluation.interactions import hash_rows, hash_text, read_all_interactions
from recdeploy_ops.training.recommendations import ITEMS

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

FILE = "row_hashes.npz"
DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class RowHashes:
    """The rows and items of an extract.

    Attributes:
        rows: hash of each interaction, as `hash_rows` gives it, the oldest first; shape (rows,).
        days: the days since 1970, UTC, that have interactions, ascending; shape (days,), empty without timestamps.
        starts: where the rows of each day begin; shape (days,).
        newest: microseconds since 1970, UTC, of the newest interaction; shape (1,), empty without timestamps.
        items: hash of each item's id, ascending; shape (items,).
        titles: hash of each item's title; shape (items,), empty without titles.
    """

    rows: NDArray[np.uint64]
    days: NDArray[np.int64]
    starts: NDArray[np.int64]
    newest: NDArray[np.int64]
    items: NDArray[np.uint64]
    titles: NDArray[np.uint64]

    @classmethod
    def of(cls, extract: Path, source: SourceSettings) -> RowHashes:
        """Return the hashes of an extract; ``source`` names its columns."""
        interactions = read_all_interactions(extract, source)
        hashes, times = hash_rows(interactions), interactions.times
        empty = np.empty(0, np.int64)
        days, starts, newest = empty, empty, empty
        if times is not None and len(times):
            order = np.argsort(times, kind="stable")
            hashes, newest = hashes[order], times[order[-1:]]
            days, starts = np.unique(times[order] // DAY, return_index=True)
        return cls(hashes, days, starts, newest, *_hash_items(extract / ITEMS, source))

    def write(self, folder: Path) -> None:
        """Write the hashes into a folder."""
        np.savez(folder / FILE, **vars(self))

    @classmethod
    def read(cls, folder: Path) -> RowHashes:
        """Return what `write` has written."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})

    def since(self, day: datetime | None) -> NDArray[np.uint64]:
        """Return the rows from a day on, as far as rows have one."""
        if day is None or not len(self.days):
            return self.rows
        first = np.searchsorted(self.days, int(day.timestamp() * 1e6) // DAY)
        return self.rows[self.starts[first] :] if first < len(self.days) else self.rows[:0]


def measure_hashed_history(
    approved: RowHashes, today: Path, source: SourceSettings, *, since: datetime | None, approved_since: datetime | None
) -> HistoryFacts | None:
    """Compare an extract with the hashes of the champion's.

    What is gone cannot be named, and a row whose rating or time was changed counts as lost and as late.

    Args:
        approved: of the champion's extract.
        today: folder of today's.
        source: names its columns.
        since: the first day of interactions in today's, as configured; None without one.
        approved_since: likewise in the champion's.

    Returns:
        None if only one of the two has timestamps: a hash covers the time.
    """
    interactions = read_all_interactions(today, source)
    if (interactions.times is None) == bool(len(approved.newest)):
        return None
    now = hash_rows(interactions := take_since(interactions, approved_since))
    distinct, counts = np.unique(approved.since(since), return_counts=True)
    late = None
    if interactions.times is not None:
        before = np.flatnonzero(interactions.times <= approved.newest[0])
        added = before[~np.isin(now[before], distinct)]
        rows = np.sort(np.append(added, before[find_copies(now[before], distinct, counts)]))
        late = Differences(len(rows), name_rows(interactions, rows))
    ids, titles = _hash_items(today / ITEMS, source)
    where = np.minimum(np.searchsorted(ids, approved.items), max(len(ids) - 1, 0))
    kept = ids[where] == approved.items if len(ids) else np.zeros(len(approved.items), bool)
    renamed = None
    if len(approved.titles) and len(titles):
        renamed = Differences(int(np.count_nonzero(kept & (titles[where] != approved.titles))))
    return HistoryFacts(
        approved=len(distinct),
        lost=Differences(int(np.count_nonzero(~np.isin(distinct, now)))),
        late=late,
        approved_items=len(approved.items),
        missing=Differences(int(np.count_nonzero(~kept))),
        kept_items=int(np.count_nonzero(kept)),
        renamed=renamed,
    )


def _hash_items(path: Path, source: SourceSettings) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the hashes of ids, ascending and each once, and of their titles; these are empty without a column."""
    columns = [source.item_column]
    if source.title_column in pq.read_schema(path).names:
        columns.append(str(source.title_column))
    table = pq.read_table(path, columns=columns)
    ids, first = np.unique(_hash_texts(table.column(0).to_pylist()), return_index=True)
    if len(columns) == 1:
        return ids, np.empty(0, np.uint64)
    return ids, _hash_texts(table.column(1).take(first).to_pylist())


def _hash_texts(texts: list[object]) -> NDArray[np.uint64]:
    return np.fromiter((hash_text("" if text is None else str(text)) for text in texts), np.uint64, len(texts))
