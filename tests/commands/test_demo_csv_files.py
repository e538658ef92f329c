"""``DATA=folder``: files as spreadsheets, pandas and Windows save them."""

from __future__ import annotations

import csv
import sqlite3
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from demo import csv_rows
from demo.errors import DemoError
from demo.load import Columns, Loaded, load_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USERS = "user_id,name\nm1,Änne\nm2,Bo\n"
ITEMS = "product_id,title\nx1,Tee\nx2,Öl\n"
INTERACTIONS = "user_id,product_id,rating,timestamp\nm1,x1,4,2026-11-20 10:00:00\nm2,x2,2.5,2026-11-22\n"
CLEAN = {"users.csv": USERS, "items.csv": ITEMS, "interactions.csv": INTERACTIONS}
STORE = {
    "users": [("m1",), ("m2",)],
    "products": [("x1", "Tee"), ("x2", "Öl")],
    "interactions": [("m1", "x1", 4.0, "2026-11-20T10:00:00+00:00"), ("m2", "x2", 2.5, "2026-11-22T00:00:00+00:00")],
}


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in {**CLEAN, **files}.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def load(folder: Path, columns: Columns | None = None) -> Loaded:
    return load_store(folder, folder / "store.db", columns)


def store(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    columns = {"users": "user_id", "products": "product_id, title", "interactions": "*"}
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        return {
            table: connection.execute(f"SELECT {names} FROM {table} ORDER BY rowid").fetchall()
            for table, names in columns.items()
        }


def spell(change: Any) -> dict[str, str | bytes]:
    return {name: change(text) for name, text in CLEAN.items()}


def index_column(text: str) -> str:
    """The file as pandas writes it without ``index=False``."""
    header, *lines = text.splitlines()
    return "".join([f",{header}\n", *(f"{number},{line}\n" for number, line in enumerate(lines))])


SPELLINGS: dict[str, dict[str, str | bytes]] = {
    "clean": {},
    "utf-8-mark": spell(lambda text: text.encode("utf-8-sig")),
    "utf-16-little": spell(lambda text: b"\xff\xfe" + text.encode("utf-16-le")),
    "utf-16-big": spell(lambda text: b"\xfe\xff" + text.encode("utf-16-be")),
    "windows-lines": spell(lambda text: text.replace("\n", "\r\n")),
    "old-mac-lines": spell(lambda text: text.replace("\n", "\r")),
    "excel-unicode-text": spell(lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode("utf-16")),
    "semicolon": spell(lambda text: text.replace(",", ";")),
    "tab": spell(lambda text: text.replace(",", "\t")),
    "pipe": spell(lambda text: text.replace(",", "|")),
    "one-file-with-semicolons": {"items.csv": ITEMS.replace(",", ";")},
    "quotes-and-semicolons": spell(lambda text: '"' + text[:-1].replace(",", '";"').replace("\n", '"\n"') + '"\n'),
    "excel-sep-line": spell(lambda text: "sep=;\r\n" + text.replace(",", ";")),
    "excel-sep-line-in-quotes": spell(lambda text: '"sep=,"\n' + text),
    "excel-sep-tab": spell(lambda text: "\ufeffSEP=\t\n" + text.replace(",", "\t")),
    "sep-line-decides": {"items.csv": "sep=,\nproduct_id,some|other|title\nx1,Tee\nx2,Öl\n"},
    "most-columns": {"users.csv": "user_id;name, first;city\nm1;Änne;Graz\nm2;Bo;Wels\n"},
    "separator-in-a-quoted-name": {"users.csv": 'user_id,"a;b;c;d"\nm1,Änne\nm2,Bo\n'},
    "quoted-name-of-two-lines": {"users.csv": 'user_id,"a\nb;c;d"\nm1,Änne\nm2,Bo\n'},
    "same-number-of-columns": {"users.csv": "user_id,name;city\nm1,Änne\nm2,Bo\n"},
    "upper-case": {"users.csv": USERS.replace("user_id", "USER_ID"), "items.csv": ITEMS.replace("title", "TITLE")},
    "mixed-case": {"interactions.csv": INTERACTIONS.replace(INTERACTIONS[:35], "User_Id,Product_ID,Rating,TimeStamp")},
    "each-file-in-a-case-of-its-own": {
        "users.csv": USERS.replace("user_id", "USER_ID"),
        "items.csv": ITEMS.replace("product_id", "PRODUCT_ID"),
        "interactions.csv": INTERACTIONS.replace("user_id,product_id,rating", "User_Id,Product_Id,Rating"),
    },
    "blanks-around-names": {
        "users.csv": " user_id , name\nm1,Änne\nm2,Bo\n",
        "interactions.csv": INTERACTIONS.replace(INTERACTIONS[:35], "user_id, product_id, rating ,\ttimestamp"),
    },
    "pandas-index": spell(index_column),
    "pandas-index-read-again": spell(lambda text: "Unnamed: 0" + index_column(text)),
    "blank-name": spell(lambda text: " " + index_column(text)),
    "unnamed-in-front-and-behind": spell(lambda text: index_column(text).replace("\n", ",\n")),
}


@pytest.mark.parametrize("files", SPELLINGS.values(), ids=SPELLINGS)
def test_a_spelling_gives_the_store_of_the_clean_files(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    write(tmp_path, files)

    assert load(tmp_path).has_timestamps
    assert store(tmp_path) == STORE


@pytest.mark.parametrize(("users", "items", "orders"), [(60, 60, 55), (20, 15, 120)])
def test_the_row_numbers_of_pandas_are_never_ids(tmp_path: Path, users: int, items: int, orders: int) -> None:
    customers, articles = [f"K-7{n:02}" for n in range(users)], [f"ART{n:04}" for n in range(items)]
    bought = [(customers[n * 7 % users], articles[n * 5 % items]) for n in range(orders)]
    rows = {
        "users.csv": ["customer,city", *(f"{customer},X" for customer in customers)],
        "items.csv": ["article,title", *(f"{article},Thing" for article in articles)],
        "interactions.csv": [
            "customer,article,rating,timestamp",
            *(f"{customer},{article},{1 + n % 5},2026-11-01" for n, (customer, article) in enumerate(bought)),
        ],
    }
    write(tmp_path, {name: index_column("\n".join(lines)) for name, lines in rows.items()})

    load(tmp_path)

    read = store(tmp_path)
    assert read["users"] == [(customer,) for customer in customers]
    assert read["products"] == [(article, "Thing") for article in articles]
    assert [row[:2] for row in read["interactions"]] == bought


def test_names_that_are_used_are_reported_as_each_file_spells_them(tmp_path: Path) -> None:
    write(tmp_path, {"users.csv": "USER_ID\nm1\n", "interactions.csv": "User_Id;Product_Id;Rating\nm1;x1;4\n"})

    assert load(tmp_path).columns_used == (
        "users.csv: USER_ID; items.csv: product_id, title; interactions.csv: User_Id, Product_Id, Rating, no timestamp"
    )


BOOKS: dict[str, str | bytes] = {
    "users.csv": '"User-ID";"Location"\n"11";"wien"\n"12";"graz; \\\\"\n',
    "items.csv": (
        '"ISBN";"Book-Title"\n"034545104X";"Say \\"Hi\\" twice"\n"0155061224";"Plain"\n'
        '"1";"ends in \\"x\\""\n"2";"back\\slash"\n"3";"C:\\"\n"4";"doubled ""quotes"""\n'
    ),
    "interactions.csv": '"User-ID";"ISBN";"Book-Rating"\n"11";"034545104X";"0"\n"12";"0155061224";"8"\n',
}


def test_the_files_of_book_crossing_are_read(tmp_path: Path) -> None:
    write(tmp_path, BOOKS)

    load(tmp_path, Columns(rating="book-rating"))

    assert store(tmp_path) == {
        "users": [("11",), ("12",)],
        "products": [
            ("034545104X", 'Say "Hi" twice'),
            ("0155061224", "Plain"),
            ("1", 'ends in "x"'),
            ("2", "back\\slash"),
            ("3", "C:\\"),
            ("4", 'doubled "quotes"'),
        ],
        "interactions": [("11", "034545104X", 0.0, None), ("12", "0155061224", 8.0, None)],
    }


def test_options_match_in_any_case_and_the_exact_name_wins(tmp_path: Path) -> None:
    header = "USER,Item,stars,STARS,At\n"
    write(
        tmp_path,
        {
            "users.csv": "row,User\n1,m1\n",
            "items.csv": "row,ITEM,Label\n1,x1,Tee\n",
            "interactions.csv": header + "m1,x1,1,5,2026-11-20\n",
        },
    )

    load(tmp_path, Columns(user=" user", item="item", rating="STARS", timestamp="at", title="LABEL"))

    assert store(tmp_path) == {
        "users": [("m1",)],
        "products": [("x1", "Tee")],
        "interactions": [("m1", "x1", 5.0, "2026-11-20T00:00:00+00:00")],
    }


REFUSALS: dict[str, tuple[dict[str, str | bytes], Columns, str]] = {
    "latin-1": (
        {"items.csv": ITEMS.encode("latin-1")},
        Columns(),
        r"items\.csv, line 3 has the byte 0xd6, which is not UTF-8: save the file as UTF-8",
    ),
    "latin-1-far-down": (
        {"users.csv": b"user_id\r\n" + b"u\r\n" * 50_000 + b"Z\xfcrich\r\n"},
        Columns(),
        r"users\.csv, line 50002 has the byte 0xfc",
    ),
    "latin-1-old-mac-lines": (
        {"users.csv": b"user_id\rm1\r\xc4nne\r"},
        Columns(),
        r"users\.csv, line 3 has the byte 0xc4",
    ),
    "utf-16-without-mark": (
        {"users.csv": b"u\0s\0e\0r\0\n\x007\0\n\0"},
        Columns(),
        r"users\.csv, line 1 has the byte 0x00, .*save the file as UTF-8",
    ),
    "utf-16-cut-off": (
        {"users.csv": USERS.encode("utf-16")[:-1]},
        Columns(),
        r"users\.csv, line 3 has the byte 0x0a, which is not UTF-16-LE: save the file as UTF-8",
    ),
    "separator-unknown": (
        {"interactions.csv": INTERACTIONS.replace(",", ":")},
        Columns(),
        r"interactions\.csv, line 1: one column only, 'user_id:product_id:rating:timestamp'.* "
        r"Separate the columns with a comma, a semicolon, a tab or a pipe",
    ),
    "separator-of-sep-line-unknown": (
        {"users.csv": "sep=:\nuser_id:name\n"},
        Columns(),
        r"users\.csv, line 1: 'sep=:'.*a pipe",
    ),
    "separator-is-named": (
        {"interactions.csv": INTERACTIONS.replace(",", ";").replace("rating", "stars")},
        Columns(),
        r"no column 'rating', only user_id, product_id, stars, timestamp \(separated by a semicolon\)\. .*DATA_RATING=",
    ),
    "where-a-default-is-from": (
        {"users.csv": "user_id:name\nm1:Bo\n"},
        Columns(),
        r"interactions\.csv, line 1: no column 'user_id:name' \(the first of users\.csv\).*DATA_USER=",
    ),
    "header-is-line-2": (
        {"interactions.csv": "sep=,\n" + INTERACTIONS.replace("rating", "x")},
        Columns(),
        r"line 2: no column",
    ),
    "no-header-below-sep": ({"users.csv": "sep=;\n"}, Columns(), r"users\.csv is empty"),
    "no-named-column": ({"users.csv": ", ,\n1,2,3\n"}, Columns(), r"users\.csv, line 1: no column has a name"),
    "unnamed-by-option": ({}, Columns(user=" "), r"users\.csv, line 1: no column ' '"),
    "twice-with-blanks": ({"users.csv": "user_id, user_id\n1,2\n"}, Columns(), r"the column 'user_id' occurs twice"),
    "ambiguous-case": (
        {"interactions.csv": INTERACTIONS.replace("timestamp", "RATING").replace("rating", "Rating")},
        Columns(),
        r"interactions\.csv, line 1: 'rating' may be the column 'Rating' or 'RATING'.*DATA_RATING=",
    ),
    "user-is-item": (
        {
            "users.csv": "id\n1\n",
            "items.csv": "ID\n1\n",
            "interactions.csv": "id,rating\n1,5\n",
        },
        Columns(),
        r"interactions\.csv, line 1: the column 'id' would be both the user id and the item id.*"
        r"DATA_USER=column or DATA_ITEM=column",
    ),
    "item-is-rating": ({}, Columns(rating="Product_Id"), r"'product_id' would be both the item id and the rating"),
    "rating-is-timestamp": ({}, Columns(timestamp="rating"), r"'rating' would be both the rating and the timestamp"),
    "user-is-timestamp": ({}, Columns(timestamp="user_id"), r"'user_id' would be both the user id and the timestamp"),
    "item-is-title": ({}, Columns(title="product_id"), r"items\.csv.*both the item id and the title"),
    "open-quote": (
        {"items.csv": 'product_id;title\nx1;"Tee\nx2;Reis\n'},
        Columns(),
        r"items\.csv, line 2: this is not CSV separated by a semicolon \(unexpected end of data\).*quote",
    ),
    "quote-in-the-middle": (
        {"items.csv": 'product_id,title\nx1,"Tee" grün\n'},
        Columns(),
        r"items\.csv, line 2: this is not CSV separated by a comma \('.' expected after",
    ),
    "escaped-and-broken": (
        {"items.csv": 'product_id,title\nx1,"a \\"Tee\\""?\n'},
        Columns(),
        r"items\.csv, line 2: this is not CSV",
    ),
}


@pytest.mark.parametrize(("files", "columns", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_file_that_cannot_be_read_is_named_with_what_was_seen(
    tmp_path: Path, files: dict[str, str | bytes], columns: Columns, message: str
) -> None:
    write(tmp_path, files)

    with pytest.raises(DemoError, match=message):
        load(tmp_path, columns)

    assert not (tmp_path / "store.db").exists()


def test_the_title_is_another_column_than_the_id(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "items.csv": "product_name,label_name\nx1,Tee\n",
            "interactions.csv": "user_id,product_name,rating\nm1,x1,1\n",
        },
    )

    load(tmp_path)

    assert store(tmp_path)["products"] == [("x1", "Tee")]


def test_a_field_of_any_column_may_be_long(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    text = "long " * 60_000
    write(tmp_path, {"items.csv": f'product_id,title,about\nx1,Tee,"{text}"\nx2,{text},\n'})

    load(tmp_path)

    assert store(tmp_path)["products"] == [("x1", "Tee"), ("x2", text)]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x1,{many}{many}\n", 2),
        ('x1,{many}\nx2,"{many}\n{many}\n', 3),
        ('x1,"a \\"tea\\" {many}\n{many}', 2),
        ("{many}{many}", 2),
    ],
    ids=["long-line", "open-quote", "escaped-quotes", "no-end-of-line"],
)
def test_a_row_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int) -> None:
    monkeypatch.setattr(csv_rows, "LONGEST_ROW", 20_000)
    write(tmp_path, {"items.csv": "product_id,title\n" + text.format(many="x" * 15_000)})

    with pytest.raises(
        DemoError, match=rf"items\.csv, line {line}: this is not CSV.*more than 20,000 characters in a row"
    ):
        load(tmp_path)


def test_a_header_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "LONGEST_ROW", 20_000)
    write(tmp_path, {"items.csv": "x" * 30_000})

    with pytest.raises(DemoError, match=r"items\.csv, line 1: this is not CSV \(more than 20,000 characters in a row"):
        load(tmp_path)


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    about = "about " * 100
    rows = "".join(f"x{number};Tee;{about}\n" for number in range(30_000))
    write(tmp_path, {"items.csv": ("\ufeffproduct_id;title;about\n" + rows).encode("utf-16-le")})
    size = (tmp_path / "items.csv").stat().st_size

    tracemalloc.start()
    try:
        load(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size > 30_000_000
    assert peak < 4_000_000
