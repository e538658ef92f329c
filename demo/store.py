"""The shop's database of the demo: SQLite with users, products and their orders.

`generate_store` generates a shop whose orders have what a recommender looks for: few products sell much, few
users buy much, and tastes that a matrix factorisation can find. The same seed and day give the same shop.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# What include/sql/*.sql reads. Ids are text: a leading zero or the text NaN is part of an id.
SCHEMA = """
CREATE TABLE users (user_id TEXT, segment TEXT, country TEXT, signed_up_at TEXT);
CREATE TABLE products (product_id TEXT, title TEXT, category TEXT, price REAL);
CREATE TABLE interactions (user_id TEXT, product_id TEXT, rating REAL, ordered_at TEXT);
"""

USERS, PRODUCTS, ORDERS_PER_USER, TASTES = 2_500, 800, 48, 6
FEWEST_ORDERS, MOST_ORDERS = 8, 400
DAYS = 540

CATEGORIES = ("Kitchen", "Garden", "Books", "Games", "Sport", "Music", "Office", "Travel")
THINGS = (
    "Kettle",
    "Lamp",
    "Notebook",
    "Racket",
    "Chair",
    "Speaker",
    "Puzzle",
    "Backpack",
    "Planter",
    "Clock",
)
LOOKS = ("Oak", "Steel", "Blue", "Compact", "Classic", "Folding", "Linen", "Bright", "Quiet", "Nordic")
SEGMENTS = ("consumer", "business", "student")
COUNTRIES = ("AT", "BR", "CA", "DE", "ES", "FR", "IN", "JP", "US")

# Ids that careless code changes: read as numbers, as a missing value, or normalised.
AWKWARD_USERS = ("00420", "420", "1e5", "NaN", "null", "ユーザー7", "Zoë", "A39HTATAQ9V7YF")
AWKWARD_PRODUCTS = ("0205616461", "205616461", "1E3", "商品-12", "B00004TKVY")

Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Counts:
    """Rows per table of a store."""

    users: int
    products: int
    interactions: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.products:,} products, {self.interactions:,} interactions"


def generate_store(path: Path, *, today: date, seed: int = 7, size: int = USERS) -> Counts:
    """Write a generated shop whose newest order is of ``today``.

    Args:
        path: the SQLite file, replaced if it exists.
        today: the day (UTC) of the newest orders.
        seed: another seed gives another shop.
        size: number of users.
    """
    rng = np.random.default_rng(seed)
    users = _ids(rng, size, AWKWARD_USERS, "U")
    products = _ids(rng, PRODUCTS, AWKWARD_PRODUCTS, "P")
    midnight = datetime.combine(today, time(), UTC)
    return write_store(
        path,
        users=_users(rng, users, midnight),
        products=_products(rng, products),
        interactions=_orders(rng, users, products, midnight),
    )


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


def _insert(connection: sqlite3.Connection, statement: str, rows: Iterable[Row]) -> int:
    # rowcount is -1 without rows.
    return max(0, connection.executemany(statement, rows).rowcount)


def _ids(rng: np.random.Generator, count: int, awkward: tuple[str, ...], letter: str) -> list[str]:
    """Return distinct ids of several kinds, in an order without meaning."""
    ids = dict.fromkeys(awkward)
    while len(ids) < count:
        number = int(rng.integers(0, 10**9))
        kind = len(ids) % 4
        if kind == 0:
            ids[f"{number:010d}"] = None
        elif kind == 1:
            ids[str(uuid.UUID(bytes=rng.bytes(16), version=4))] = None
        elif kind == 2:
            ids[f"{letter}-{number}"] = None
        else:
            ids[f"{letter}{np.base_repr(number + 36**12, 36)}"] = None
    return list(ids)


def _users(rng: np.random.Generator, users: list[str], midnight: datetime) -> Iterator[Row]:
    segments = rng.choice(SEGMENTS, len(users), p=(0.7, 0.2, 0.1))
    countries = rng.choice(COUNTRIES, len(users))
    days = rng.integers(DAYS, 3 * DAYS, len(users))
    for user, segment, country, day in zip(users, segments, countries, days, strict=True):
        yield user, str(segment), str(country), (midnight - timedelta(days=int(day))).date().isoformat()


def _products(rng: np.random.Generator, products: list[str]) -> Iterator[Row]:
    prices = np.exp(rng.normal(3, 0.8, len(products)))
    for number, (product, price) in enumerate(zip(products, prices, strict=True)):
        thing, look = THINGS[number % len(THINGS)], LOOKS[number // len(THINGS) % len(LOOKS)]
        category = CATEGORIES[number // (len(THINGS) * len(LOOKS)) % len(CATEGORIES)]
        yield product, f"{look} {thing}", category, round(float(price), 2)


def _orders(rng: np.random.Generator, users: list[str], products: list[str], midnight: datetime) -> Iterator[Row]:
    """Yield each user's orders: products that sell well or suit the user's taste, rated by taste."""
    tastes = rng.normal(0, 1, (len(users), TASTES))
    traits = rng.normal(0, 1, (len(products), TASTES))
    popularity = rng.permutation(-0.9 * np.log(np.arange(1, len(products) + 1)))
    quality = rng.normal(0, 0.35, len(products))
    generosity = rng.normal(0, 0.4, len(users))
    seconds = DAYS * 86_400
    for number, (user, amount) in enumerate(zip(users, _amounts(rng, len(users)), strict=True)):
        affinity = traits @ tastes[number] / np.sqrt(TASTES)
        # Gumbel noise on the log weights draws without replacement, in proportion to the weights.
        drawn = popularity + 0.8 * affinity + rng.gumbel(0, 1, len(products))
        chosen = np.argpartition(-drawn, amount)[:amount]
        raw = 3.4 + quality[chosen] + generosity[number] + 0.8 * affinity[chosen] + rng.normal(0, 0.5, amount)
        ratings = np.clip(np.rint(raw), 1, 5)
        ages = rng.integers(0, seconds, amount)
        for product, rating, age in zip(chosen, ratings, ages, strict=True):
            moment = midnight - timedelta(seconds=int(age))
            yield user, products[product], float(rating), moment.isoformat(timespec="seconds")


def _amounts(rng: np.random.Generator, users: int) -> list[int]:
    """Return orders per user, log-normal, ``ORDERS_PER_USER`` on average before the bounds."""
    weights = rng.lognormal(0, 0.9, users)
    amounts = np.rint(weights * ORDERS_PER_USER / weights.mean())
    return [int(amount) for amount in np.clip(amounts, FEWEST_ORDERS, MOST_ORDERS)]
