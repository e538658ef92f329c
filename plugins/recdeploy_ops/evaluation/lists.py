"""Measurements of ``recommendations.csv`` for the list gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.gates.lists import FallbackFacts, ListFacts, Violations
from recdeploy_ops.evaluation.interactions import positions
from recdeploy_ops.training.recommendations import INTERACTIONS, ITEMS, USERS, read_ids, read_lists

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import Settings, SourceSettings

BATCH_ROWS = 100_000
EXAMPLES = 3


def measure_lists(
    results_folder: Path,
    extract_folder: Path,
    *,
    settings: Settings,
    top_k: int,
    fallback: Sequence[tuple[str, float]],
) -> ListFacts:
    """Measure the recommendations of all users against the extract that they were made from.

    Args:
        results_folder: with ``recommendations.csv``.
        extract_folder: with ``users.parquet``, ``items.parquet`` and ``interactions.parquet``.
        settings: names the columns.
        top_k: intended length of a list.
        fallback: product ids and ratings for users who are not in the model.

    Raises:
        TrainingFailedError: ``recommendations.csv`` cannot be used.
    """
    source = settings.source
    users = read_ids(extract_folder / USERS, source.user_column)
    catalogue = read_ids(extract_folder / ITEMS, source.item_column)
    table = _Table.read(results_folder, source, users, catalogue)
    rated = _rated_pairs(extract_folder / INTERACTIONS, source, users, catalogue)
    unrated = len(catalogue) - np.bincount(rated // max(len(catalogue), 1), minlength=len(users))
    has_list = np.zeros(len(users), bool)
    has_list[table.user[table.user >= 0]] = True
    known = table.user >= 0
    expected = np.minimum(top_k, unrated[table.user]) if len(users) else np.zeros_like(table.user)
    pairs = table.user[table.owner] * len(catalogue) + table.item
    in_extract = known[table.owner] & (table.item >= 0)
    seen = np.append(rated, -1)[np.searchsorted(rated, pairs)] == pairs
    higher = table.rating[1:] > table.rating[:-1]
    rises = np.append(False, higher & (table.owner[1:] == table.owner[:-1]))
    return ListFacts(
        users=len(users),
        items=len(catalogue),
        top_k=top_k,
        lists=len(table.user),
        complete_users=int(np.count_nonzero(~has_list & (unrated == 0))),
        missing=_violations(users, ~has_list & (unrated > 0)),
        unknown_users=_violations(table.users, ~known),
        repeated_users=_violations(table.users, table.is_repeated_user()),
        wrong_length=_violations(table.users, known & (table.lengths != expected)),
        repeated_items=_violations(table.users, table.with_repeated_items()),
        unknown_items=_violations(table.users, table.with_row(table.item < 0)),
        rated_items=_violations(table.users, table.with_row(in_extract & seen)),
        not_descending=_violations(table.users, table.with_row(rises)),
        fallback=_measure_fallback(fallback, set(catalogue.to_pylist())),
    )


@dataclass(frozen=True)
class _Table:
    """All lists at once.

    Attributes:
        users: id of each list's user; shape (lists,).
        lengths: rows of each list; shape (lists,).
        user: number of each list's user in the extract, -1 for none; shape (lists,).
        owner: number of each row's list; shape (rows,).
        item: number of each row's item in the catalogue, -1 for none; shape (rows,).
        word: number of each row's item among those that occur in any list; shape (rows,).
        rating: of each row; shape (rows,).
    """

    users: pa.Array
    lengths: NDArray[np.int64]
    user: NDArray[np.int64]
    owner: NDArray[np.int64]
    item: NDArray[np.int64]
    word: NDArray[np.int64]
    rating: NDArray[np.float64]

    @classmethod
    def read(cls, results_folder: Path, source: SourceSettings, known_users: pa.Array, catalogue: pa.Array) -> _Table:
        vocabulary: dict[str, int] = {}
        parts = list(read_lists(results_folder, source, vocabulary))
        users = pa.concat_arrays([part.users for part in parts])
        lengths = np.concatenate([np.diff(part.bounds) for part in parts])
        word = np.concatenate([part.items for part in parts])
        return cls(
            users=users,
            lengths=lengths,
            user=positions(users, known_users),
            owner=np.repeat(np.arange(len(lengths)), lengths),
            item=positions(pa.array(list(vocabulary), pa.string()), catalogue)[word],
            word=word,
            rating=np.concatenate([part.ratings for part in parts]),
        )

    def with_row(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which lists have one of these rows."""
        lists = np.zeros(len(self.lengths), bool)
        lists[self.owner[rows]] = True
        return lists

    def with_repeated_items(self) -> NDArray[np.bool_]:
        size = int(self.word.max()) + 1
        pairs = np.sort(self.owner * size + self.word)
        lists = np.zeros(len(self.lengths), bool)
        lists[pairs[1:][pairs[1:] == pairs[:-1]] // size] = True
        return lists

    def is_repeated_user(self) -> NDArray[np.bool_]:
        words = self.users.dictionary_encode().indices.to_numpy()
        lists = np.ones(len(words), bool)
        lists[np.unique(words, return_index=True)[1]] = False
        return lists


def _rated_pairs(path: Path, source: SourceSettings, users: pa.Array, catalogue: pa.Array) -> NDArray[np.int64]:
    """Return ``user * items + item`` for every distinct pair of the interactions, in ascending order."""
    columns = [source.user_column, source.item_column]
    words: tuple[list[pa.Array], ...] = ([], [])
    indices: tuple[list[NDArray[np.int64]], ...] = ([], [])
    for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=columns):
        for side, column in enumerate(columns):
            encoded = batch.column(column).cast(pa.string()).dictionary_encode()
            before = sum(map(len, words[side]))
            indices[side].append(encoded.indices.to_numpy() + np.int64(before))
            words[side].append(encoded.dictionary)
    if not words[0]:
        return np.empty(0, np.int64)
    user, item = (
        positions(pa.concat_arrays(words[side]), known)[np.concatenate(indices[side])]
        for side, known in enumerate((users, catalogue))
    )
    pairs = (user * len(catalogue) + item)[(user >= 0) & (item >= 0)]
    pairs.sort()  # numpy.unique takes ten times as long
    return pairs[np.diff(pairs, prepend=-1) > 0]


def _violations(users: pa.Array, broken: NDArray[np.bool_]) -> Violations:
    where = np.flatnonzero(broken)
    return Violations(len(where), tuple(users.take(pa.array(where[:EXAMPLES])).to_pylist()))


def _measure_fallback(fallback: Sequence[tuple[str, float]], catalogue: set[str]) -> FallbackFacts:
    items = [item for item, _ in fallback]
    return FallbackFacts(
        length=len(items),
        repeated=_named(item for rank, item in enumerate(items) if item in items[:rank]),
        unknown=_named(item for item in items if item not in catalogue),
        not_finite=_named(item for item, rating in fallback if not np.isfinite(rating)),
    )


def _named(ids: Iterator[str]) -> Violations:
    named = tuple(ids)
    return Violations(len(named), named[:EXAMPLES])
