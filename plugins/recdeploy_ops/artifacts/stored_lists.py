"""The recommendation database of an artifact, opened only if it has the schema that this project writes.

It may come from the Model Catalog. A view or a generated column instead of a table could compute forever or fill the
memory of its reader.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTS = "CREATE TABLE products (position INTEGER PRIMARY KEY, product_id TEXT NOT NULL)"
LISTS = "CREATE TABLE lists (user_id TEXT PRIMARY KEY, positions BLOB NOT NULL, ratings BLOB NOT NULL) WITHOUT ROWID"
TABLES = {("table", "lists", LISTS), ("table", "products", PRODUCTS)}  # as in SQLite's own schema table
LONGEST_VALUE = 64 << 20  # bytes; our lists have a few hundred
LONGEST_SAMPLED = 10_000  # characters of a user's id


@contextmanager
def open_lists(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the recommendation database of an artifact, read-only, while the block lasts.

    Raises:
        IntegrityError: it is not a database of exactly the two tables that this project writes, or it is damaged.
    """
    path = folder / DATABASE
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
            database.execute("PRAGMA trusted_schema = OFF")
            schema = (
                "SELECT substr(type, 1, 100), substr(name, 1, 100), substr(sql, 1, 1000) FROM sqlite_master LIMIT ?"
            )
            tables = set(database.execute(schema, (len(TABLES) + 1,)))
            if tables != TABLES:
                raise IntegrityError(f"{path.name} has other tables than an artifact of this project: {tables}.")
            yield database
    except sqlite3.Error as err:
        raise IntegrityError(f"{path.name} cannot be read: {err}") from err


def sample_users(folder: Path, count: int) -> list[str]:
    """Return the ids of up to ``count`` users who have a list in an artifact; raises as `open_lists` does."""
    with open_lists(folder) as database:
        users = database.execute(
            "SELECT user_id FROM lists WHERE length(user_id) <= ? LIMIT ?", (LONGEST_SAMPLED, count)
        )
        return [str(user) for (user,) in users]


def sample_lists(folder: Path, count: int, *, seed: int) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return the lists of up to ``count`` users of an artifact, best first, drawn at random.

    The same artifact and seed give the same users. Users whose list is empty are never drawn.

    Raises:
        IntegrityError: as `open_lists` does; or a list names a product that is not there.
    """
    draw = random.Random(seed).random  # noqa: S311 - a sample, not a secret
    with open_lists(folder) as database:
        users = database.execute(
            "SELECT user_id FROM lists WHERE length(positions) > 0 AND length(user_id) <= ?", (LONGEST_SAMPLED,)
        )
        drawn = [str(user) for _, user in heapq.nsmallest(count, ((draw(), user) for (user,) in users))]
        return {user: _read_list(database, user) for user in drawn}


def _read_list(database: sqlite3.Connection, user: str) -> tuple[tuple[str, float], ...]:
    row = database.execute("SELECT positions, ratings FROM lists WHERE user_id = ?", (user,)).fetchone()
    try:
        positions = [position for (position,) in struct.iter_unpack("<I", row[0])]
        ratings = [rating for (rating,) in struct.iter_unpack("<d", row[1])]
        return tuple(
            (_read_product(database, position), rating) for position, rating in zip(positions, ratings, strict=True)
        )
    except (struct.error, TypeError, ValueError) as err:
        raise IntegrityError(f"The list of {user!r} in {DATABASE} cannot be read: {err}") from err


def _read_product(database: sqlite3.Connection, position: int) -> str:
    row = database.execute("SELECT product_id FROM products WHERE position = ?", (position,)).fetchone()
    if row is None:
        raise ValueError(f"there is no product at {position}")
    return str(row[0])
