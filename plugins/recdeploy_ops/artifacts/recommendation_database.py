"""The recommendation database, written from ``recommendations.csv``, and the list for users who are not in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from recdeploy_ops.artifacts.readers import LISTS, PRODUCTS
from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training.recommendations import (
    INTERACTIONS,
    ITEMS,
    NEW_USERS,
    RECOMMENDATIONS,
    USERS,
    read_ids,
    read_lists,
    read_new_users,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings
    from recdeploy_ops.training.recommendations import RankedLists, Ranking

POPULARITY = "popularity"  # the origin of a list for new users that the operator did not write

PAGE_BYTES = 8192
SQLITE_VERSION_AT = 96  # offset in the file of the version of the SQLite library that wrote it

SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = FILE;
BEGIN;
{PRODUCTS};
{LISTS};
CREATE TEMP TABLE arrived (user_id TEXT, positions BLOB, ratings BLOB);
CREATE TEMP TABLE members (user_id TEXT);
"""
MISSING_USERS = """
SELECT user_id FROM members WHERE NOT EXISTS (SELECT 1 FROM lists WHERE lists.user_id = members.user_id)
"""


@dataclass(frozen=True)
class Popularity:
    """How often an item was recommended, or rated.

    Attributes:
        item: its id.
        count: lists that have it, or ratings of it.
        rating: the mean of the ratings in them.
    """

    item: str
    count: int
    rating: float


def rank_by_popularity(items: Iterable[Popularity], length: int) -> Ranking:
    """Return the ``length`` most popular items with their mean ratings, most popular first.

    Equal counts are ordered by mean rating, then by id, so that the order does not depend on the input's.
    """
    ranked = sorted(items, key=lambda item: (-item.count, -item.rating, item.item))
    return [(item.item, item.rating) for item in ranked[:length]]


def write_lists(results_folder: Path, extract_folder: Path, path: Path, source: SourceSettings) -> list[Popularity]:
    """Write ``recommendations.sqlite`` in bounded memory, and return how popular each item is in it."""
    vocabulary: dict[str, int] = {}
    tally = _Tally()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(SCHEMA)
        rows = _packed_rows(read_lists(results_folder, source, vocabulary), vocabulary, tally)
        database.executemany("INSERT INTO arrived VALUES (?, ?, ?)", rows)
        try:
            database.execute("INSERT INTO lists SELECT * FROM arrived ORDER BY user_id")
        except sqlite3.IntegrityError as err:
            user = database.execute(
                "SELECT user_id FROM arrived GROUP BY user_id HAVING count(*) > 1 LIMIT 1"
            ).fetchone()[0]
            raise TrainingFailedError(f"{RECOMMENDATIONS} has more than one list for user {user!r}.") from err
        complete = _complete_users(database, extract_folder, source)
        database.executemany("INSERT INTO lists VALUES (?, x'', x'')", ((user,) for user in complete))
        products = ((position, item) for item, position in vocabulary.items())
        database.executemany("INSERT INTO products VALUES (?, ?)", products)
        database.execute("COMMIT")
    with path.open("r+b") as stream:  # otherwise the digest would depend on SQLite's version
        stream.seek(SQLITE_VERSION_AT)
        stream.write(bytes(4))
    return tally.items(vocabulary)


def choose_new_user_list(
    results_folder: Path,
    source: SourceSettings,
    top_k: int,
    *,
    popular: Callable[[], list[Popularity]],
    extract_folder: Path | None,
) -> tuple[Ranking, str]:
    """Return the list for new users, best first, and where it comes from.

    Args:
        results_folder: with the operator's own list, the first choice.
        source: names the columns.
        top_k: length of the list.
        popular: counts the items of the recommended lists, the second choice.
        extract_folder: with the ratings, which fill up a list that is too short; None to leave it short.

    Raises:
        TrainingFailedError: the operator's own list cannot be used.
    """
    own = read_new_users(results_folder, source)
    if own is not None:
        return own[:top_k], NEW_USERS
    ranking = rank_by_popularity(popular(), top_k)
    if extract_folder is not None and len(ranking) < top_k:
        ranking += _rank_by_ratings(extract_folder, source, top_k - len(ranking), {item for item, _ in ranking})
    return ranking, POPULARITY


