"""Text that UTF-8 cannot encode, such as half of a surrogate pair, as databases and endpoints return it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.extraction import ArrowSource, CursorSource, values
from recdeploy_ops.extraction.cursors import table_of
from recdeploy_ops.storage.bundles import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recdeploy_ops.extraction import Source

HALF = "\ud800"
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


def decode(content: bytes) -> str:
    """Decode as a driver does that accepts all bytes."""
    return content.decode("utf-8", "surrogatepass")


def by_rows(file: Path, kind: pa.DataType) -> Source:
    """SQLite through SQLAlchemy: Python values."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file)
        connection.text_factory = decode
        return connection

    return CursorSource(
        lambda: sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.NullPool), "the shop"
    )


def by_arrow(file: Path, kind: pa.DataType) -> Source:
    """SQLite behind an Arrow driver that passes the database's bytes on."""

    class Connection(sqlite3.Connection):
        def fetch_df_batches(self, sql: str, parameters: Any, **_: Any) -> Iterator[pa.Table]:
            with closing(self.execute(sql, parameters)) as cursor:
                names = [name for name, *_ in cursor.description]
                columns = zip(*cursor.fetchall(), strict=True)
                arrays = {name: arrow(list(values), kind) for name, values in zip(names, columns, strict=False)}
                yield pa.table(arrays or {name: pa.array([], pa.string()) for name in names})

    def connect() -> Connection:
        connection = sqlite3.connect(file, factory=Connection)
        connection.text_factory = bytes
        return connection

    return ArrowSource(connect, "the shop", errors=(sqlite3.Error,))


def arrow(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not any(isinstance(value, bytes) for value in values):
        return pa.array(values)
    if kind == pa.large_string():
        return pa.array(values, pa.large_binary()).view(kind)
    if kind == pa.string_view():
        return pa.array(values, pa.binary_view()).view(kind)
    text = pa.array(values, pa.binary()).view(pa.string())
    return text.dictionary_encode() if pa.types.is_dictionary(kind) else text


ROUTES = [pytest.param(by_rows, pa.string(), id="rows")]
ROUTES += [pytest.param(by_arrow, kind, id=str(kind)) for kind in TEXTS]


def make_shop(folder: Path, **tables: Any) -> Path:
    """Write a shop whose texts SQLite stores as bytes that are not UTF-8."""
    encoded = {
        name: [tuple(v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in row) for row in rows]
        for name, rows in tables.items()
    }
    file = shops.make_shop(folder / "shop.db", kind="TEXT", **encoded)
    with closing(sqlite3.connect(file)) as database, database:
        for table, columns in {
            "interactions": ("user_id", "product_id", "rating", "ordered_at"),
            "users": ("user_id", "name"),
            "products": ("product_id", "title"),
        }.items():
            for column in columns:
                database.execute(
                    f"UPDATE {table} SET {column} = CAST({column} AS TEXT) WHERE typeof({column}) = 'blob'"
                )
    return file


@pytest.mark.parametrize(("route", "kind"), ROUTES)
@pytest.mark.parametrize(
    ("tables", "place"),
    [
        ({"users": [("u1", "Al"), (f"u{HALF}", "Bo")]}, "users.sql, column user_id, row 2 of"),
        ({"products": [("p1", "Ink", None), (f"{HALF}p", "Tea", None)]}, "items.sql, column product_id, row 2 of"),
        (
            {"interactions": [("u1", "p1", 1, None), ("u1", "p2", 1, None), (f"u2{HALF}", "p1", 1, None)]},
            "interactions.sql, column user_id, row 3 of",
        ),
    ],
)
def test_an_id_that_cannot_be_encoded_is_rejected_with_its_row_and_a_remedy(
    route: Callable[[Path, pa.DataType], Source], kind: pa.DataType, tables: Any, place: str, tmp_path: Path
) -> None:
    source = route(make_shop(tmp_path, **tables), kind)
    with pytest.raises(SourceDataError) as caught:
        shops.extract(tmp_path / "out", source)
    message = str(caught.value)
    message.encode()
    assert message.startswith(place)
    assert "\\ud800" in message
    assert "is not text that UTF-8 can carry: correct it in the table, or let the query replace it" in message
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("route", "kind"), ROUTES)
def test_any_other_text_is_kept_with_the_character_escaped(
    route: Callable[[Path, pa.DataType], Source], kind: pa.DataType, tmp_path: Path
) -> None:
    products = [("p1", f"Ink {HALF}, \u30e6 and 😀", "office"), ("p2", None, "drinks"), ("p3", "\udfff", "x")]
    shops.extract(tmp_path / "out", route(make_shop(tmp_path, products=products), kind))
    items = pq.read_table(tmp_path / "out" / "items.parquet")
    items.validate(full=True)
    assert items.column("title").to_pylist() == ["Ink \\ud800, \u30e6 and 😀", None, "\\udfff"]


@pytest.mark.parametrize(("route", "kind"), ROUTES)
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("u1", "p1", f"4{HALF}", None), r"column rating, row 1 .*4\\+ud800.* is not a number"),
        (("u1", "p1", 4, f"2026{HALF}"), r"column ordered_at, row 1 .*2026\\+ud800.* is not a point in time"),
    ],
)
def test_a_rating_or_timestamp_with_such_a_character_is_rejected_as_text(
    route: Callable[[Path, pa.DataType], Source], kind: pa.DataType, row: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceDataError, match=message):
        shops.extract(tmp_path / "out", route(make_shop(tmp_path, interactions=[row]), kind))


def test_bytes_that_are_not_text_are_escaped_as_bytes(tmp_path: Path) -> None:
    """A database may declare an encoding that it does not use."""
    titles = pa.chunked_array([pa.array([b"caf\xe9"]).view(pa.string())])
    assert values.texts(titles).to_pylist() == ["caf\\xe9"]


def test_such_a_character_among_values_of_many_kinds_is_found(tmp_path: Path) -> None:
    users = table_of(["user_id"], [(1,), ("u1",), (f"u{HALF}",)])
    location = values.Location("users.sql", "user_id", 11)
    with pytest.raises(SourceDataError, match=r"users.sql, column user_id, row 13 of .*'u\\ud800' is not text"):
        values.refuse_marked(users.schema.field(0), users.column(0), location, values.HOLDS_NO_UTF8)


# What is stored as JSON


def without_pairs(text: str) -> bool:
    """Return whether no two halves stand beside each other: JSON reads them as one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == text


@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=20).filter(without_pairs))
def test_every_text_survives_being_stored_as_json(text: str) -> None:
    content = canonical_json({"quote": [text], text: 1})
    assert json.loads(content) == {"quote": [text], text: 1}
    assert canonical_json(json.loads(content)) == content


def test_half_a_surrogate_pair_is_escaped_in_json() -> None:
    assert canonical_json({"answer": f"ü{HALF}\udcff"}) == '{\n "answer": "ü\\ud800\\udcff"\n}\n'.encode()
