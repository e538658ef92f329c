"""Extraction from a real PostgreSQL, by both drivers."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy
from databases import running_postgres
from shops import extract, write_queries

from recdeploy_ops.domain.errors import SourceDataError, TransientError
from recdeploy_ops.extraction import CursorSource
from recdeploy_ops.extraction.repeats import REPEATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.more

SHOP = """
CREATE TABLE users (user_id int PRIMARY KEY, email text, born date, valid_until timestamptz,
  age interval);
INSERT INTO users VALUES (1, 'a@mail.example', '0044-03-15 BC', 'infinity', '3000000 years'),
  (2, 'b@mail.example', '20231-05-01', now(), NULL), (3, 'c@mail.example', 'infinity', '-infinity', NULL);
CREATE TABLE products (product_id text PRIMARY KEY, title text, picture bytea, tags text[]);
INSERT INTO products VALUES ('p1', 'Ink', '\\x00', '{a,b}'), ('p2', 'Käse', '\\x00', '{c}');
CREATE TABLE interactions (user_id int, product_id text, rating numeric, ordered_at timestamptz);
INSERT INTO interactions VALUES (1, 'p1', 3, '2026-05-01 12:00+02'), (1, 'p1', 5, '2026-06-01'),
  (2, 'p2', 4, '2026-05-01'), (3, 'p1', 2.5, '2026-05-03');
CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0;
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_postgres(SHOP) as url:
        yield url


@pytest.fixture(params=["psycopg2", "psycopg"])
def source(request: pytest.FixtureRequest, url: str) -> CursorSource:
    return source_of(url, request.param)


def source_of(url: str, driver: str) -> CursorSource:
    address = url.replace("postgresql://", f"postgresql+{driver}://")
    return CursorSource(
        lambda: sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool), "the postgres database"
    )


def run(source: CursorSource, *statements: str) -> None:
    engine = source._engine()
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()


def test_the_shipped_queries_read_a_shop_with_odd_columns_that_nobody_needs(
    source: CursorSource, tmp_path: Path
) -> None:
    facts = extract(tmp_path, source)
    assert {name: facts[name]["rows"] for name in ("interactions", "users", "items")} == {
        "interactions": 3,
        "users": 3,
        "items": 2,
    }
    assert facts["interactions"]["merged"] == 1
    rows = pq.read_table(tmp_path / "interactions.parquet").to_pylist()
    assert [(row["user_id"], row["product_id"], row["rating"]) for row in rows] == [
        ("1", "p1", 5.0),
        ("2", "p2", 4.0),
        ("3", "p1", 2.5),
    ]
    assert pq.read_schema(tmp_path / "users.parquet").names == ["user_id"]
    assert pq.read_table(tmp_path / "items.parquet").column("title").to_pylist() == ["Ink", "Käse"]
    assert pq.read_table(tmp_path / REPEATED).num_rows == 2


@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 BC", "20231-05-01"])
def test_a_time_that_python_has_not_is_named_with_query_and_column(
    source: CursorSource, tmp_path: Path, value: str
) -> None:
    query = f"SELECT user_id, product_id, rating, timestamptz '{value}' AS ordered_at FROM interactions"
    folder = write_queries(tmp_path / "sql", interactions=query, items="SELECT product_id FROM products")
    if value.endswith("infinity") and source._engine().dialect.driver == "psycopg2":
        # It returns the last or the first moment of Python, which the gate of freshness holds.
        newest = extract(tmp_path / "out", source, sql_folder=folder)["newest_interaction"]
        assert newest.startswith("9999-12-31" if value == "infinity" else "0001-01-01")
        return
    with pytest.raises(SourceDataError) as raised:
        extract(tmp_path / "out", source, sql_folder=folder)
    message = str(raised.value)
    assert message.startswith("interactions.sql, column ordered_at")
    assert "rights" not in message
    assert not isinstance(raised.value, TransientError)


def test_a_title_in_no_encoding_is_named_with_the_remedy(url: str, source: CursorSource, tmp_path: Path) -> None:
    driver = source._engine().dialect.driver
    ascii_url = url.replace("/postgres?", "/ascii?")
    latin = source_of(f"{ascii_url}&client_encoding=latin1", driver)
    run(
        latin,
        "DROP TABLE IF EXISTS products, users, interactions",
        "CREATE TABLE products AS SELECT 'p1' AS product_id, convert_from('\\x4af67267', 'SQL_ASCII') AS title",
        "CREATE TABLE users AS SELECT 'u1' AS user_id",
        "CREATE TABLE interactions AS SELECT 'u1' AS user_id, 'p1' AS product_id, 5 AS rating, now() AS ordered_at",
    )
    with pytest.raises(SourceDataError) as raised:
        extract(tmp_path / "out", source_of(ascii_url, driver))
    assert "client_encoding" in str(raised.value) or "items.sql, column title" in str(raised.value)
    assert "rights" not in str(raised.value)

    extract(tmp_path / "latin", latin)
    assert pq.read_table(tmp_path / "latin" / "items.parquet").column("title").to_pylist() == ["Jörg"]


QUERIES: dict[str, Any] = {
    "a byte order mark": codecs.BOM_UTF8 + b"SELECT user_id FROM users",
    "UTF-16": codecs.BOM_UTF16_LE + "SELECT user_id FROM users -- Käufer".encode("utf-16-le"),
    "lines of Windows": b"SELECT user_id\r\nFROM users\r\n;\r\n",
    "a slice of an array": b"SELECT user_id FROM users, products WHERE tags[user_id:2] = '{a,b}'",
    "an escaped literal": rb"SELECT user_id FROM users WHERE email <> E'it\'s :x'",
    "dollar quotes": b"SELECT user_id FROM users WHERE email <> $$;:x$$",
    "a cast and a bind variable": b"SELECT user_id FROM users WHERE (born::text <> :since OR :since IS NULL)",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_queries_of_every_spelling_run(source: CursorSource, tmp_path: Path, query: bytes) -> None:
    folder = write_queries(tmp_path / "sql", items="SELECT product_id FROM products")
    (folder / "users.sql").write_bytes(query)
    facts = extract(tmp_path / "out", source, sql_folder=folder)
    assert facts["users"]["rows"] in {1, 3}
