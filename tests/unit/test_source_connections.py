"""A source's connection is closed on every path, even while its rows are still referenced."""

from __future__ import annotations

import gc
import sqlite3
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import shops
import sqlalchemy

from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.extraction import ArrowSource, CursorSource, extract_tables, tables
from recdeploy_ops.extraction.cursors import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from recdeploy_ops.extraction import Source
    from recdeploy_ops.extraction.sources import Column


class Connection(sqlite3.Connection):
    """A connection to SQLite that notes whether it is closed, and speaks Arrow like one of python-oracledb."""

    closed = False
    is_reading = False

    def fetch_df_batches(self, sql: str, parameters: Any, size: int, **_: Any) -> Iterator[pa.Table]:
        self.is_reading = True
        try:
            with closing(self.execute(sql, parameters)) as cursor:
                names = [name for name, *_ in cursor.description]
                yield table_of(names, cursor.fetchmany(size))
                while rows := cursor.fetchmany(size):
                    yield table_of(names, rows)
        finally:
            assert not self.closed, "the rows must be closed before their connection"
            self.is_reading = False

    def close(self) -> None:
        self.closed = True
        super().close()


class Shop:
    """A SQLite file as a source, by either route. It keeps what it returns: garbage collection closes nothing."""

    def __init__(self, file: Path, route: str) -> None:
        self.file = file
        self.opened: list[Connection] = []
        self.kept: list[Any] = []
        self.source: Source = (
            ArrowSource(self.open, "the shop", errors=(sqlite3.Error,))
            if route == "arrow"
            else CursorSource(self.engine, "the shop")
        )
        self.name = self.source.name

    def open(self) -> Connection:
        self.opened.append(sqlite3.connect(self.file, factory=Connection))
        return self.opened[-1]

    def engine(self) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine("sqlite://", creator=self.open, poolclass=sqlalchemy.NullPool)

    def quote(self, name: str) -> str:
        return self.source.quote(name)

    def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
        return self.source.describe(sql, parameters)

    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Any:
        self.kept.append(self.source.batches(sql, parameters, batch_rows))
        return self.kept[-1]


def nothing(shop: Shop) -> None:
    pass


def interrupt_consumer(shop: Shop) -> None:
    raise KeyboardInterrupt("by the consumer")


def interrupt_database(shop: Shop) -> None:
    shop.opened[-1].interrupt()


INTERACTIONS = [(f"u{n}", f"p{n}", 1.0, "2026-01-01") for n in range(9)]
BAD_FIRST = [("u0", "p0", "good", None), *INTERACTIONS[1:]]
BAD_LATER = [*INTERACTIONS[:4], ("u4", "p4", "good", None), *INTERACTIONS[5:]]
NO_COLUMN = {"users": "SELECT name FROM users"}
NO_TABLE = {"users": "SELECT * FROM nowhere"}


@pytest.mark.parametrize("route", ["arrow", "cursor"])
@pytest.mark.parametrize(
    ("rows", "queries", "meanwhile", "message", "connections"),
    [
        pytest.param(INTERACTIONS, {}, nothing, None, 6, id="all rows"),
        pytest.param([], {}, nothing, "returned no rows", 4, id="an empty table"),
        pytest.param(INTERACTIONS, NO_COLUMN, nothing, "returns no column 'user_id'", 2, id="a missing column"),
        pytest.param(INTERACTIONS, NO_TABLE, nothing, "no such table: nowhere", 2, id="a probe that fails"),
        pytest.param(BAD_FIRST, {}, nothing, "row 1 .*'good' is no", 4, id="a bad first value"),
        pytest.param(BAD_LATER, {}, nothing, "row 5 .*'good' is no", 4, id="a bad later value"),
        pytest.param(INTERACTIONS, {}, interrupt_consumer, "by the consumer", 4, id="an interrupted consumer"),
        pytest.param(INTERACTIONS, {}, interrupt_database, "says: interrupted", 4, id="a query that fails half way"),
    ],
)
def test_every_connection_is_closed(
    route: str,
    rows: list[Any],
    queries: dict[str, str],
    meanwhile: Callable[[Shop], None],
    message: str | None,
    connections: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 1)
    monkeypatch.setattr(tables, "REPORT_SECONDS", 0.0)
    shop = Shop(shops.make_shop(tmp_path / "shop.db", interactions=rows), route)
    folder = shops.write_queries(tmp_path / "sql", **({"items": "SELECT * FROM products"} | queries))
    settings = shops.settings_with(sql_folder=folder, parameters={}, batch_rows=1)

    with nullcontext() if message is None else pytest.raises((SourceDataError, KeyboardInterrupt), match=message):
        extract_tables(shop, settings, tmp_path / "out", lambda _: meanwhile(shop))

    assert [connection.closed for connection in shop.opened] == [True] * connections
    assert not any(connection.is_reading for connection in shop.opened)
    shop.opened.clear()
    shop.kept.clear()
    gc.collect()  # from Python 3.13 on, a connection that was not closed is a warning, which pytest makes an error
