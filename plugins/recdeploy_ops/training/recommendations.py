"""The only reader of the operator's two CSV files, ``recommendations.csv`` and ``new_users.csv``.

The verification of the outputs, the gates, the recommendation database and the notebook all use it. So a file that one
of them refuses is refused by all, in the same words.
"""

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
NEW_USERS = "new_users.csv"
USERS = "users.parquet"
ITEMS = "items.parquet"
INTERACTIONS = "interactions.parquet"
BLOCK_BYTES = 1 << 21

Ranking = list[tuple[str, float]]


@dataclass(frozen=True)
class RankedLists:
    """Complete lists of some users, in the order of the file.

    Attributes:
        users: one id for each list; shape (lists,).
        bounds: where each list begins and the last one ends; shape (lists + 1,).
        items: number of each row's item in the vocabulary of `read_lists`; shape (rows,).
        ratings: of each row, a finite number; shape (rows,).
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

    Ids are text and stay unchanged (``00420``, ``1e5``, ``NaN``, with quotes and line breaks inside).

    Args:
        results_folder: of the file.
        source: names its columns.
        vocabulary: filled while reading: the number of each item id, in order of first appearance.

    Raises:
        TrainingFailedError: the file is missing, damaged or without rows, or has other columns or a rating that is
            not a finite number.
    """
    for rows, starts in read_list_rows(results_folder, source):
        yield _lists_of(rows, starts, vocabulary)


def read_list_rows(results_folder: Path, source: SourceSettings) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Stream the rows of complete lists, users and items as text and finite ratings, and where each list begins.

    For readers that number the items themselves; raises as `read_lists` does.
    """
    columns = [source.user_column, source.item_column, source.rating_column]
    return _whole_lists(_read_rows(results_folder / RECOMMENDATIONS, columns))


def read_new_users(results_folder: Path, source: SourceSettings) -> Ranking | None:
    """Return ``new_users.csv``, the operator's own list for new users, best first; None if it wrote none.

    Raises:
        TrainingFailedError: as from `read_lists`.
    """
    path = results_folder / NEW_USERS
    if not path.exists():
        return None
    ranking: Ranking = []
    for rows in _read_rows(path, [source.item_column, source.rating_column]):
        ranking += zip(*(column.to_pylist() for column in rows.columns), strict=True)
    return ranking


def read_ids(path: Path, column: str) -> pa.Array:
    """Return the distinct ids in a column of a table of the extract, in order of first appearance."""
    return pc.unique(pq.read_table(path, columns=[column]).column(0).cast(pa.string()))


def _read_rows(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in non-empty blocks: ids as text, and the ratings, finite numbers, in the last column."""
    has_rows = False
    try:
        with _open_csv(path, columns) as blocks:
            if blocks.schema.names != columns:
                raise _unusable(path, f"has the columns {blocks.schema.names}, and must have {columns}: train again.")
            for block in blocks:
                if block.num_rows:
                    has_rows = True
                    yield _with_finite_ratings(path, block, blocks)
    except FileNotFoundError as err:
        raise _unusable(path, "is missing: train again.") from err
    except (pa.ArrowException, OSError, UnicodeError) as err:
        raise _unusable(path, f"cannot be read ({err}): train again.") from err
    if not has_rows:
        raise _unusable(path, "has no rows: train again.")


def _open_csv(path: Path, columns: list[str]) -> Any:
    return pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
        ),
    )


def _with_finite_ratings(path: Path, block: pa.RecordBatch, later: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Return a block with its last column as numbers.

    Args:
        path: of the file, for the message.
        block: its rows.
        later: the blocks that follow, read only to count the wrong ratings.

    Raises:
        TrainingFailedError: a rating in the block is not a finite number.
    """
    ratings = _numbers(block.column(block.num_columns - 1))
    wrong = np.flatnonzero(~np.isfinite(ratings))
    if wrong.size:
        first = ", ".join(repr(column[int(wrong[0])].as_py()) for column in block.columns)
        counts = (np.count_nonzero(~np.isfinite(_numbers(rows.column(rows.num_columns - 1)))) for rows in later)
        raise _unusable(
            path,
            f"has a rating that is not a finite number in {wrong.size + sum(counts):,} rows (first: {first}): lower "
            "training.learning_rate, or let interactions.sql scale the ratings down, and train again.",
        )
    columns = [*block.columns[:-1], pa.array(ratings)]
    return pa.RecordBatch.from_arrays(columns, names=block.schema.names)


def _numbers(texts: pa.Array) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for those that are not."""
    try:
        numbers: NDArray[np.float64] = texts.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        distinct = texts.dictionary_encode()
        numbers = np.array([_number(text) for text in distinct.dictionary.to_pylist()])[distinct.indices.to_numpy()]
    return numbers


def _number(text: str) -> float:
    try:
        return float(pa.scalar(text.strip()).cast(pa.float64()).as_py())
    except pa.ArrowInvalid:
        return float("nan")


def _unusable(path: Path, problem: str) -> TrainingFailedError:
    return TrainingFailedError(f"{path.name} {problem}")


def _whole_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Yield the rows of complete lists, and where each begins; only a list that spans batches is copied."""
    newest = None  # the list that may continue in the next batch
    for batch in batches:
        starts = _starts(batch.column(0))
        is_continued = newest is not None and newest.column(0)[0] == batch.column(0)[0]
        if is_continued and len(starts) == 1:
            newest = pa.concat_batches([newest, batch])
            continue
        if is_continued:
            newest = pa.concat_batches([newest, batch.slice(0, starts[1])])
        if newest is not None:
            yield newest, starts[:1]
        first = int(is_continued)
        if starts[first:-1].size:
            yield batch.slice(starts[first], starts[-1] - starts[first]), starts[first:-1] - starts[first]
        newest = batch.slice(starts[-1])
    yield newest, np.zeros(1, np.int64)


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
        ratings=ratings.to_numpy(),
    )
