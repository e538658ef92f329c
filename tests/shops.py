"""Small shops in SQLite and the settings to read them: factories for tests of extraction and training."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy

from recdeploy_ops.extraction import CursorSource
from recdeploy_ops.settings import DEFAULT_PATH, Settings, SourceSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

INTERACTIONS = [
    ("u2", "p1", 3.0, "2026-01-02 10:00:00"),
    ("u1", "p2", 5.0, "2026-01-03 10:00:00"),
    ("u1", "p1", 4.0, "2026-01-01 10:00:00"),
]
USERS = [("u2", "Bo"), ("u1", "Al")]
PRODUCTS = [("p2", "Tea", "drinks"), ("p1", "Ink", "office")]


def settings_with(sql_folder: Path | None = None, **source: Any) -> Settings:
    """The committed settings, with these under ``source``."""
    settings = load_settings(DEFAULT_PATH)
    changed = {"parameters": {"since": None}, **source}
    if sql_folder is not None:
        changed["sql_folder"] = sql_folder
    values = settings.source.model_dump() | changed
    return settings.model_copy(update={"source": SourceSettings.model_validate(values)})


def write_queries(folder: Path, **queries: str) -> Path:
    """A folder of queries: everything of each table, save for those given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("interactions", "users", "items"):
        (folder / f"{name}.sql").write_text(queries.get(name, f"SELECT * FROM {name}"), encoding="utf-8")
    return folder


def make_shop(
    file: Path,
    *,
    interactions: Iterable[Sequence[Any]] = INTERACTIONS,
    users: Iterable[Sequence[Any]] = USERS,
    products: Iterable[Sequence[Any]] = PRODUCTS,
    kind: str = "",
) -> Path:
    """A SQLite file with the tables that ``include/sql/`` reads; ``kind`` is the type of the id columns."""
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(
            f"""
            CREATE TABLE interactions (user_id {kind}, product_id {kind}, rating, ordered_at);
            CREATE TABLE users (user_id {kind}, name);
            CREATE TABLE products (product_id {kind}, title, category);
            """
        )
        database.executemany("INSERT INTO interactions VALUES (?, ?, ?, ?)", interactions)
        database.executemany("INSERT INTO users VALUES (?, ?)", users)
        database.executemany("INSERT INTO products VALUES (?, ?, ?)", products)
    return file


def source_of(file: Path) -> CursorSource:
    return CursorSource(
        lambda: sqlalchemy.create_engine(f"sqlite:///{file}", poolclass=sqlalchemy.NullPool), "the test shop"
    )


def write_extract(
    folder: Path,
    interactions: Iterable[tuple[str, str, float | None]],
    users: Iterable[str] | None = None,
    items: Iterable[str] | None = None,
) -> Path:
    """Parquet files as the extraction writes them, without going through a database."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(interactions)
    by_user, by_item, ratings = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    text, number = pa.string(), pa.float64()
    pq.write_table(
        pa.table(
            {
                "user_id": pa.array(by_user, text),
                "product_id": pa.array(by_item, text),
                "rating": pa.array(ratings, number),
                "ordered_at": pa.array([0] * len(rows)).cast(pa.timestamp("us", "UTC")),
            }
        ),
        folder / "interactions.parquet",
    )
    user_ids = list(dict.fromkeys(by_user)) if users is None else list(users)
    item_ids = list(dict.fromkeys(by_item)) if items is None else list(items)
    pq.write_table(pa.table({"user_id": pa.array(user_ids, text)}), folder / "users.parquet")
    pq.write_table(pa.table({"product_id": pa.array(item_ids, text)}), folder / "items.parquet")
    return folder
