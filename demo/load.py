"""``DATA=folder``: loads a shop's own CSV files into the store database of the demo.

Three files are read as text and streamed: ``users.csv`` and ``items.csv``, whose first named columns are the ids,
and ``interactions.csv`` with both ids under the same names, ``rating`` and, optionally, ``timestamp`` or the
settings' name for it, all in upper or lower case. Ids are preserved byte for byte. The release's own gates judge the
rows.
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
ROLES = {
    "DATA_USER": "the user id",
    "DATA_ITEM": "the item id",
    "DATA_RATING": "the rating",
    "DATA_TIMESTAMP": "the timestamp",
    "DATA_TITLE": "the title",
}
# Epoch seconds end here (the year 5138); a larger number counts milliseconds.
LATEST_SECONDS = 1e11


@dataclass(frozen=True)
class Columns:
    """Names of columns, in upper or lower case; None for the defaults.

    Attributes:
        user: the user id; by default the first named column of ``users.csv``.
        item: the item id; by default the first named column of ``items.csv``.
        rating: by default ``rating``.
        timestamp: epoch seconds or ISO 8601; by default ``timestamp``, else the settings' name, if present.
        title: of an item; by default the first other column whose name ends in title or name, if present.
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
        DemoError: a file or column is missing, a file is empty or not CSV, a column would have two roles, or a value
            cannot be used.
    """
    columns = columns or Columns()
    if not folder.is_dir():
        raise DemoError(f"DATA={folder} is not a folder. Name one with users.csv, items.csv and interactions.csv.")
    with (
        open_table(folder / "users.csv") as users,
        open_table(folder / "items.csv") as items,
        open_table(folder / "interactions.csv") as interactions,
    ):
        user, item = columns.user or users.first_named(), columns.item or items.first_named()
        user_at, item_at = users.index(user, "DATA_USER"), items.index(item, "DATA_ITEM")
        title_at = _find_title(items, columns.title, item_at)
        used = _find_columns(interactions, columns, user, item, timestamp_column)
        counts = write_store(
            path,
            users=_users(users, user_at),
            products=_items(items, item_at, title_at),
            interactions=_interactions(interactions, used),
        )
    columns_used = (
        f"users.csv: {users.header[user_at]}; "
        f"items.csv: {items.header[item_at]}, {_name(items, title_at, 'title')}; "
        f"interactions.csv: {', '.join(interactions.header[at] for at in (used.user, used.item, used.rating))}, "
        f"{_name(interactions, used.timestamp, 'timestamp')}"
    )
    return Loaded(counts, has_timestamps=used.timestamp is not None, columns_used=columns_used)


@dataclass(frozen=True)
class _Used:
    """Indexes of the columns of the interactions; None for no timestamp."""

    user: int
    item: int
    rating: int
    timestamp: int | None


def _find_columns(table: Table, columns: Columns, user: str, item: str, timestamp_column: str | None) -> _Used:
    names = (columns.timestamp,) if columns.timestamp else (TIMESTAMP, timestamp_column)
    present = (name for name in names if name and table.find(name, "DATA_TIMESTAMP") is not None)
    stamp = columns.timestamp or next(present, None)
    used = _Used(
        user=table.index(user, "DATA_USER", "" if columns.user else " (the first of users.csv)"),
        item=table.index(item, "DATA_ITEM", "" if columns.item else " (the first of items.csv)"),
        rating=table.index(columns.rating or RATING, "DATA_RATING"),
        timestamp=table.index(stamp, "DATA_TIMESTAMP") if stamp else None,
    )
    _refuse_two_roles(
        table, DATA_USER=used.user, DATA_ITEM=used.item, DATA_RATING=used.rating, DATA_TIMESTAMP=used.timestamp
    )
    return used


def _find_title(table: Table, title: str | None, item: int) -> int | None:
    if title is None:
        others = ((number, name) for number, name in enumerate(table.header) if number != item)
        return next((number for number, name in others if name.lower().endswith(("title", "name"))), None)
    index = table.index(title, "DATA_TITLE")
    _refuse_two_roles(table, DATA_ITEM=item, DATA_TITLE=index)
    return index


def _refuse_two_roles(table: Table, **indexes: int | None) -> None:
    roles: dict[int, str] = {}
    for option, index in indexes.items():
        if index is None:
            continue
        if index in roles:
            other = roles[index]
            raise DemoError(
                f"{table.path}, line {table.line}: the column {table.header[index]!r} would be both {ROLES[other]} and "
                f"{ROLES[option]}. Name another column for one of them: {table.command(other, option)}"
            )
        roles[index] = option


def _name(table: Table, index: int | None, role: str) -> str:
    return f"no {role}" if index is None else table.header[index]


def _users(table: Table, user: int) -> Iterator[Row]:
    empty = True
    for line, row in table.rows:
        empty = False
        yield table.identifier(line, row, user), None, None, None
    _refuse_empty(table, empty)


def _items(table: Table, item: int, title: int | None) -> Iterator[Row]:
    empty = True
    for line, row in table.rows:
        empty = False
        yield table.identifier(line, row, item), None if title is None else row[title], None, None
    _refuse_empty(table, empty)


def _interactions(table: Table, used: _Used) -> Iterator[Row]:
    empty = True
    for line, row in table.rows:
        empty = False
        yield (
            table.identifier(line, row, used.user),
            table.identifier(line, row, used.item),
            _rating(table, line, row, used.rating),
            None if used.timestamp is None else _moment(table, line, row, used.timestamp),
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
