"""Read an artifact's recommendation database and its list for new users, in the clean process.

Both files may come from the Model Catalog. The clean process runs this module's source without anything installed, so
it imports only the standard library. `stored_lists` calls it.

The database is read only if it has the schema that this project writes: a view or a generated column instead of a table
could compute forever or fill the memory of its reader.
"""

from __future__ import annotations

import heapq
import math
import pickle
import random
import sqlite3
import struct
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCTS = "CREATE TABLE products (position INTEGER PRIMARY KEY, product_id TEXT NOT NULL)"
LISTS = "CREATE TABLE lists (user_id TEXT PRIMARY KEY, positions BLOB NOT NULL, ratings BLOB NOT NULL) WITHOUT ROWID"
TABLES = {("table", "lists", LISTS), ("table", "products", PRODUCTS)}  # as in SQLite's own schema table
LONGEST_VALUE = 64 << 20  # bytes; our lists have a few hundred
LONGEST_ID = 10_000  # characters of a user who is sampled; the extraction refuses more than 1,024
LONGEST_LIST = 10_000  # products; the settings allow 1,000
QUOTED = 1_000  # characters of an error
# What the unpickler raises for a stream that is damaged, or names a class, an attribute or gigabytes.
UNREADABLE = (
    *(pickle.UnpicklingError, EOFError, TypeError, ValueError, AttributeError, OSError),
    *(IndexError, KeyError, OverflowError, MemoryError, RecursionError),
)


class UnreadableError(SystemExit):
    """A file is damaged or is not one of this project's: ends the process, with the message as its last error."""

    def __init__(self, err: object) -> None:
        super().__init__(str(err)[:QUOTED] if isinstance(err, str) else repr(err)[:QUOTED])


@contextmanager
def open_lists(path: str) -> Iterator[sqlite3.Connection]:
    """Open a recommendation database, read-only, while the block lasts.

    Raises:
        UnreadableError: it is not a database of exactly the two tables that this project writes, or it is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA temp_store = MEMORY")
            schema = (
                "SELECT substr(type, 1, 100), substr(name, 1, 100), substr(sql, 1, 1000) FROM sqlite_master LIMIT ?"
            )
            tables = set(database.execute(schema, (len(TABLES) + 1,)))
            if tables != TABLES:
                raise UnreadableError(f"it has other tables than an artifact of this project: {tables}")
            yield database
    except (sqlite3.Error, MemoryError, OverflowError) as err:
        raise UnreadableError(err) from err


def sample_users(path: str, count: int) -> list[str]:
    """Return the ids of up to ``count`` users who have a list."""
    with open_lists(path) as database:
        users = database.execute("SELECT user_id FROM lists WHERE length(user_id) <= ? LIMIT ?", (LONGEST_ID, count))
        return [_as_text(user) for (user,) in users]


def sample_lists(path: str, count: int, seed: int) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return up to ``count`` users with their lists, best first, drawn at random from those whose list is not empty."""
    draw = random.Random(seed).random  # noqa: S311 - a sample, not a secret
    with open_lists(path) as database:
        users = database.execute(
            "SELECT user_id FROM lists WHERE length(positions) > 0 AND length(user_id) <= ?", (LONGEST_ID,)
        )
        drawn = [user for _, user in heapq.nsmallest(count, ((draw(), _as_text(user)) for (user,) in users))]
        return [(user, _read_list(database, user)) for user in drawn]


def has_list(path: str, user: str) -> bool:
    """Return whether a user has a list."""
    with open_lists(path) as database:
        try:
            return database.execute("SELECT 1 FROM lists WHERE user_id = ?", (user,)).fetchone() is not None
        except UnicodeEncodeError:  # half a surrogate pair cannot be stored
            return False


def read_products(path: str) -> Iterator[str]:
    """Yield the products that are recommended, by their position in the lists: 0, 1, and so on."""
    with open_lists(path) as database:
        products = database.execute("SELECT position, product_id FROM products ORDER BY position")
        for expected, (position, product) in enumerate(products):
            if position != expected:
                raise UnreadableError(f"there is no product at {expected}")
            yield _as_text(product)


def read_rankings(path: str) -> Iterator[tuple[str, list[int], list[float]]]:
    """Yield each user with the positions of products and their ratings, best first."""
    with open_lists(path) as database:
        (size,) = database.execute("SELECT count(*) FROM products").fetchone()
        for user, positions, ratings in database.execute("SELECT user_id, positions, ratings FROM lists"):
            ranked = _unpack(user, positions, ratings)
            if any(position >= size for position, _ in ranked):
                raise UnreadableError(f"the list of {user!r} names a product that is not there")
            yield _as_text(user), [position for position, _ in ranked], [rating for _, rating in ranked]


def read_fallback(path: str) -> list[tuple[str, float]]:
    """Return the list for new users.

    Raises:
        UnreadableError: the file names a class, or is not such a list.
    """
    try:
        with Path(path).open("rb") as stream:
            rows = [(item, rating) for item, rating in _PlainUnpickler(stream).load()]
        if not all(_is_ranked(item, rating) for item, rating in rows):
            raise ValueError("not all entries are product ids and finite ratings")
        return [(item, float(rating)) for item, rating in rows]
    except UNREADABLE as err:
        raise UnreadableError(err) from err


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _is_ranked(item: object, rating: Any) -> bool:
    """Return whether it is a storable product id and a finite number, as ``score.py`` accepts them."""
    if type(item) is not str or type(rating) not in {int, float}:
        return False
    item.encode()  # raises on a lone surrogate
    return math.isfinite(rating)


def _read_list(database: sqlite3.Connection, user: str) -> list[tuple[str, float]]:
    row = database.execute("SELECT positions, ratings FROM lists WHERE user_id = ?", (user,)).fetchone()
    return [(_read_product(database, user, position), rating) for position, rating in _unpack(user, *row)]


def _unpack(user: object, positions: object, ratings: object) -> list[tuple[int, float]]:
    if type(positions) is not bytes or type(ratings) is not bytes:
        raise UnreadableError(f"the list of {user!r} is not bytes")
    if len(positions) > 4 * LONGEST_LIST:
        raise UnreadableError(f"the list of {user!r} is longer than any of this project's")
    try:
        ranked = [
            (position, rating)
            for (position,), (rating,) in zip(
                struct.iter_unpack("<I", positions), struct.iter_unpack("<d", ratings), strict=True
            )
        ]
    except (struct.error, ValueError) as err:
        raise UnreadableError(f"the list of {user!r} cannot be unpacked: {err}") from err
    if not all(math.isfinite(rating) for _, rating in ranked):
        raise UnreadableError(f"the list of {user!r} has a rating that is not a number")
    return ranked


def _read_product(database: sqlite3.Connection, user: str, position: int) -> str:
    row = database.execute("SELECT product_id FROM products WHERE position = ?", (position,)).fetchone()
    if row is None:
        raise UnreadableError(f"the list of {user!r} names a product that is not there: {position}")
    return _as_text(row[0])


def _as_text(value: object) -> str:
    if type(value) is not str:
        raise UnreadableError(f"an id is not text: {value!r}")
    return value
