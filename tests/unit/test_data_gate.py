from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops

from recdeploy_ops.domain.gates.data import DataFacts, TableFacts, judge_data
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.settings import GateSettings

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.domain.gates.verdicts import Finding


NOW = dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC)
GATES = GateSettings()
NAMES = ["schema", "null_ids", "unique_interactions", "unique_users", "unique_items", "orphan_ids"]
NAMES += ["finite_ratings", "rating_spread", "freshness"]


def facts(**changed: Any) -> DataFacts:
    """Return the facts of a sound extract, with changes."""
    tables = {
        "interactions": TableFacts(rows=100, null_ids=0, duplicates=0),
        "users": TableFacts(rows=10, null_ids=0, duplicates=0),
        "items": TableFacts(rows=20, null_ids=0, duplicates=0),
    }
    tables |= changed.pop("tables", {})
    sound: dict[str, Any] = {"orphans": 0, "invalid_ratings": 0, "newest_interaction": NOW - dt.timedelta(hours=3)}
    sound |= {"distinct_ratings": 5, "most_frequent": (4.0, 0.34)}
    return DataFacts(tables, **(sound | changed))


def table(rows: int = 100, null_ids: int | None = 0, duplicates: int = 0, *problems: str) -> TableFacts:
    return TableFacts(rows, null_ids, duplicates, problems)


def finding(gate: str, measured: DataFacts, **gates: float) -> Finding:
    report = judge_data(measured, GATES.model_copy(update=gates), NOW)
    assert [f.gate for f in report.findings] == NAMES
    return next(f for f in report.findings if f.gate == gate)


def test_a_sound_extract_passes_every_gate() -> None:
    report = judge_data(facts(), GATES, NOW)
    assert {(f.verdict, f.users) for f in report.findings} == {(Verdict.PASS, 10)}


@pytest.mark.parametrize(
    ("gate", "changed", "words"),
    [
        ("schema", {"tables": {"users": table(10, 0, 0, "column user_id is missing")}}, "users: column user_id"),
        ("schema", {"tables": {"items": table(0)}}, "items: no rows"),
        ("null_ids", {"tables": {"users": table(9, 1)}}, "1 in users"),
        ("null_ids", {"tables": {"users": table(9, None)}}, "number of rows of users without an id"),
        ("unique_interactions", {"tables": {"interactions": table(100, 0, 1)}}, "1 of 100 rows of interactions"),
        ("unique_users", {"tables": {"users": table(10, 0, 1)}}, "users.sql must return one row for each"),
        ("unique_items", {"tables": {"items": table(20, 0, 2)}}, "2 of 20 rows of items repeat an item"),
        ("orphan_ids", {"orphans": 1}, "let interactions.sql return only those"),
        ("orphan_ids", {"orphans": None}, "was not measured"),
        ("finite_ratings", {"invalid_ratings": 7}, "7 of 100 rows"),
        ("finite_ratings", {"invalid_ratings": None}, "was not measured"),
        ("rating_spread", {"distinct_ratings": None}, "was not measured"),
        ("rating_spread", {"distinct_ratings": 1, "most_frequent": (1.0, 1.0)}, "Every interaction has the rating 1"),
    ],
)
def test_a_fault_fails_its_own_gate_alone(gate: str, changed: dict[str, Any], words: str) -> None:
    report = judge_data(facts(**changed), GATES, NOW)
    failed = [f for f in report.findings if f.verdict is Verdict.FAIL]
    assert gate in [f.gate for f in failed]
    assert words in next(f.message for f in failed if f.gate == gate)
    assert report.verdict is Verdict.FAIL
    if "no rows" not in words:
        assert len(failed) == 1


@pytest.mark.parametrize(
    ("gate", "changed", "setting", "share"),
    [
        ("null_ids", {"tables": {"users": table(8, 2)}}, "max_null_id_share", 0.2),
        ("unique_users", {"tables": {"users": table(10, 0, 2)}}, "max_duplicate_share", 0.2),
        ("unique_interactions", {"tables": {"interactions": table(100, 0, 2)}}, "max_duplicate_share", 0.02),
        ("orphan_ids", {"orphans": 3}, "max_orphan_share", 0.03),
        ("finite_ratings", {"invalid_ratings": 4}, "max_invalid_rating_share", 0.04),
    ],
)
def test_a_share_passes_up_to_its_bound(gate: str, changed: dict[str, Any], setting: str, share: float) -> None:
    at_bound = finding(gate, facts(**changed), **{setting: share})
    assert (at_bound.verdict, at_bound.value) == (Verdict.PASS, share)
    assert finding(gate, facts(**changed), **{setting: share - 0.001}).verdict is Verdict.FAIL


def test_ratings_that_hardly_differ_are_held() -> None:
    at_bound = finding("rating_spread", facts(most_frequent=(5.0, 0.95)), max_single_rating_share=0.95)
    assert at_bound.verdict is Verdict.PASS
    beyond = finding("rating_spread", facts(most_frequent=(5.0, 0.96)), max_single_rating_share=0.95)
    assert (beyond.verdict, beyond.value) == (Verdict.HOLD, 0.96)
    assert "96.0% of the interactions have the rating 5: there is hardly anything to learn from" in beyond.message


def test_a_missing_table_fails_and_nothing_about_it_passes() -> None:
    whole = facts()
    for name in ("interactions", "users", "items"):
        rest = {other: t for other, t in whole.tables.items() if other != name}
        report = judge_data(replace(whole, tables=rest), GATES, NOW)
        verdicts = {f.gate: f.verdict for f in report.findings}
        assert verdicts["schema"] == verdicts["null_ids"] == verdicts[f"unique_{name}"] == Verdict.FAIL
        assert f"{name}: no such table" in report.findings[0].message


