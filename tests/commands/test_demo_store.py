"""The generated shop: reproducible, and one that a recommender can learn from."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from demo.store import generate_store, returns_column, write_store
from recdeploy_ops.extraction.statements import read_query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("shop") / "store.db"
    generate_store(path, first_day=TODAY)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def one(shop: sqlite3.Connection, query: str) -> Any:
    return shop.execute(query).fetchone()[0]


def test_the_shop_has_the_documented_size(shop: sqlite3.Connection) -> None:
    assert one(shop, "SELECT count(*) FROM users") == 2_500
    assert one(shop, "SELECT count(*) FROM products") == 800
    assert one(shop, "SELECT count(*) FROM interactions") == pytest.approx(120_000, rel=0.02)


def test_the_newest_order_is_of_yesterday_and_not_in_the_future(shop: sqlite3.Connection) -> None:
    assert "2026-11-22" < one(shop, "SELECT max(ordered_at) FROM interactions") <= "2026-11-23T00:00:00+00:00"


def test_interactions_are_distinct_and_refer_to_users_and_products(shop: sqlite3.Connection) -> None:
    pairs = "SELECT count(*) FROM (SELECT DISTINCT user_id, product_id FROM interactions)"

    assert one(shop, pairs) == one(shop, "SELECT count(*) FROM interactions")
    assert one(shop, "SELECT count(*) FROM interactions WHERE user_id NOT IN (SELECT user_id FROM users)") == 0
    assert (
        one(
            shop,
            "SELECT count(*) FROM interactions WHERE product_id NOT IN (SELECT product_id FROM products)",
        )
        == 0
    )
    assert one(shop, "SELECT count(DISTINCT user_id) FROM users") == 2_500
    assert one(shop, "SELECT count(DISTINCT product_id) FROM products") == 800


def test_few_products_sell_much(shop: sqlite3.Connection) -> None:
    sold = [n for (n,) in shop.execute("SELECT count(*) n FROM interactions GROUP BY product_id ORDER BY n DESC")]

    assert sum(sold[:80]) > 0.3 * sum(sold)
    assert sold[-1] > 0


def test_each_user_rated_at_most_half_of_the_products(shop: sqlite3.Connection) -> None:
    assert one(shop, "SELECT max(n) FROM (SELECT count(*) n FROM interactions GROUP BY user_id)") <= 400


def test_ratings_are_one_to_five(shop: sqlite3.Connection) -> None:
    ratings = {rating for (rating,) in shop.execute("SELECT DISTINCT rating FROM interactions")}

    assert ratings == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_ids_include_kinds_that_careless_code_changes(shop: sqlite3.Connection) -> None:
    users = {user for (user,) in shop.execute("SELECT user_id FROM users")}

    assert {"00420", "420", "NaN", "1e5", "ユーザー7"} <= users
    assert any(len(user) == 36 for user in users)


def test_the_same_seed_and_day_give_the_same_rows(tmp_path: Path) -> None:
    assert dump(tmp_path / "one.db", seed=7) == dump(tmp_path / "two.db", seed=7)


def test_another_seed_gives_another_shop(tmp_path: Path) -> None:
    assert dump(tmp_path / "one.db", seed=7) != dump(tmp_path / "two.db", seed=8)


@pytest.mark.parametrize(
    ("text", "is_returned"),
    [
        ("SELECT * FROM users", True),
        ("SELECT user_id, country AS SEGMENT FROM users", True),
        ("SELECT user_id FROM users", False),
        ("SELECT user_id, segment FROM customers", False),
        ("SELECT user_id, segment FROM users WHERE country = :country", False),
    ],
)
def test_a_column_that_a_query_returns_is_known(tmp_path: Path, text: str, *, is_returned: bool) -> None:
    write_store(tmp_path / "store.db", users=[], products=[], interactions=[])
    (tmp_path / "users.sql").write_text(f"-- of the shop\n{text};\n", encoding="utf-8")

    assert returns_column(tmp_path / "store.db", read_query(tmp_path / "users.sql"), "segment") == is_returned


def dump(path: Path, seed: int) -> list[str]:
    generate_store(path, first_day=TODAY, seed=seed, size=50)
    with closing(sqlite3.connect(path)) as shop:
        return list(shop.iterdump())
