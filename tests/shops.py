"""Factories for tests of extraction and training: small shops in SQLite, and settings to read them with."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy

from recdeploy_ops.extraction import CursorSource, QueryFailedError, extract_tables
from recdeploy_ops.extraction.cursors import table_of
from recdeploy_ops.extraction.sources import Column
from recdeploy_ops.settings import DEFAULT_PATH, Settings, SourceSettings, load_settings
from recdeploy_ops.training.inputs import prepare_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from recdeploy_ops.training.inputs import Inputs

INTERACTIONS = [
    ("u2", "p1", 3.0, "2026-01-02 10:00:00"),
    ("u1", "p2", 5.0, "2026-01-03 10:00:00"),
    ("u1", "p1", 4.0, "2026-01-01 10:00:00"),
]
USERS = [("u2", "Bo"), ("u1", "Al")]
PRODUCTS = [("p2", "Tea", "drinks"), ("p1", "Ink", "office")]


def settings_with(sql_folder: Path | None = None, **source: Any) -> Settings:
    """Return the committed settings with changes under ``source``."""
    settings = load_settings(DEFAULT_PATH)
    changed = {"parameters": {"since": None}, **source}
    if sql_folder is not None:
        changed["sql_folder"] = sql_folder
    values = settings.source.model_dump() | changed
    return settings.model_copy(update={"source": SourceSettings.model_validate(values)})


def write_queries(folder: Path, **queries: str) -> Path:
    """Write a query for each table into a folder: ``SELECT *``, or the one that is given."""
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
    """Write a SQLite file with the tables that ``include/sql/`` reads; ``kind`` is the type of the id columns."""
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
    """Write Parquet files as the extraction does, without a database."""
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


def extract(folder: Path, source: Any, **source_settings: Any) -> dict[str, Any]:
    """Extract the tables of a source into a folder, and return what the manifest says about them."""
    return extract_tables(source, settings_with(**source_settings), folder, list[str]().append)


class ListedSource:
    """A source of given tables, each a list of batches; a batch that is an exception is raised."""

    def __init__(self, **given: list[Any]) -> None:
        self.name = "the listed source"
        self.given = given
        self.queries: list[tuple[str, dict[str, Any]]] = []
        self.unorderable: set[str] = set()  # names of columns

    def quote(self, name: str) -> str:
        return f'"{name}"'

    def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
        return [Column(name) for name in self._given(sql)[0].column_names]

    @contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[Iterator[pa.Table]]:
        yield self.tables(sql, parameters)

    def tables(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[pa.Table]:
        self.queries.append((sql, dict(parameters)))
        columns = re.findall(r'q\."(.*?)"', sql.partition("FROM")[0])
        sorted_by = [columns[int(position) - 1] for position in sql.rpartition("ORDER BY")[2].split(",")]
        if self.unorderable & set(sorted_by):
            raise QueryFailedError(f"{self.name} says: no ordering operator for type json")
        for batch in self._given(sql):
            if isinstance(batch, Exception):
                raise batch
            yield batch.select(columns)

    def _given(self, sql: str) -> list[Any]:
        return next(batches for name, batches in self.given.items() if f"FROM {name}" in sql)


def listed(**changed: list[Any]) -> ListedSource:
    """Return a source of three small tables, some of them changed."""
    given: dict[str, Any] = {
        "interactions": [table_of(["user_id", "product_id", "rating", "ordered_at"], INTERACTIONS)],
        "users": [table_of(["user_id"], [("u1",), ("u2",)])],
        "products": [table_of(["product_id"], [("p1",), ("p2",)])],
    }
    return ListedSource(**(given | changed))


class FakeOracle:
    """What `ArrowSource` uses of a python-oracledb connection; it may fail after its last batch."""

    def __init__(self, batches: Sequence[pa.Table], error: Exception | None = None) -> None:
        self.given, self.error = batches, error
        self.query: dict[str, Any] = {}
        self.is_closed = False

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def fetch_df_batches(self, statement: str, parameters: Any, **options: Any) -> Iterator[pa.Table]:
        self.query = {"statement": statement, "parameters": parameters, **options}
        yield from self.given
        if self.error:
            raise self.error

    def close(self) -> None:
        self.is_closed = True


class FakeCursor:
    """Describes the columns of a query as python-oracledb does: name and type."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.description: list[tuple[str, Any]] = []

    def execute(self, statement: str, parameters: Any) -> None:
        first = next(iter(self.connection.fetch_df_batches(statement, parameters)))
        kinds = {"string": "VARCHAR", "large_string": "CLOB", "double": "NUMBER", "decimal128(21, 0)": "NUMBER"}
        self.description = [
            (field.name, SimpleNamespace(name=f"DB_TYPE_{kinds.get(str(field.type), 'DATE')}"))
            for field in first.schema
        ]

    def close(self) -> None:
        """Leave the connection open."""


class FakeOracleShop:
    """A python-oracledb connection to given tables; remembers how it was opened and what set it up."""

    def __init__(self, tables: Mapping[str, pa.Table], **opened_with: Any) -> None:
        import oracledb

        self.tables = tables
        self.opened_with = opened_with
        self.config_dir = oracledb.defaults.config_dir
        self.executed: list[str] = []
        self.closed = False

    def cursor(self) -> FakeSessionCursor:
        return FakeSessionCursor(self)

    def execute(self, statement: str) -> None:
        self.executed.append(statement)

    def fetch_df_batches(self, statement: str, *_: Any, **__: Any) -> Iterator[pa.Table]:
        yield next(table for name, table in self.tables.items() if f"FROM {name}" in statement)

    def close(self) -> None:
        self.closed = True


class FakeSessionCursor(FakeCursor):
    """Also sets the session up, which has no rows."""

    def __enter__(self) -> FakeSessionCursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Any = None) -> None:
        self.connection.execute(statement)
        if "FROM" in statement:
            super().execute(statement, parameters)


def prepare(tmp_path: Path, *args: Any, **extract: Any) -> tuple[Inputs, list[str]]:
    """Write an extract and prepare the operator's inputs from it; return them and the log lines."""
    lines: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    folder = write_extract(tmp_path / "extract", *args, **extract)
    return prepare_inputs(folder, work, settings_with().source, lines.append), lines
