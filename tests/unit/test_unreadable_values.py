"""Values that a driver cannot convert, times that are hardly times, and rows of any weight."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import oracledb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
import sqlalchemy
from shops import FakeOracle, extract, listed
from sqlalchemy import event

from recdeploy_ops.domain.errors import SourceDataError, TransientError
from recdeploy_ops.extraction import ArrowSource, CursorSource, cursors, plans, tables
from recdeploy_ops.extraction.sources import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def fails_at(column: str, row: int, error: Exception) -> Callable[[Any, Any], Any]:
    """Return a row factory of SQLite that cannot read a column of one row of the result."""
    count = {}

    def read(cursor: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [name for name, *_ in cursor.description]
        count[id(cursor)] = count.get(id(cursor), 0) + 1
        if column in names and count[id(cursor)] == row:
            raise error
        return values

    return read


def source_with(file: Path, read: Callable[[Any, Any], Any]) -> CursorSource:
    def engine() -> sqlalchemy.Engine:
        made = sqlalchemy.create_engine(f"sqlite:///{file}", poolclass=sqlalchemy.NullPool)
        event.listen(made, "connect", lambda connection, _: setattr(connection, "row_factory", read))
        return made

    return CursorSource(engine, "the test shop")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("year -44 is out of range"),
        OverflowError("days=1095000000; must have magnitude <= 999999999"),
        UnicodeDecodeError("ascii", b"J\xf6rg", 1, 2, "ordinal not in range(128)"),
        TypeError("cannot use a string pattern on a bytes-like object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_value_that_the_driver_cannot_read_is_named_once(tmp_path: Path, error: Exception) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    source = source_with(file, fails_at("ordered_at", 2, error))
    with pytest.raises(SourceDataError) as raised:
        extract(tmp_path / "out", source)
    message = str(raised.value)
    assert message.startswith(
        "interactions.sql, column ordered_at, one of the rows 1 to 100 of the sorted result: the driver cannot read a "
        f"value ({type(error).__name__}: "
    )
    assert "CAST(ordered_at AS VARCHAR(40))" in message
    assert "rights" not in message
    assert not isinstance(raised.value, TransientError)


@pytest.mark.parametrize("error", [ConnectionResetError("by peer"), TimeoutError("timed out")])
def test_a_lost_connection_is_not_taken_for_a_value(tmp_path: Path, error: Exception) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    with pytest.raises(type(error)):
        extract(tmp_path / "out", source_with(file, fails_at("ordered_at", 2, error)))


def test_an_error_of_data_that_the_database_reports_while_rows_flow_does_not_speak_of_rights(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    error = sqlite3.DataError("timestamp too large (after year 10K): 'infinity'")
    with pytest.raises(SourceDataError, match=r"column ordered_at.*\(timestamp too large") as raised:
        extract(tmp_path / "out", source_with(file, fails_at("ordered_at", 1, error)))
    assert "rights" not in str(raised.value)


def test_a_column_that_nobody_needs_may_hold_anything(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    facts = extract(tmp_path / "out", source_with(file, fails_at("name", 1, ValueError("year -44 is out of range"))))
    assert facts["users"]["rows"] == 2


def test_a_value_that_arrow_cannot_hold_is_named(tmp_path: Path) -> None:
    class Oracle(FakeOracle):
        def fetch_df_batches(self, statement: str, *_: Any, **__: Any) -> Any:
            yield pa.table({"USER_ID": ["u1"], "PRODUCT_ID": ["p1"], "RATING": [1.0], "ORDERED_AT": ["2026-01-01"]})
            if "ORDERED_AT" in statement:
                raise OverflowError("date value out of range")

    with pytest.raises(SourceDataError, match=r"interactions.sql, column ORDERED_AT, one of the rows 2 to 50,001"):
        extract(tmp_path, ArrowSource(lambda: Oracle([]), "the oracle database"))


def test_a_database_without_an_encoding_is_named_with_the_remedy() -> None:
    def engine() -> sqlalchemy.Engine:
        made = sqlalchemy.create_engine("sqlite://")

        def refuse(*_: Any) -> None:
            raise TypeError("cannot use a string pattern on a bytes-like object")

        event.listen(made, "connect", refuse)
        return made

    source = CursorSource(engine, "the postgres database")
    with pytest.raises(SourceDataError) as raised, source.batches("SELECT 1", {}, 1):
        pass
    assert str(raised.value).startswith("No connection to the postgres database: cannot use a string pattern")
    assert '{"client_encoding": "latin1"}' in str(raised.value)


@pytest.mark.parametrize(
    ("value", "seconds", "date"),
    [
        (20261120, "1970-08-23 12:05:20", "2026-11-20, written as YYYYMMDD"),
        (20261120.0, "1970-08-23 12:05:20", "2026-11-20, written as YYYYMMDD"),
        (46346, "1970-01-01 12:52:26", "2026-11-20, as a spreadsheet counts days"),
        (46346.5, "1970-01-01 12:52:26", "2026-11-20, as a spreadsheet counts days"),
    ],
)
def test_a_time_that_is_rather_a_date_shows_both_readings(
    tmp_path: Path, value: float, seconds: str, date: str
) -> None:
    rows = pa.table({"user_id": ["u1"], "product_id": ["p1"], "rating": [1.0], "ordered_at": [value]})
    with pytest.raises(SourceDataError) as raised:
        extract(tmp_path, listed(interactions=[rows]))
    assert f"row 1 of the sorted result: {value} would be {seconds} in seconds since 1970, but is rather {date}" in str(
        raised.value
    )


def test_a_date_that_is_written_as_a_text_of_digits_is_that_date(tmp_path: Path) -> None:
    rows = pa.table({"user_id": ["u1"], "product_id": ["p1"], "rating": [1.0], "ordered_at": ["20261120"]})
    assert extract(tmp_path, listed(interactions=[rows]))["newest_interaction"] == "2026-11-20T00:00:00+00:00"


@pytest.mark.parametrize("value", [0, 19_999, 100_000, 20_261_320, 19_000_100, 874_724_710, 1_795_232_038])
def test_other_numbers_are_seconds(tmp_path: Path, value: int) -> None:
    rows = pa.table({"user_id": ["u1"], "product_id": ["p1"], "rating": [1.0], "ordered_at": [value]})
    facts = extract(tmp_path, listed(interactions=[rows]))
    assert facts["newest_interaction"] == dt.datetime.fromtimestamp(value, dt.UTC).isoformat()


@pytest.mark.parametrize(
    ("year", "shown"), [(-44, "-0044-03-15"), (0, "0000-03-15"), (10_000, "10000-03-15"), (20_231, "20231-03-15")]
)
def test_a_time_that_no_calendar_of_python_has_is_refused(tmp_path: Path, year: int, shown: str) -> None:
    day = int(np.datetime64(f"{year:05}-03-15" if year < 0 else f"{year:04}-03-15", "D").astype(np.int64))
    for values in (pa.array([day], pa.date32()), pa.array([day * 86_400], pa.int64()).cast(pa.timestamp("s"))):
        rows = pa.table({"user_id": ["u1"], "product_id": ["p1"], "rating": [1.0], "ordered_at": values})
        with pytest.raises(SourceDataError, match=r"column ordered_at, row 1 .*years 1 to 9999") as raised:
            extract(tmp_path, listed(interactions=[rows]))
        assert shown in str(raised.value)


@pytest.mark.parametrize("kind", ["JSON", "XMLTYPE", "INTERVAL_DS", "BFILE", "OBJECT"])
def test_a_type_that_cannot_be_read_is_named_before_rows_flow(tmp_path: Path, kind: str) -> None:
    class Described(shops.ListedSource):
        def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
            columns = super().describe(sql, parameters)
            return [Column(column.name, kind if column.name == "title" else "") for column in columns]

    source = Described(**listed(products=[pa.table({"product_id": ["p1"], "title": ["x"], "doc": ["y"]})]).given)
    with pytest.raises(SourceDataError, match=rf"items\.sql: the column title has the type {kind}.*CAST\(title AS"):
        extract(tmp_path, source)
    assert source.queries == []
    extract(tmp_path, source, title_column=None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NUMBER", Column("ID")),
        ("NVARCHAR", Column("ID")),
        ("TIMESTAMP_TZ", Column("ID")),
        ("CLOB", Column("ID", is_large=True)),
        ("NCLOB", Column("ID", is_large=True)),
        ("JSON", Column("ID", "JSON")),
        ("INTERVAL_YM", Column("ID", "INTERVAL_YM")),
        ("BFILE", Column("ID", "BFILE")),
        ("OBJECT", Column("ID", "OBJECT")),
    ],
)
def test_the_types_of_oracle_are_known(kind: str, expected: Column) -> None:
    class Cursor:
        description = (("ID", getattr(oracledb, f"DB_TYPE_{kind}"), None, None, None, None, True),)

        def execute(self, *_: Any) -> None: ...

        def close(self) -> None: ...

    connection = FakeOracle([])
    connection.cursor = Cursor  # type: ignore[assignment,method-assign]
    assert ArrowSource(lambda: connection, "db").describe("SELECT id FROM t", {}) == [expected]
    assert connection.is_closed


def test_few_rows_are_fetched_at_a_time_where_a_value_may_be_large(tmp_path: Path) -> None:
    frames = {
        "interactions": pa.table({"USER_ID": ["u1"], "PRODUCT_ID": ["p1"], "RATING": [1.0], "ORDERED_AT": [None]}),
        "users": pa.table({"USER_ID": ["u1"]}),
        "products": pa.table({"PRODUCT_ID": ["p1"], "TITLE": pa.array(["x"], pa.large_string())}),
    }
    sizes = {}

    class Oracle(FakeOracle):
        def fetch_df_batches(self, statement: str, parameters: Any, **options: Any) -> Any:
            name = next(name for name in frames if f"FROM {name}" in statement)
            sizes[name] = options.get("size", 0)
            yield frames[name]

    extract(tmp_path, ArrowSource(lambda: Oracle([]), "db"))
    assert sizes == {"interactions": 50_000, "users": 50_000, "products": plans.LARGE_ROWS}


def test_batches_of_a_cursor_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "BATCH_BYTES", 100_000)
    products = [(f"p{number:04}", "x" * 10_000, "") for number in range(300)]
    source = shops.source_of(shops.make_shop(tmp_path / "shop.db", products=products))
    with source.batches("SELECT title FROM products", {}, 2_000) as batches:
        rows = [len(batch) for batch in batches]
    assert rows[0] == cursors.FIRST_ROWS
    assert sum(rows) == 300
    assert max(rows[1:]) * 10_000 <= 100_000


def test_row_groups_are_bounded_in_bytes_and_do_not_depend_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 1_000)
    rows = pa.table({"product_id": [f"p{n}" for n in range(40)], "title": ["x" * (n * 10) for n in range(40)]})
    extract(tmp_path / "whole", listed(products=[rows]))
    extract(tmp_path / "pieces", listed(products=[rows.slice(start, 3) for start in range(0, 40, 3)]))
    files = [tmp_path / name / "items.parquet" for name in ("whole", "pieces")]
    assert files[0].read_bytes() == files[1].read_bytes()
    with closing(pq.ParquetFile(files[0])) as file:
        groups = [file.read_row_group(number).column("title").to_pylist() for number in range(file.num_row_groups)]
    sizes = [sum(map(len, titles)) + sum(18 for _ in titles) for titles in groups]
    assert all(size - len(titles[-1]) - 19 < 1_000 for size, titles in zip(sizes, groups, strict=True))
    assert [title for titles in groups for title in titles] == rows.column("title").to_pylist()
    assert len(groups) > 5