def count_popularity(results_folder: Path, source: SourceSettings) -> list[Popularity]:
    """Return how popular each item is in the recommended lists, like `write_lists`, without writing."""
    vocabulary: dict[str, int] = {}
    tally = _Tally()
    for lists in read_lists(results_folder, source, vocabulary):
        tally.add(lists, len(vocabulary))
    return tally.items(vocabulary)


def _rank_by_ratings(extract_folder: Path, source: SourceSettings, length: int, listed: set[str]) -> Ranking:
    """Return the items of the catalogue that were rated most often and are not listed yet."""
    unlisted = set(read_ids(extract_folder / ITEMS, source.item_column).to_pylist()) - listed
    columns = [source.item_column, source.rating_column]
    table = pq.read_table(extract_folder / INTERACTIONS, columns=columns).rename_columns(["item", "rating"])
    rated = table.filter(pc.is_finite(table.column("rating")))
    by_item = rated.group_by("item").aggregate([("rating", "count"), ("rating", "mean")])
    items = [
        Popularity(row["item"], row["rating_count"], row["rating_mean"])
        for row in by_item.to_pylist()
        if row["item"] in unlisted
    ]
    return rank_by_popularity(items, length)


class _Tally:
    """Counts the lists that have each item, and sums up its ratings in them."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.empty(0, np.int64)
        self.sums: NDArray[np.float64] = np.empty(0)

    def add(self, lists: RankedLists, size: int) -> None:
        new = size - len(self.counts)
        self.counts = np.pad(self.counts, (0, new)) + np.bincount(lists.items, minlength=size)
        self.sums = np.pad(self.sums, (0, new)) + np.bincount(lists.items, lists.ratings, minlength=size)

    def items(self, vocabulary: dict[str, int]) -> list[Popularity]:
        means = (self.sums / self.counts).tolist()
        return list(map(Popularity, vocabulary, self.counts.tolist(), means))


def _packed_rows(
    batches: Iterator[RankedLists], vocabulary: dict[str, int], tally: _Tally
) -> Iterator[tuple[str, bytes, bytes]]:
    for lists in batches:
        tally.add(lists, len(vocabulary))
        positions, ratings = lists.items.astype("<u4").tobytes(), lists.ratings.astype("<f8").tobytes()
        bounds = lists.bounds.tolist()
        for user, start, end in zip(lists.users.to_pylist(), bounds[:-1], bounds[1:], strict=True):
            yield user, positions[4 * start : 4 * end], ratings[8 * start : 8 * end]


def _complete_users(database: sqlite3.Connection, extract_folder: Path, source: SourceSettings) -> list[str]:
    """Return the users who got no list because they have rated every item."""
    users = pq.ParquetFile(extract_folder / USERS)
    if database.execute("SELECT count(*) FROM lists").fetchone()[0] == users.metadata.num_rows:
        return []
    ids = ((user,) for batch in users.iter_batches(columns=[source.user_column]) for user in batch[0].to_pylist())
    database.executemany("INSERT INTO members VALUES (?)", ids)
    without_list = pa.array([row[0] for row in database.execute(MISSING_USERS)], pa.string())
    catalogue = set(read_ids(extract_folder / ITEMS, source.item_column).to_pylist())
    rated: dict[str, set[str]] = {}
    scan = pyarrow.dataset.dataset(extract_folder / INTERACTIONS).to_batches(
        columns=[source.user_column, source.item_column],
        filter=pyarrow.dataset.field(source.user_column).isin(without_list),
    )
    for batch in scan:
        for user, item in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rated.setdefault(user, set()).add(item)
    return sorted(user for user, items in rated.items() if catalogue <= items)
