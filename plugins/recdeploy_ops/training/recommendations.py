"""The lists that the operator recommends: the reader of recommendations.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import TrainingFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings


RECOMMENDATIONS = "recommendations.csv"
USERS = "users.parquet"
ITEMS = "items.parquet"
INTERACTIONS = "interactions.parquet"
BLOCK_BYTES = 1 << 21


@dataclass(frozen=True)
class RankedLists:
    """Whole lists of some users, in the order of the file.

    Attributes:
        users: one id for each list; shape (lists,).
        bounds: where each list begins and the last one ends; shape (lists + 1,).
        items: number of each row's item in the vocabulary of `read_lists`; shape (rows,).
        ratings: of each row, NaN where there is none; shape (rows,).
    """

    users: pa.Array
    bounds: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float64]

    def ranking(self, number: int, words: Sequence[str]) -> tuple[tuple[str, float], ...]:
        """Return one list as pairs of item id and rating; ``words`` is the vocabulary in its order."""
        number %= len(self.users)
        rows = slice(self.bounds[number], self.bounds[number + 1])
        pairs = zip(self.items[rows].tolist(), self.ratings[rows].tolist(), strict=True)
        return tuple((words[item], rating) for item, rating in pairs)


def read_lists(results_folder: Path, source: SourceSettings, vocabulary: dict[str, int]) -> Iterator[RankedLists]:
    """Stream ``recommendations.csv``: rows grouped by user, best first, as the operator writes it.

    Ids are text and stay what they are (``00420``, ``1e5``, ``NaN``, with quotes and line breaks inside).

    Args:
        results_folder: where the file lies.
        source: names its columns.
        vocabulary: filled on the way: number of each item id, in order of first appearance.

    Raises:
        TrainingFailedError: the file is missing or empty, lacks a column, or a rating is no number.
    """
    path = results_folder / RECOMMENDATIONS
    columns = [source.user_column, source.item_column, source.rating_column]
    try:
        for rows, starts in _whole_lists(_open_csv(path, columns)):
            yield _lists_of(rows, starts, vocabulary)
    except (pa.ArrowException, OSError, KeyError) as err:
        raise TrainingFailedError(
            f"{path.name} of the operator cannot be read: {err}. It must have the columns {', '.join(columns)}."
        ) from err


def _whole_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Return the rows of whole lists, and where each begins; only a list that batches share is copied.

    Raises:
        pa.ArrowInvalid: there is no row.
    """
    newest = None  # the list that may go on in the next batch
    for batch in batches:
        if not batch.num_rows:
            continue
        starts = _starts(batch.column(0))
        goes_on = newest is not None and newest.column(0)[0] == batch.column(0)[0]
        if goes_on and len(starts) == 1:
            newest = pa.concat_batches([newest, batch])
            continue
        if goes_on:
            newest = pa.concat_batches([newest, batch.slice(0, starts[1])])
        if newest is not None:
            yield newest, starts[:1]
        begun = int(goes_on)
        if starts[begun:-1].size:
            yield batch.slice(starts[begun], starts[-1] - starts[begun]), starts[begun:-1] - starts[begun]
        newest = batch.slice(starts[-1])
    if newest is None:
        raise pa.ArrowInvalid("it is empty")
    yield newest, np.zeros(1, np.int64)


def _open_csv(path: Path, columns: list[str]) -> Any:
    text, number = pa.string(), pa.float64()
    return pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict(zip(columns, (text, text, number), strict=True)),
            strings_can_be_null=False,
        ),
    )


def _starts(users: pa.Array) -> NDArray[np.int64]:
    """Return the rows at which another user's list begins."""
    changes = pc.not_equal(users.slice(1), users.slice(0, len(users) - 1))
    return np.concatenate([[0], np.flatnonzero(changes.to_numpy(zero_copy_only=False)) + 1])


def _lists_of(rows: pa.RecordBatch, starts: NDArray[np.int64], vocabulary: dict[str, int]) -> RankedLists:
    users, items, ratings = rows.columns
    encoded = items.dictionary_encode()
    numbers = [vocabulary.setdefault(item, len(vocabulary)) for item in encoded.dictionary.to_pylist()]
    return RankedLists(
        users=users.take(pa.array(starts)),
        bounds=np.append(starts, rows.num_rows),
        items=np.array(numbers, np.int64)[encoded.indices.to_numpy()],
        ratings=ratings.fill_null(np.nan).to_numpy(),
    )


def read_ids(path: Path, column: str) -> pa.Array:
    """Return the distinct ids in a column of a table of the extract, in order of first appearance."""
    return pc.unique(pq.read_table(path, columns=[column]).column(0).cast(pa.string()))
