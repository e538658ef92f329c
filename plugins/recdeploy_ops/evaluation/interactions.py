"""The interactions of an extract as arrays, with ids as numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.extraction.repeats import REPEATED
from recdeploy_ops.training.recommendations import INTERACTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

# The constants of splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
FIRST, SECOND, STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Codes:
    """A column of ids as numbers.

    Attributes:
        codes: number of each row's id; shape (rows,).
        ids: the text of each number; shape (distinct ids,), some may have no row.
    """

    codes: NDArray[np.int64]
    ids: pa.Array

    def are_in(self, other: Codes) -> NDArray[np.bool_]:
        """Return for each row whether its id is among the other's."""
        known = pc.is_in(self.ids, value_set=other.ids).to_numpy(zero_copy_only=False)
        return np.asarray(known, dtype=bool)[self.codes]

    def within(self, ids: pa.Array) -> NDArray[np.int64]:
        """Return the position of each row's id in ``ids``, -1 where it is not there."""
        return positions(self.ids, ids)[self.codes]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Codes:
        """Return some rows, with the same numbers."""
        return Codes(self.codes[rows], self.ids)


@dataclass(frozen=True)
class Interactions:
    """Interactions as parallel arrays; shape (rows,) each.

    Attributes:
        users: of each row.
        items: of each row.
        ratings: of each row; may have NaN.
        times: microseconds since 1970, UTC; None without timestamps. A row without one has the earliest number.
    """

    users: Codes
    items: Codes
    ratings: NDArray[np.float64]
    times: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.ratings)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Interactions:
        """Return some rows."""
        times = None if self.times is None else self.times[rows]
        return Interactions(self.users.take(rows), self.items.take(rows), self.ratings[rows], times)

    def without(self, rows: NDArray[np.int64]) -> Interactions:
        """Return all rows but these."""
        kept = np.ones(len(self), bool)
        kept[rows] = False
        return self.take(kept)

    def name(self, row: int) -> str:
        """Return the user and item of a row, in words."""
        user, item = self.users.ids[int(self.users.codes[row])], self.items.ids[int(self.items.codes[row])]
        return f"user {user.as_py()!r} item {item.as_py()!r}"


def read_interactions(folder: Path, source: SourceSettings) -> Interactions:
    """Return the interactions of an extract, one for each user and item if repeated ones were merged.

    Args:
        folder: of the extract.
        source: names the columns; a column of timestamps that the file does not have counts as none.
    """
    return _encode(_read_table(folder / INTERACTIONS, source), source)


def read_all_interactions(folder: Path, source: SourceSettings) -> Interactions:
    """Return the interactions of an extract as the database had them, before repeated ones were merged.

    Args:
        folder: of the extract.
        source: names the columns; a column of timestamps that the file does not have counts as none.
    """
    table = _read_table(folder / INTERACTIONS, source)
    merged = _encode(table, source)
    if not (folder / REPEATED).exists():
        return merged
    rows = _read_table(folder / REPEATED, source)
    is_merged = np.isin(hash_pairs(merged), hash_pairs(_encode(rows, source)))
    return _encode(pa.concat_tables([table.filter(pa.array(~is_merged)), rows]), source)


def _read_table(path: Path, source: SourceSettings) -> pa.Table:
    """Return the ids, as dictionaries, the ratings and, if there are any, the times."""
    ids, times = [source.user_column, source.item_column], source.timestamp_column
    columns = [*ids, source.rating_column]
    if times and times in pq.read_schema(path).names:
        columns.append(times)
    return pq.read_table(path, columns=columns, read_dictionary=ids)


def _encode(table: pa.Table, source: SourceSettings) -> Interactions:
    times = None
    if source.timestamp_column in table.column_names:
        earliest = np.iinfo(np.int64).min
        column = table.column(source.timestamp_column).combine_chunks()
        times = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(earliest).to_numpy()
    return Interactions(
        users=_encode_ids(table, source.user_column),
        items=_encode_ids(table, source.item_column),
        ratings=table.column(source.rating_column).to_numpy(),
        times=times,
    )


def read_codes(path: Path, column: str) -> Codes:
    """Return a column of ids of a Parquet file as numbers, in order of first appearance in its dictionary."""
    return _encode_ids(pq.read_table(path, columns=[column], read_dictionary=[column]), column)


def _encode_ids(table: pa.Table, column: str) -> Codes:
    chunks = table.select([column]).unify_dictionaries().column(column).chunks
    if not chunks:
        return Codes(np.empty(0, dtype=np.int64), pa.array([], pa.string()))
    codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in chunks])
    return Codes(codes.astype(np.int64), chunks[0].dictionary)


def positions(ids: pa.Array, known: pa.Array) -> NDArray[np.int64]:
    """Return the position of each id in ``known``, -1 where it is not there."""
    indices: NDArray[np.int32] = pc.index_in(ids, value_set=known).fill_null(-1).to_numpy()
    return indices.astype(np.int64)


def hash_rows(interactions: Interactions) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row's user, item, rating and time; shape (rows,), 8 bytes a row.

    It depends on the text of the ids only, so that two extracts can be compared. Of 10 million different rows two have
    the same hash with a probability of 3 in a million.
    """
    hashes = _hash_ids(interactions.users.ids)[interactions.users.codes]
    hashes = mix(hashes) ^ _hash_ids(interactions.items.ids)[interactions.items.codes]
    hashes = mix(hashes) ^ (interactions.ratings + 0.0).view(np.uint64)  # + 0.0: -0.0 is 0.0
    if interactions.times is not None:
        hashes = mix(hashes) ^ interactions.times.view(np.uint64)
    return mix(hashes)


def hash_pairs(interactions: Interactions) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row's user and item; shape (rows,)."""
    hashes = _hash_ids(interactions.users.ids)[interactions.users.codes]
    return mix(mix(hashes) ^ _hash_ids(interactions.items.ids)[interactions.items.codes])


def hash_text(text: str) -> int:
    """Return a 64-bit hash of a text that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def _hash_ids(ids: pa.Array) -> NDArray[np.uint64]:
    return np.fromiter(map(hash_text, ids.to_pylist()), np.uint64, len(ids))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64 of each value: every bit of the input changes half of those of the output."""
    values = values + STEP
    values = (values ^ (values >> np.uint64(30))) * FIRST
    values = (values ^ (values >> np.uint64(27))) * SECOND
    return values ^ (values >> np.uint64(31))
