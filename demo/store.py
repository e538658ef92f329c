"""The shop's database of the demo: SQLite with users, products and their orders."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from simulation.damages import DAMAGES
from simulation.generated import USERS, end_of_week, generate_shop
from simulation.shops import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date
    from pathlib import Path

    from recdeploy_ops.extraction.statements import Query
    from simulation.shops import Shop, Table

# What include/sql/*.sql reads. Ids are text: a leading zero or the text NaN is part of an id.
SCHEMA = """
CREATE TABLE users (user_id TEXT, segment TEXT, country TEXT, signed_up_at TEXT);
CREATE TABLE products (product_id TEXT, title TEXT, category TEXT, price REAL);
CREATE TABLE interactions (user_id TEXT, product_id TEXT, rating REAL, ordered_at TEXT);
"""

Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Counts:
    """Rows per table of a store."""

    users: int
    products: int
    interactions: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.products:,} products, {self.interactions:,} interactions"


def generate_store(
    path: Path, *, first_day: date, weeks: int = 0, seed: int = 7, size: int = USERS, damage: str | None = None
) -> Counts:
    """Write the generated shop as it is some weeks after its first day.

    Args:
        path: the SQLite file, replaced if it exists.
        first_day: on this day (UTC) the shop has the size that is asked for; its newest order is of the day before.
        weeks: how much older it is.
        seed: another one gives another shop.
        size: number of users on the first day.
        damage: the name of a damage that is planted in the newest week or in everything; None for an honest shop.
    """
    life = generate_shop(first_day, seed=seed, size=size)
    shop = life.until(end_of_week(first_day, weeks))
    if damage is not None:
        cut = life.until(end_of_week(first_day, weeks - 1)).newest
        shop = DAMAGES[damage].plant(shop, cut, np.random.default_rng(weeks))
    return write_store(path, users=_rows(shop.users), products=_rows(shop.items), interactions=_orders(shop))


def write_store(path: Path, *, users: Iterable[Row], products: Iterable[Row], interactions: Iterable[Row]) -> Counts:
    """Stream rows into a new SQLite file, which replaces ``path`` when it is complete."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(partial)) as connection:
            connection.executescript(SCHEMA)
            with connection:
                counts = Counts(
                    users=_insert(connection, "INSERT INTO users VALUES (?, ?, ?, ?)", users),
                    products=_insert(connection, "INSERT INTO products VALUES (?, ?, ?, ?)", products),
                    interactions=_insert(connection, "INSERT INTO interactions VALUES (?, ?, ?, ?)", interactions),
                )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def returns_column(path: Path, query: Query, column: str) -> bool:
    """Say whether a query on a store returns a column; a query that SQLite cannot run does not."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            columns = connection.execute(query.without_rows()).description
    except sqlite3.Error:
        return False
    return any(name.casefold() == column for name, *_ in columns)


def _insert(connection: sqlite3.Connection, statement: str, rows: Iterable[Row]) -> int:
    # rowcount is -1 without rows.
    return max(0, connection.executemany(statement, rows).rowcount)


def _rows(table: Table) -> Iterator[Row]:
    return zip(*(column.to_pylist() for column in table.columns.columns), strict=True)


def _orders(shop: Shop) -> Iterator[Row]:
    own = shop.interactions
    sides = (side.ids.take(pa.array(side.codes)).to_pylist() for side in (own.users, own.items))
    moments = (datetime.fromtimestamp(int(time) // SECOND, UTC) for time in shop.times)
    texts = (moment.isoformat(timespec="seconds") for moment in moments)
    return zip(*sides, own.ratings.tolist(), texts, strict=True)
