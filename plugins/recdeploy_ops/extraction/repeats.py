"""Repeated interactions: who bought or rated an item again has one row for training, and all of them for the gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

REPEATED = "repeated.parquet"  # beside an extract's other files: every row of the pairs that were merged


@dataclass(frozen=True)
class Merging:
    """How the rows of one user and one item become one.

    Attributes:
        how: ``latest``, ``mean``, ``max`` or ``sum`` of the ratings. NULL and what is not finite counts only if a pair
            has nothing else.
        keys: columns of the user and the item.
        rating: column of the rating.
        timestamp: column of the time, of which the latest stays; None without one.
    """

    how: str
    keys: tuple[str, ...]
    rating: str
    timestamp: str | None

    def merge(self, batches: Iterable[pa.Table], keep: Callable[[pa.Table], None]) -> Iterator[pa.Table]:
        """Yield one row for each pair, in the same order. Memory is bounded by a batch and the rows of one pair.

        Args:
            batches: sorted by the keys.
            keep: called with all rows of the pairs that have more than one.
        """
        held: pa.Table | None = None
        for batch in batches:
            rows = pa.concat_tables([held, batch]) if held else batch
            if not len(rows):
                continue
            starts = self._find_pairs(rows)
            held = rows.slice(int(starts[-1]))
            if len(starts) > 1:
                yield self._merge(rows.slice(0, int(starts[-1])), starts[:-1], keep)
        if held:
            yield self._merge(held, np.zeros(1, np.int64), keep)

    def _find_pairs(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return where each pair begins."""
        begins = np.zeros(len(rows), bool)
        begins[0] = True
        for key in self.keys:
            column = rows.column(key).combine_chunks()
            begins[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        return np.flatnonzero(begins)

    def _merge(self, rows: pa.Table, starts: NDArray[np.int64], keep: Callable[[pa.Table], None]) -> pa.Table:
        counts = np.diff(np.append(starts, len(rows)))
        if counts.max() == 1:
            return rows
        pairs = np.repeat(np.arange(len(starts)), counts)
        keep(rows.filter(pa.array(counts[pairs] > 1)))
        ratings = rows.column(self.rating).to_numpy()  # NaN for NULL
        is_finite = np.isfinite(ratings)
        times = np.zeros(len(rows), np.int64)
        if self.timestamp is not None:
            times = rows.column(self.timestamp).cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
        ends = starts + counts - 1
        latest = rows.take(pa.array(np.lexsort((times, is_finite, pairs))[ends]))
        if self.how == "latest":
            return latest
        if self.timestamp is not None:
            newest = rows.column(self.timestamp).take(pa.array(np.lexsort((times, pairs))[ends]))
            latest = _replace(latest, self.timestamp, newest)
        known = np.add.reduceat(is_finite, starts, dtype=np.int64)
        merged = latest.column(self.rating).to_numpy().copy()
        some = known > 0
        if self.how == "max":
            merged[some] = np.maximum.reduceat(np.where(is_finite, ratings, -np.inf), starts)[some]
        else:
            merged[some] = np.add.reduceat(np.where(is_finite, ratings, 0.0), starts)[some]
            if self.how == "mean":
                merged[some] /= known[some]
        values = pa.array(merged, mask=(known == 0) & latest.column(self.rating).is_null().to_numpy())
        return _replace(latest, self.rating, values)


def _replace(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values)
