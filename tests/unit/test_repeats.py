"""Repeated interactions: what one row of them is, and what the gates still see of all."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from shops import extract, listed, settings_with

from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.evaluation.interactions import read_all_interactions, read_interactions
from recdeploy_ops.extraction import tables
from recdeploy_ops.extraction.repeats import REPEATED, Merging
from recdeploy_ops.settings import SourceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MAY, JUNE, JULY = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (5, 6, 7))
NAN = float("nan")
Row = tuple[str, str, float | None, dt.datetime | None]


def table_of(rows: Sequence[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    schema = pa.schema(
        [("user", pa.string()), ("item", pa.string()), ("rating", pa.float64()), ("at", pa.timestamp("us", "UTC"))]
    )
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def merge(rows: pa.Table, how: str, size: int = 100) -> tuple[pa.Table, pa.Table]:
    """Return the merged rows, and those that were kept beside them."""
    kept = [rows.slice(0, 0)]
    batches = [rows.slice(start, size) for start in range(0, len(rows), size)]
    merged = Merging(how, ("user", "item"), "rating", "at").merge(batches, kept.append)
    return pa.concat_tables([rows.slice(0, 0), *merged]), pa.concat_tables(kept)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(3.0, MAY), (5.0, JUNE)], {"latest": 5.0, "mean": 4.0, "max": 5.0, "sum": 8.0}),
        ([(3.0, JUNE), (5.0, MAY)], {"latest": 3.0, "mean": 4.0, "max": 5.0, "sum": 8.0}),
        ([(None, JULY), (2.0, MAY), (4.0, JUNE)], {"latest": 4.0, "mean": 3.0, "max": 4.0, "sum": 6.0}),
        ([(2.0, None), (1.0, MAY)], {"latest": 1.0, "mean": 1.5, "max": 2.0, "sum": 3.0}),
        ([(2.0, MAY), (7.0, MAY)], {"latest": 7.0, "mean": 4.5, "max": 7.0, "sum": 9.0}),
        ([(None, MAY), (None, JUNE)], dict.fromkeys(("latest", "mean", "max", "sum"))),
        ([(float("inf"), JUNE), (1.0, MAY)], dict.fromkeys(("latest", "mean", "max", "sum"), 1.0)),
        ([(-1.0, MAY), (-2.0, JUNE)], {"latest": -2.0, "mean": -1.5, "max": -1.0, "sum": -3.0}),
    ],
)
def test_the_rows_of_a_pair_become_one(rows: list[Any], expected: dict[str, float | None]) -> None:
    others: list[Row] = [("u1", "o", 9.0, MAY), ("u2", "p", 8.0, MAY)]
    given_rows = table_of([others[0], *(("u1", "p", rating, at) for rating, at in rows), others[1]])
    for how, rating in expected.items():
        merged, kept = merge(given_rows, how)
        assert merged.column("rating").to_pylist() == [9.0, rating, 8.0]
        assert kept.to_pylist() == given_rows.slice(1, len(rows)).to_pylist()
    newest = max((at for _, at in rows if at), default=None)
    assert merge(given_rows, "sum")[0].column("at").to_pylist() == [MAY, newest, MAY]


ratings = st.none() | st.integers(-5, 5).map(float) | st.just(NAN)
rows_of = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), ratings, st.sampled_from([MAY, JUNE, JULY])), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(rows=rows_of, how=st.sampled_from(["latest", "mean", "max", "sum"]), size=st.integers(1, 7))
def test_merging_is_a_group_by_whatever_the_batches(rows: list[Row], how: str, size: int) -> None:
    rows.sort(key=lambda row: row[:2])
    given_rows = table_of(rows)
    merged, kept = merge(given_rows, how, size)
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "at"]).astype({"rating": float})
    frame["finite"] = frame["rating"].notna()
    ordered = frame.reset_index().sort_values(["finite", "at", "index"], kind="stable")
    grouped = (ordered if how == "latest" else frame).groupby(["user", "item"], sort=True)["rating"]
    wanted = {"latest": lambda: grouped.nth(-1), "mean": grouped.mean, "max": grouped.max, "sum": grouped.sum}[how]()
    if how == "sum":
        wanted = wanted.where(frame.groupby(["user", "item"])["finite"].any())
    if how == "latest":
        wanted = ordered.groupby(["user", "item"], sort=True).tail(1).sort_values(["user", "item"])["rating"]
    found = merged.column("rating").to_pandas()
    np.testing.assert_allclose(found.to_numpy(float), wanted.to_numpy(float))
    assert [row[:2] for row in zip(*merged.to_pydict().values(), strict=True)] == sorted({row[:2] for row in rows})
    sizes = frame.groupby(["user", "item"])["at"].transform("size")
    assert len(kept) == int((sizes > 1).sum())


ORDERS = [
    ("u1", "p1", 3.0, "2026-05-01"),
    ("u1", "p1", 5.0, "2026-06-01"),
    ("u1", "p2", 2.0, "2026-05-01"),
    ("u2", "p2", None, "2026-05-01"),
    ("u2", "p2", None, "2026-05-01"),
    ("u2", "p2", 4.0, "2026-04-01"),
]


def test_orders_of_the_same_product_are_extracted_as_one_row(tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db", interactions=ORDERS[::-1]))
    facts = extract(tmp_path / "out", shop, batch_rows=2)
    assert facts["interactions"] == {
        "rows": 3,
        "columns": ["user_id", "product_id", "rating", "ordered_at"],
        "null_ids": 0,
        "merged": 3,
    }
    rows = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert rows.column("rating").to_pylist() == [5.0, 2.0, 4.0]
    assert pq.read_table(tmp_path / "out" / REPEATED).num_rows == 5
    assert facts["newest_interaction"] == "2026-06-01T00:00:00+00:00"


def test_equal_orders_in_other_batches_give_equal_bytes(tmp_path: Path) -> None:
    for run, (order, batch_rows) in enumerate([(1, 50_000), (-1, 1), (-1, 2)]):
        shop = shops.source_of(shops.make_shop(tmp_path / f"{run}.db", interactions=ORDERS[::order]))
        extract(tmp_path / str(run), shop, batch_rows=batch_rows)
    contents = [[p.read_bytes() for p in sorted((tmp_path / str(run)).iterdir())] for run in range(3)]
    assert contents[0] == contents[1] == contents[2]


def test_what_was_merged_is_gone_with_the_next_extract(tmp_path: Path) -> None:
    extract(tmp_path / "out", shops.source_of(shops.make_shop(tmp_path / "1.db", interactions=ORDERS)))
    assert (tmp_path / "out" / REPEATED).exists()
    extract(tmp_path / "out", shops.source_of(shops.make_shop(tmp_path / "2.db")))
    assert not (tmp_path / "out" / REPEATED).exists()


@pytest.mark.parametrize("changes", [{"repeated": "refuse"}, {"timestamp_column": None}])
def test_repeated_rows_may_be_left_for_the_gate_to_refuse(tmp_path: Path, changes: dict[str, Any]) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db", interactions=ORDERS))
    facts = extract(tmp_path / "out", shop, **changes)
    assert facts["interactions"]["rows"] == len(ORDERS)
    assert "merged" not in facts["interactions"]
    assert not (tmp_path / "out" / REPEATED).exists()


def test_the_latest_needs_a_time() -> None:
    assert SourceSettings().merging == "latest"
    assert SourceSettings(timestamp_column=None).merging == "refuse"
    assert SourceSettings(timestamp_column=None, repeated="sum").merging == "sum"
    with pytest.raises(ValidationError, match="repeated is latest, which needs a timestamp_column"):
        SourceSettings(timestamp_column=None, repeated="latest")


@pytest.mark.parametrize("how", ["latest", "mean", "max", "sum"])
def test_the_gates_read_every_row_as_the_database_had_it(tmp_path: Path, how: str) -> None:
    extract(tmp_path, shops.source_of(shops.make_shop(tmp_path / "shop.db", interactions=ORDERS)), repeated=how)
    source = settings_with().source
    found = read_all_interactions(tmp_path, source)
    ids = [[codes.ids[int(code)].as_py() for code in codes.codes] for codes in (found.users, found.items)]
    shown = [None if np.isnan(rating) else float(rating) for rating in found.ratings]
    assert found.times is not None
    days = [dt.datetime.fromtimestamp(time / 1e6, dt.UTC).date().isoformat() for time in found.times]
    assert sorted(zip(*ids, shown, days, strict=True), key=str) == sorted(ORDERS, key=str)
    assert len(read_interactions(tmp_path, source)) == 3


def test_a_pair_of_any_number_of_rows_is_merged_across_batches(tmp_path: Path) -> None:
    rows = [("u1", "p1", float(number % 5), f"2026-01-{number % 28 + 1:02}") for number in range(500)]
    source = listed(interactions=[shops.table_of(["user_id", "product_id", "rating", "ordered_at"], rows)])
    facts = extract(tmp_path, source, repeated="mean")
    assert (facts["interactions"]["rows"], facts["interactions"]["merged"]) == (1, 499)
    assert pq.read_table(tmp_path / "interactions.parquet").column("rating").to_pylist() == [2.0]


def test_memory_is_bounded_while_rows_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 5_000)
    held: list[int] = []
    before = pa.total_allocated_bytes()

    def batch(number: int) -> pa.Table:
        users = [f"u{number:03}-{row // 4:05}" for row in range(4_000)]
        days = [f"2026-01-{row % 4 + 1:02}" for row in range(4_000)]
        return pa.table({"user_id": users, "product_id": ["p1"] * 4_000, "rating": [1.0] * 4_000, "ordered_at": days})

    class LongSource(shops.ListedSource):
        def tables(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[pa.Table]:
            if "FROM interactions" not in sql:
                yield from super().tables(sql, parameters)
                return
            for number in range(100):
                held.append(pa.total_allocated_bytes() - before)
                yield batch(number)

    facts = extract(tmp_path, LongSource(**listed(interactions=[batch(0).slice(0, 0)]).given))
    assert (facts["interactions"]["rows"], facts["interactions"]["merged"]) == (100_000, 300_000)
    assert max(held) < 400_000 * 20 / 4, "batches pile up"  # bytes of ids, rating and time


def test_merged_rows_are_counted_for_the_approver(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db", interactions=ORDERS)
    facts = extract(tmp_path / "out", shops.source_of(file))
    chosen = settings_with()
    report = judge_data(measure_data(tmp_path / "out", chosen, facts), chosen.gates, JULY)
    [finding] = [finding for finding in report.findings if finding.gate == "unique_interactions"]
    assert finding.verdict == "PASS"
    assert "0 of 3 rows of interactions" in finding.message
    assert "after 3 more were merged into others (source.repeated)" in finding.message
