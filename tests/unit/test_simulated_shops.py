"""Simulated shops: a later week is an earlier one with more orders, and each damage changes what it says it does."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recdeploy_ops.evaluation.interactions import hash_rows
from recdeploy_ops.settings import DEFAULT_PATH, load_settings
from simulation.damages import DAMAGES
from simulation.files import read_shop
from simulation.generated import end_of_week, generate_shop
from simulation.shops import WEEK, write_extract
from simulation.synthetic import make_synthetic_shop

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.shops import Shop

FIRST_DAY = date(2026, 1, 5)
SOURCE = load_settings(DEFAULT_PATH).source.model_copy(update={"segment_column": "segment"})


@pytest.fixture(scope="module")
def life() -> Shop:
    return generate_shop(FIRST_DAY, size=300)


@pytest.fixture(scope="module", params=["generated", "synthetic"])
def any_life(request: pytest.FixtureRequest, life: Shop) -> Shop:
    if request.param == "generated":
        return life
    return make_synthetic_shop(users=200, items=60, rows=6_000, weeks=6, seed=3)


def test_a_later_week_has_every_row_of_an_earlier_one(any_life: Shop) -> None:
    then, now = (any_life.until(any_life.newest - back * WEEK) for back in (2, 1))

    assert set(hash_rows(then.interactions)) < set(hash_rows(now.interactions))
    assert set(then.users.ids.to_pylist()) <= set(now.users.ids.to_pylist())
    assert set(then.items.ids.to_pylist()) <= set(now.items.ids.to_pylist())


def test_nobody_rates_an_item_twice_or_before_it_is_sold(any_life: Shop) -> None:
    rows = any_life.interactions
    pairs = rows.users.codes * len(rows.items.ids) + rows.items.codes

    assert len(np.unique(pairs)) == len(pairs)
    assert (any_life.times >= any_life.items.since[rows.items.codes]).all()
    assert (any_life.times >= any_life.users.since[rows.users.codes]).all()
    assert (np.diff(any_life.times) >= 0).all()


def test_the_same_seed_gives_the_same_shop_and_another_seed_another(life: Shop) -> None:
    again, other = generate_shop(FIRST_DAY, size=300), generate_shop(FIRST_DAY, size=300, seed=8)

    assert (hash_rows(again.interactions) == hash_rows(life.interactions)).all()
    assert not set(hash_rows(other.interactions)) & set(hash_rows(life.interactions))


def test_an_extract_is_in_the_order_of_its_ids_and_has_the_columns_of_the_settings(life: Shop, tmp_path: Path) -> None:
    shop = life.until(end_of_week(FIRST_DAY, 0))
    facts = write_extract(shop, tmp_path, SOURCE)
    rows = pq.read_table(tmp_path / "interactions.parquet")
    keys = list(zip(*(rows.column(name).to_pylist() for name in ("user_id", "product_id")), strict=True))

    assert keys == sorted(keys, key=lambda pair: (pair[0].encode(), pair[1].encode()))
    assert rows.column_names == ["user_id", "product_id", "rating", "ordered_at"]
    assert pq.read_schema(tmp_path / "users.parquet").names == ["user_id", "segment"]
    assert pq.read_schema(tmp_path / "items.parquet").names == ["product_id", "title"]
    assert rows.num_rows == len(shop.interactions)
    assert facts["newest_interaction"].startswith("2026-01-04T")


def test_a_shop_is_read_from_files_and_replayed(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,job\n007,spy\n1e5,none\nnever,none\n", encoding="utf-8")
    (tmp_path / "items.csv").write_text("film,title\n01,Zulu\n1,Heat\n", encoding="utf-8")
    rows = "user_id,film,rating,timestamp\n1e5,1,4,2000\n007,01,5,1000\n"
    (tmp_path / "interactions.csv").write_text(rows, encoding="utf-8")
    shop = read_shop(tmp_path, segment="job")
    then = shop.until(1_500_000_000)

    assert then.users.ids.to_pylist() == ["007"]
    assert then.users.names.to_pylist() == ["spy"]
    assert then.items.names.to_pylist() == ["Zulu"]
    assert then.interactions.ratings.tolist() == [5.0]
    assert "never" not in shop.until(shop.newest).users.ids.to_pylist()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_changes_the_week_and_leaves_the_shop_as_it_was(life: Shop, name: str) -> None:
    shop, cut = life.until(end_of_week(FIRST_DAY, 3)), life.until(end_of_week(FIRST_DAY, 2)).newest
    before, titles = hash_rows(shop.interactions).copy(), shop.items.names
    damaged = DAMAGES[name].plant(shop, cut, np.random.default_rng(1))
    rows_changed = sorted(hash_rows(damaged.interactions)) != sorted(before)

    assert rows_changed != name.startswith("titles")
    assert rows_changed or damaged.items.names != titles
    assert (hash_rows(shop.interactions) == before).all()
    assert shop.items.names == titles


@pytest.mark.parametrize("name", [name for name in DAMAGES if name.startswith(("week-", "robot-", "default-"))])
def test_a_damage_of_the_newest_week_leaves_earlier_ones_alone(life: Shop, name: str) -> None:
    shop, cut = life.until(end_of_week(FIRST_DAY, 3)), life.until(end_of_week(FIRST_DAY, 2)).newest
    damaged = DAMAGES[name].plant(shop, cut, np.random.default_rng(1))
    old = damaged.interactions.take(damaged.times <= cut)
    expected = shop.interactions.take(shop.times <= cut)
    if name == "robot-once":  # the account's own earlier rows are replaced by its new ones
        assert set(hash_rows(old)) < set(hash_rows(expected))
    else:
        assert (hash_rows(old) == hash_rows(expected)).all()


def test_ids_without_a_leading_zero_get_one_and_the_others_lose_it(life: Shop) -> None:
    damaged = DAMAGES["zeros"].plant(life, 0, np.random.default_rng(1))
    own, other = life.interactions.items, damaged.interactions.items
    texts = [side.ids.take(pa.array(side.codes[:200])).to_pylist() for side in (own, other)]

    assert all(one.lstrip("0") == two.lstrip("0") and one != two for one, two in zip(*texts, strict=True))