@pytest.mark.parametrize(
    ("hours", "gates", "verdict", "threshold"),
    [
        (336, {}, Verdict.PASS, "<= 336 h"),
        (336.1, {}, Verdict.HOLD, "<= 336 h"),
        (0, {}, Verdict.PASS, "<= 336 h"),
        (-23, {}, Verdict.PASS, "<= 336 h"),
        (-25, {}, Verdict.HOLD, ">= -24 h"),
        (-3, {"max_future_hours": 3}, Verdict.PASS, "<= 336 h"),
        (-3.1, {"max_future_hours": 3}, Verdict.HOLD, ">= -3 h"),
    ],
)
def test_freshness_holds_beyond_its_bound_and_too_far_in_the_future(
    hours: float, gates: dict[str, float], verdict: Verdict, threshold: str
) -> None:
    fresh = finding("freshness", facts(newest_interaction=NOW - dt.timedelta(hours=hours)), **gates)
    assert (fresh.verdict, fresh.threshold) == (verdict, threshold)
    assert fresh.value == pytest.approx(hours)


@pytest.mark.parametrize(
    ("has_timestamps", "why"),
    [(True, "no interaction has a timestamp"), (False, "source.timestamp_column is null")],
)
def test_an_extract_without_timestamps_is_held(has_timestamps: bool, why: str) -> None:
    fresh = finding("freshness", facts(newest_interaction=None, has_timestamps=has_timestamps))
    assert (fresh.verdict, fresh.value) == (Verdict.HOLD, None)
    assert why in fresh.message


# Measuring


NULL_IDS = {"interactions": {"null_ids": 0}, "users": {"null_ids": 1}, "items": {"null_ids": 2}}


def measure(folder: Path, **manifest: Any) -> DataFacts:
    return measure_data(folder, shops.settings_with(), NULL_IDS | manifest)


def test_a_sound_extract_is_measured(tmp_path: Path) -> None:
    folder = shops.write_extract(tmp_path, [("u1", "p1", 1.0), ("u1", "p2", 2.0), ("u2", "p1", 3.0)])
    measured = measure(folder, newest_interaction="2026-02-01T10:00:00+00:00")
    assert measured.tables == {
        "interactions": TableFacts(3, 0, 0),
        "users": TableFacts(2, 1, 0),
        "items": TableFacts(2, 2, 0),
    }
    assert (measured.orphans, measured.invalid_ratings) == (0, 0)
    assert measured.newest_interaction == dt.datetime(2026, 2, 1, 10, tzinfo=dt.UTC)
    assert measured.has_timestamps


def test_offending_rows_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    folder = shops.write_extract(
        tmp_path,
        [
            ("u1", "p1", 1.0),
            ("u1", "p1", None),
            ("u1", "p2", float("nan")),
            ("u2", "p1", float("inf")),
            ("u9", "p1", 1.0),
            ("u1", "p9", 1.0),
            ("u9", "p9", 1.0),
        ],
        users=["u1", "u2", "u2", "u2", "u3"],
        items=["p1", "p2", "p2"],
    )
    measured = measure(folder)
    duplicates = {name: table.duplicates for name, table in measured.tables.items()}
    assert duplicates == {"interactions": 1, "users": 2, "items": 1}
    assert (measured.orphans, measured.invalid_ratings) == (3, 3)
    assert measured.examples == {
        "unique_interactions": ("user 'u1' item 'p1'",),
        "unique_users": ("'u2'",),
        "unique_items": ("'p2'",),
        "orphan_ids": ("user 'u9' item 'p1'", "user 'u1' item 'p9'", "user 'u9' item 'p9'"),
        "finite_ratings": ("user 'u1' item 'p1'", "user 'u1' item 'p2'", "user 'u2' item 'p1'"),
    }
    assert "(first: user 'u9' item 'p1', " in finding("orphan_ids", measured).message


def test_the_measures_do_not_depend_on_row_groups(tmp_path: Path) -> None:
    folder = shops.write_extract(tmp_path, [(f"u{i % 50}", f"p{i % 7}", 1.0) for i in range(1000)])
    whole = pq.read_table(folder / "interactions.parquet")
    measured = measure(folder)
    pq.write_table(whole, folder / "interactions.parquet", row_group_size=13)
    assert measure(folder) == measured
    assert measured.tables["interactions"].duplicates == 1000 - 350


def test_a_column_that_is_missing_or_of_another_type_fails_the_schema(tmp_path: Path) -> None:
    folder = shops.write_extract(tmp_path, [("u1", "p1", 1.0)])
    pq.write_table(pa.table({"user_id": [1]}), folder / "users.parquet")
    pq.write_table(pa.table({"id": ["p1"]}), folder / "items.parquet")
    report = judge_data(measure(folder), GATES, NOW)
    assert "users: column user_id is int64, must be string" in report.findings[0].message
    assert "items: column product_id is missing" in report.findings[0].message
    assert report.verdict is Verdict.FAIL


def test_an_empty_table_fails_its_gates(tmp_path: Path) -> None:
    report = judge_data(measure(shops.write_extract(tmp_path, [])), GATES, NOW)
    assert {f.gate for f in report.findings if f.verdict is Verdict.FAIL} >= {"schema", "orphan_ids"}


def test_facts_that_the_manifest_does_not_have_never_pass(tmp_path: Path) -> None:
    folder = shops.write_extract(tmp_path, [("u1", "p1", 1.0)])
    report = judge_data(measure_data(folder, shops.settings_with(timestamp_column=None), {}), GATES, NOW)
    verdicts = {f.gate: f.verdict for f in report.findings}
    assert verdicts["null_ids"] is Verdict.FAIL
    assert verdicts["freshness"] is Verdict.HOLD
