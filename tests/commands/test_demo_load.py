"""``DATA=folder``: unchanged ids, errors that name file, line, column and remedy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from demo.errors import DemoError
from demo.load import Columns, load_store

if TYPE_CHECKING:
    from pathlib import Path

IDS = [
    "0205616461",
    "205616461",
    "A39HTATAQ9V7YF",
    "ユーザー7",
    "NaN",
    "1e5",
    "00420",
    " padded ",
    "7b2e-'\";--",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "users.csv": "user_id,age\n00420,7\nNaN,8\n",
        "items.csv": "movie_id,movie_title\n01,Up\n02,Alien\n",
        "interactions.csv": (
            "user_id,movie_id,rating,timestamp\n00420,01,4.5,881250949\nNaN,02,3,2026-01-02T03:04:05\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()


def test_files_become_the_standard_tables(folder: Path) -> None:
    loaded = load_store(folder, folder / "store.db")

    assert str(loaded.counts) == "2 users, 2 products, 2 interactions"
    assert loaded.has_timestamps
    assert rows(folder / "store.db", "users") == [("00420", None, None, None), ("NaN", None, None, None)]
    assert rows(folder / "store.db", "products") == [("01", "Up", None, None), ("02", "Alien", None, None)]
    assert rows(folder / "store.db", "interactions") == [
        ("00420", "01", 4.5, "1997-12-04T15:55:49+00:00"),
        ("NaN", "02", 3.0, "2026-01-02T03:04:05+00:00"),
    ]


@pytest.mark.parametrize("identifier", IDS)
def test_an_id_survives_byte_for_byte(folder: Path, identifier: str) -> None:
    quoted = '"' + identifier.replace('"', '""') + '"'
    (folder / "users.csv").write_text(f"user_id\n{quoted}\n", encoding="utf-8")
    (folder / "items.csv").write_text(f"movie_id\n{quoted}\n", encoding="utf-8")
    (folder / "interactions.csv").write_text(f"user_id,movie_id,rating\n{quoted},{quoted},1\n", encoding="utf-8")

    loaded = load_store(folder, folder / "store.db")

    assert not loaded.has_timestamps
    assert rows(folder / "store.db", "interactions") == [(identifier, identifier, 1.0, None)]


def test_a_byte_order_mark_is_not_part_of_the_first_column_name(folder: Path) -> None:
    path = folder / "users.csv"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")

    assert load_store(folder, folder / "store.db").counts.users == 2


def test_columns_may_have_other_names(folder: Path) -> None:
    (folder / "users.csv").write_text("row,customer\n1,u-1\n", encoding="utf-8")
    (folder / "items.csv").write_text("row,sku,label\n1,p-1,Lamp\n", encoding="utf-8")
    (folder / "interactions.csv").write_text("customer,sku,stars,at\nu-1,p-1,5,\n", encoding="utf-8")
    columns = Columns(user="customer", item="sku", rating="stars", timestamp="at", title="label")

    load_store(folder, folder / "store.db", columns)

    assert rows(folder / "store.db", "products") == [("p-1", "Lamp", None, None)]
    assert rows(folder / "store.db", "interactions") == [("u-1", "p-1", 5.0, None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("users.csv", None, r"users\.csv is missing"),
        ("users.csv", "", r"users\.csv is empty"),
        ("items.csv", "movie_id\n", r"items\.csv has a header but no rows"),
        ("interactions.csv", "user_id,movie_id,rating\n", r"interactions\.csv has a header but no rows"),
        (
            "users.csv",
            "customer\n1\n",
            r"interactions\.csv, line 1: no column 'customer'.*DATA_USER=column",
        ),
        ("interactions.csv", "user_id,movie_id,stars\n1,1,1\n", r"no column 'rating'.*DATA_RATING=column"),
        (
            "interactions.csv",
            "user_id,movie_id,rating\n1,1,1\n1,2,good\n",
            r"interactions\.csv, line 3, column 'rating': 'good' is not a number.*DATA_RATING",
        ),
        (
            "interactions.csv",
            "user_id,movie_id,rating\n1,1,nan\n",
            r"line 2, column 'rating': 'nan' is not a number",
        ),
        ("interactions.csv", "user_id,movie_id,rating\n1,1,1_0\n", r"'1_0' is not a number"),
        ("interactions.csv", "user_id,movie_id,rating\n,1,1\n", r"line 2, column 'user_id': is empty"),
        ("interactions.csv", "user_id,movie_id,rating\n1,1\n", r"line 2: 2 values, but the header names 3"),
        (
            "interactions.csv",
            "user_id,movie_id,rating,timestamp\n1,1,1,yesterday\n",
            r"column 'timestamp': 'yesterday' is neither epoch seconds nor ISO 8601.*DATA_TIMESTAMP",
        ),
        (
            "interactions.csv",
            "user_id,movie_id,rating,timestamp\n1,1,1,9999-12-31T23:59:59-05:00\n",
            r"column 'timestamp': '9999-12-31T23:59:59-05:00' is neither epoch seconds nor ISO 8601",
        ),
        (
            "interactions.csv",
            "user_id,movie_id,rating,rating\n1,1,1,2\n",
            r"interactions\.csv, line 1: the column 'rating' occurs twice",
        ),
        ("users.csv", 'user_id\n"1\n', r"users\.csv, line 2: this is not CSV"),
    ],
)
def test_an_unusable_file_is_named_with_the_remedy(folder: Path, name: str, text: str | None, message: str) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text, encoding="utf-8")

    with pytest.raises(DemoError, match=message):
        load_store(folder, folder / "store.db")

    assert not (folder / "store.db").exists()
    assert not list(folder.glob("*.partial"))


def test_the_settings_name_of_the_timestamp_column_is_used_and_reported(folder: Path) -> None:
    path = folder / "interactions.csv"
    path.write_text("user_id,movie_id,rating,ordered_at\n00420,01,4.5,2026-01-02\n", encoding="utf-8")

    loaded = load_store(folder, folder / "store.db", timestamp_column="ordered_at")

    assert loaded.has_timestamps
    assert rows(folder / "store.db", "interactions") == [("00420", "01", 4.5, "2026-01-02T00:00:00+00:00")]
    assert loaded.columns_used == (
        "users.csv: user_id; items.csv: movie_id, movie_title; interactions.csv: user_id, movie_id, rating, ordered_at"
    )


def test_missing_optional_columns_are_reported(folder: Path) -> None:
    (folder / "items.csv").write_text("movie_id\n01\n", encoding="utf-8")
    (folder / "interactions.csv").write_text(
        "user_id,movie_id,rating,ordered_at\n00420,01,4.5,2026\n", encoding="utf-8"
    )

    loaded = load_store(folder, folder / "store.db")

    assert not loaded.has_timestamps
    assert loaded.columns_used.endswith(
        "items.csv: movie_id, no title; interactions.csv: user_id, movie_id, rating, no timestamp"
    )


def test_a_file_in_another_encoding_is_named(folder: Path) -> None:
    (folder / "items.csv").write_bytes("movie_id,title\n1,Zoë\n".encode("latin-1"))

    with pytest.raises(DemoError, match=r"items\.csv, .* not UTF-8"):
        load_store(folder, folder / "store.db")


def test_data_that_is_not_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="nowhere is not a folder"):
        load_store(tmp_path / "nowhere", tmp_path / "store.db")


def test_a_failed_load_keeps_the_present_store(folder: Path) -> None:
    load_store(folder, folder / "store.db")
    (folder / "users.csv").write_text("user_id\n", encoding="utf-8")

    with pytest.raises(DemoError):
        load_store(folder, folder / "store.db")

    assert len(rows(folder / "store.db", "users")) == 2
