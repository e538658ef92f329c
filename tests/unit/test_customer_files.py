"""A customer's rows in files: all of theirs go, all others keep their order and their bytes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.readers import LISTS, PRODUCTS, open_lists
from recdeploy_ops.artifacts.recommendation_database import PAGE_BYTES
from recdeploy_ops.upkeep import customer_files
from recdeploy_ops.upkeep.customer_files import Customer, has_bytes_of, names_customer, remove_customer

if TYPE_CHECKING:
    from pathlib import Path

THEM = Customer("u,1\n", frozenset({"user_id", "KUNDE"}))


@pytest.mark.parametrize("column", ["user_id", "KUNDE"])
def test_rows_of_a_table_go_and_an_item_of_the_same_id_stays(tmp_path: Path, column: str) -> None:
    path = tmp_path / "interactions.parquet"
    table = pa.table(
        {column: [THEM.user, "u2", None, THEM.user], "item": ["a", THEM.user, "c", "d"], "n": [1, 2, 3, 4]}
    )
    pq.write_table(table, path)

    assert names_customer(path, THEM)
    assert remove_customer(path, THEM) == 2
    assert pq.read_table(path).equals(table.slice(1, 2))
    assert not names_customer(path, THEM)


def test_a_table_of_items_is_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item": [THEM.user]}), path)

    assert not names_customer(path, THEM)
    assert remove_customer(path, THEM) == 1


def test_records_of_a_csv_file_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "recommendations.csv"
    kept = 'user_id,product_id,rating\n"u 2","p""5",3.50\nu3,"u,1\n",3\n'
    path.write_bytes(kept.replace("u3,", '"u,1\n",p-1,4.0\nu3,').encode() + b'"u,1\n",p-2,1.0\n')

    assert names_customer(path, THEM)
    assert remove_customer(path, THEM) == 2
    assert path.read_bytes() == kept.encode()
    assert not names_customer(path, THEM)


def test_an_empty_csv_file_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "new_users.csv"
    path.write_bytes(b"")

    assert not names_customer(path, THEM)


def test_no_byte_of_a_list_stays_in_the_recommendation_database(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    lists = [(f"user-{number}", b"\1" * 500, b"\2" * 500) for number in range(100)]
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"PRAGMA page_size = {PAGE_BYTES}; {PRODUCTS}; {LISTS};")
        database.executemany("INSERT INTO lists VALUES (?, ?, ?)", lists)
        database.commit()
    them = Customer("user-42", frozenset())

    assert names_customer(path, them)
    assert remove_customer(path, them) is None
    assert not names_customer(path, them)
    assert b"user-42" not in path.read_bytes()
    with open_lists(str(path)) as database:
        assert database.execute("SELECT * FROM lists ORDER BY user_id").fetchall() == sorted(
            row for row in lists if row[0] != them.user
        )


def test_bytes_are_found_where_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(customer_files, "CHUNK", 4)

    for start in range(8):
        assert has_bytes_of(path, Customer("0123456789"[start : start + 3], frozenset()))
    assert not has_bytes_of(path, Customer("124", frozenset()))
    assert not names_customer(path, Customer("0123456789", frozenset())), "our own pickle has items only"
