"""``DATA=folder``: loads a shop's own CSV files into the store database of the demo.

Three files are read as text and streamed: ``users.csv`` and ``items.csv``, whose first columns are the ids,
and ``interactions.csv`` with both ids under the same names, ``rating`` and, optionally, ``timestamp`` or the
settings' name for it. Ids are preserved byte for byte. The release's own gates judge the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from demo.csv_files import open_table
from demo.errors import DemoError
from demo.store import write_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.csv_files import Table
    from demo.store import Counts, Row

RATING, TIMESTAMP = "rating", "timestamp"
# Epoch seconds end here (the year 5138); a larger number counts milliseconds.
LATEST_SECONDS = 1e11


@dataclass(frozen=True)
class Columns:
    """Names of columns; None for the defaults.

    Attributes:
        user: the user id; by default the first column of ``users.csv``.
        item: the item id; by default the first column of ``items.csv``.
        rating: by default ``rating``.
        timestamp: epoch seconds or ISO 8601; by default ``timestamp``, else the settings' name, if present.
        title: of an item; by default the first column whose name ends in title or name, if present.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class Loaded:
    """The result of a load.

    Attributes:
        counts: rows per table.
        has_timestamps: whether the interactions have timestamps.
        columns_used: the columns that were read, in words.
    """

    counts: Counts
    has_timestamps: bool
    columns_used: str


def load_store(folder: Path, path: Path, columns: Columns | None = None, timestamp_column: str | None = None) -> Loaded:
    """Write the CSV files of ``folder`` into a new SQLite file that replaces ``path``.

    Args:
        folder: with the three files.
        path: the SQLite file.
        columns: names of columns.
        timestamp_column: another name of the timestamp column, looked for after ``timestamp``.

    Raises:
        DemoError: a file or column is missing, a file is empty, or a value cannot be used.
    """
    columns = columns or Columns()
    if not folder.is_dir():
        raise DemoError(f"DATA={folder} is not a folder. Name one with users.csv, items.csv and interactions.csv.")
    with (
        open_table(folder / "users.csv") as users,
        open_table(folder / "items.csv") as items,
        open_table(folder / "interactions.csv") as interactions,
    ):
        user = columns.user or users.header[0]
        item = columns.item or items.header[0]
        rating = columns.rating or RATING
        stamps = [name for name in (TIMESTAMP, timestamp_column) if name in interactions.header]
        stamp = columns.timestamp or next(iter(stamps), None)
        title = columns.title or _find_title(items)
        counts = write_store(
            path,
            users=_users(users, user),
            products=_items(items, item, title),
            interactions=_interactions(interactions, user, item, rating, stamp),
        )
    columns_used = (
        f"users.csv: {user}; items.csv: {item}, {title or 'no title'}; "
        f"interactions.csv: {user}, {item}, {rating}, {stamp or 'no timestamp'}"
    )
    return Loaded(counts, has_timestamps=stamp is not None, columns_used=columns_used)


def _users(table: Table, user: str) -> Iterator[Row]:
    index = table.index(user, "DATA_USER")
    empty = True
    for line, row in table.rows:
        empty = False
        yield table.identifier(line, row, index), None, None, None
    _refuse_empty(table, empty)


def _items(table: Table, item: str, title: str | None) -> Iterator[Row]:
    index = table.index(item, "DATA_ITEM")
    named = table.index(title, "DATA_TITLE") if title else None
    empty = True
    for line, row in table.rows:
        empty = False
        yield table.identifier(line, row, index), None if named is None else row[named], None, None
    _refuse_empty(table, empty)


def _find_title(table: Table) -> str | None:
    return next((name for name in table.header if name.lower().endswith(("title", "name"))), None)


def _interactions(table: Table, user: str, item: str, rating: str, stamp: str | None) -> Iterator[Row]:
    users, items = table.index(user, "DATA_USER"), table.index(item, "DATA_ITEM")
    ratings = table.index(rating, "DATA_RATING")
    stamps = table.index(stamp, "DATA_TIMESTAMP") if stamp else None
    empty = True
    for line, row in table.rows:
        empty = False
        yield (
            table.identifier(line, row, users),
            table.identifier(line, row, items),
            _rating(table, line, row, ratings),
            None if stamps is None else _moment(table, line, row, stamps),
        )
    _refuse_empty(table, empty)


def _rating(table: Table, line: int, row: list[str], index: int) -> float:
    try:
        value = float(row[index].replace("_", "?"))  # float accepts 1_000, which is not a number in CSV
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problem = f"{row[index]!r} is not a number: correct it, or name another column with DATA_RATING=column"
        raise table.error(line, index, problem)
    return value


def _moment(table: Table, line: int, row: list[str], index: int) -> str | None:
    text = row[index].strip()
    if not text:
        return None
    try:
        return _parse_moment(text).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        problem = f"{row[index]!r} is neither epoch seconds nor ISO 8601: correct it, or name another column with"
        raise table.error(line, index, f"{problem} DATA_TIMESTAMP=column") from None


def _parse_moment(text: str) -> datetime:
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.fromtimestamp(seconds / 1000 if seconds > LATEST_SECONDS else seconds, UTC)


def _refuse_empty(table: Table, empty: bool) -> None:
    if empty:
        raise DemoError(f"{table.path} has a header but no rows. Add at least one.")
