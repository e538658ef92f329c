"""Today's extract against the champion's: what is measured, and what the gates make of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dated_rows import DAMAGE, FAIL, HOLD, ITEMS, SOURCE, START, WEEKS, Rows, drop_users, make_rows, write

from recdeploy_ops.domain.gates.history import HistoryThresholds, judge_history
from recdeploy_ops.domain.gates.newest import (
    GATES,
    NewestFacts,
    NewestThresholds,
    WindowFacts,
    correlation_interval,
    judge_newest,
)
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.history import Extracts, describe_window, measure_history, parse_day
from recdeploy_ops.evaluation.interactions import hash_rows, read_interactions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recdeploy_ops.domain.gates.verdicts import Finding


def judge(folder: Path, today: Rows, approved: Rows, **changes: Any) -> dict[str, Finding]:
    """Return the findings by gate."""
    titles = changes.pop("titles", None)
    extracts = Extracts(write(folder / "today", today, titles), write(folder / "approved", approved), SOURCE, **changes)
    history, newest = measure_history(extracts, windows=8)
    findings = judge_history(history, HistoryThresholds(), why="") + judge_newest(newest, NewestThresholds(), why="")
    return {finding.gate: finding for finding in findings}


def verdicts(findings: dict[str, Finding]) -> dict[str, Verdict]:
    """Return the verdicts that are not PASS."""
    return {gate: finding.verdict for gate, finding in findings.items() if finding.verdict is not Verdict.PASS}


def test_an_honest_week_passes(tmp_path: Path) -> None:
    rows = make_rows()
    assert verdicts(judge(tmp_path, rows, rows.until(WEEKS - 1))) == {}


@pytest.mark.parametrize(("damage", "expected"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damage_is_seen(tmp_path: Path, damage: Callable[[Rows], Rows], expected: dict[str, Verdict]) -> None:
    rows = make_rows()
    seen = verdicts(judge(tmp_path, damage(rows), rows.until(WEEKS - 1)))
    assert expected.items() <= seen.items()


def test_as_many_copies_as_were_approved_are_not_late(tmp_path: Path) -> None:
    rows = make_rows()
    copies = np.append(np.arange(len(rows.users)), [0, 0, 7])
    assert verdicts(judge(tmp_path, rows.take(copies), rows.take(copies).until(WEEKS - 1))) == {}
    more = judge(tmp_path / "more", rows.take(np.append(copies, [0, 3])), rows.take(copies).until(WEEKS - 1))
    assert "2 interactions before the newest approved one are new" in more["history_late"].message


def test_a_pair_that_comes_back_is_repeated_whether_in_this_window_or_before(tmp_path: Path) -> None:
    def interactions(name: str, pairs: list[tuple[str, str]]) -> Any:
        rows = Rows(*np.array(pairs).T, np.ones(len(pairs)), np.arange(len(pairs)))
        return read_interactions(write(tmp_path / name, rows), SOURCE)

    known = interactions("known", [("u1", "p1"), ("u2", "p2")])
    window = interactions("window", [("u1", "p1"), ("u1", "p2"), ("u1", "p2"), ("u2", "p1")])
    assert describe_window(window, known).repeated == 0.5


def test_lost_and_late_rows_are_counted_and_named(tmp_path: Path) -> None:
    rows = make_rows()
    approved = rows.until(WEEKS - 1)
    first = (str(rows.users[5]), str(rows.items[5]))
    is_first = np.arange(len(rows.users)) == 5
    changed = replace(rows, ratings=np.where(is_first, 9.0, rows.ratings))
    added = replace(rows, users=np.where(is_first, "u999", rows.users))

    findings = judge(tmp_path / "changed", changed, approved)
    late = judge(tmp_path / "added", added, approved)["history_late"]

    distinct = len(approved.users)
    assert findings["history_lost"].value == late.value == pytest.approx(1 / distinct)
    assert findings["history_late"].value == 0.0
    assert f"user {first[0]!r} item {first[1]!r}" in findings["history_lost"].message
    assert f"user 'u999' item {first[1]!r}" in late.message
    assert (findings["history_lost"].users, findings["history_lost"].unit) == (distinct, "approved interactions")


@pytest.mark.parametrize(
    ("titles", "gate", "verdict", "words"),
    [
        ({f"{n:04}": f"title {n}" for n in range(2, ITEMS)}, "items_missing", HOLD, "2 of 50 approved items (4 %)"),
        ({f"{n:04}": f"title {n}" for n in range(6, ITEMS)}, "items_missing", FAIL, "first: '0000', '0001', '0002'"),
        ({f"{n:04}": f"title {max(n, 3)}" for n in range(ITEMS)}, "items_renamed", HOLD, "'0000' was 'title 0', is"),
        ({f"{n:04}": f"title {n + 1}" for n in range(ITEMS)}, "items_renamed", FAIL, "50 of 50 approved items"),
        ({f"new-{n}": f"title {n}" for n in range(ITEMS)}, "items_renamed", HOLD, "no approved items to compare with"),
    ],
)
def test_items_that_vanish_or_change_their_title_are_seen(
    tmp_path: Path, titles: dict[str, str], gate: str, verdict: Verdict, words: str
) -> None:
    rows = make_rows()
    finding = judge(tmp_path, rows, rows.until(WEEKS - 1), titles=titles)[gate]
    assert finding.verdict is verdict
    assert words in finding.message


def test_a_configured_window_that_moves_is_not_a_loss(tmp_path: Path) -> None:
    rows = make_rows()
    first_day = START + dt.timedelta(weeks=4)
    later = rows.take(rows.times >= first_day.timestamp() * 1e6)
    approved = rows.until(WEEKS - 1)

    unaware = judge(tmp_path / "unaware", later, approved)
    aware = judge(tmp_path / "aware", later, approved, since=parse_day(f"{first_day:%Y-%m-%d}"))
    widened = judge(tmp_path / "widened", rows, later.until(WEEKS - 1), approved_since=first_day)

    assert unaware["history_lost"].verdict is Verdict.FAIL
    assert "source.parameters.since" in unaware["history_lost"].message
    assert aware["history_lost"].verdict is aware["history_late"].verdict is Verdict.PASS
    assert aware["history_lost"].users == len(later.until(WEEKS - 1).users)
    assert widened["history_late"].verdict is Verdict.PASS


@pytest.mark.parametrize("value", [None, "", "last year", 7, "2026-13-01"])
def test_what_is_not_a_date_is_not_a_window(value: object) -> None:
    assert parse_day(value) is None


def test_without_timestamps_lost_rows_are_still_seen(tmp_path: Path) -> None:
    rows = make_rows()
    extracts = Extracts(
        write(tmp_path / "today", drop_users(rows), has_times=False),
        write(tmp_path / "approved", rows.until(WEEKS - 1)),
        SOURCE,
    )
    history, newest = measure_history(extracts, windows=8)
    assert newest is None
    assert history.late is None
    found = {finding.gate: finding for finding in judge_history(history, HistoryThresholds(), why="")}
    assert (found["history_lost"].verdict, found["history_late"].verdict) == (Verdict.FAIL, Verdict.HOLD)
    assert "no column of timestamps" in found["history_late"].message


def test_without_a_champion_nothing_is_measured_and_everything_holds() -> None:
    findings = judge_history(None, HistoryThresholds(), why="this is the first release")
    findings += judge_newest(None, NewestThresholds(), why="this is the first release")
    assert {(f.verdict, f.value, f.message) for f in findings} == {
        (Verdict.HOLD, None, "Not measured: this is the first release.")
    }


def test_a_row_has_the_same_hash_in_every_extract(tmp_path: Path) -> None:
    rows = make_rows()
    whole = hash_rows(read_interactions(write(tmp_path / "whole", rows), SOURCE))
    order = np.random.default_rng(2).permutation(len(rows.users))[:100]
    part = hash_rows(read_interactions(write(tmp_path / "part", rows.take(order)), SOURCE))

    assert len(np.unique(whole)) == len(rows.users)
    assert (part == whole[order]).all()


@pytest.mark.parametrize(
    "changed",
    [{"users": "u999"}, {"items": "9999"}, {"ratings": 4.5}, {"times": 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_every_part_of_a_row_is_in_its_hash(tmp_path: Path, changed: dict[str, Any]) -> None:
    rows = make_rows().take(slice(1))
    before = hash_rows(read_interactions(write(tmp_path / "before", rows), SOURCE))
    [(name, value)] = changed.items()
    other = replace(rows, **{name: np.array([value])})
    assert hash_rows(read_interactions(write(tmp_path / "after", other), SOURCE)) != before


# The newest rows


WINDOW = WindowFacts(200, 0.05, "u1", 0.02, "p1", 0.01, 0.8, 0.5, 150, repeated=0.06)


def newest(**changes: Any) -> NewestFacts:
    return NewestFacts(replace(WINDOW, **changes), (WINDOW,) * 4, 0.0, 1.0, 5.0, 7.0)


@pytest.mark.parametrize(
    ("changes", "gate", "verdict"),
    [
        ({"rows": 67}, "newest_rows", Verdict.PASS),
        ({"rows": 66}, "newest_rows", Verdict.HOLD),
        ({"rows": 600}, "newest_rows", Verdict.PASS),
        ({"rows": 601}, "newest_rows", Verdict.HOLD),
        ({"user_share": 0.2}, "newest_user", Verdict.PASS),
        ({"user_share": 0.21}, "newest_user", Verdict.HOLD),
        ({"item_share": 0.11}, "newest_item", Verdict.HOLD),
        ({"unknown_items": 0.21}, "newest_unknown_items", Verdict.HOLD),
        ({"repeated": 0.12}, "newest_repeated", Verdict.PASS),
        ({"repeated": 0.13}, "newest_repeated", Verdict.HOLD),
        ({"popularity": 0.71}, "newest_popularity", Verdict.PASS),
        ({"popularity": 0.69}, "newest_popularity", Verdict.HOLD),
        ({"popularity": None}, "newest_popularity", Verdict.HOLD),
        ({"correlation": None}, "newest_correlation", Verdict.HOLD),
        ({"pairs": 99}, "newest_correlation", Verdict.HOLD),
        ({"correlation": 0.1}, "newest_correlation", Verdict.HOLD),
        ({"correlation": -0.5}, "newest_correlation", Verdict.FAIL),
        ({"correlation": 1.0}, "newest_correlation", Verdict.PASS),
    ],
)
def test_the_newest_rows_are_judged_by_earlier_windows(changes: dict[str, Any], gate: str, verdict: Verdict) -> None:
    found = {finding.gate: finding for finding in judge_newest(newest(**changes), NewestThresholds(), why="")}
    assert list(found) == list(GATES)
    assert found[gate].verdict is verdict
    assert {f.verdict for name, f in found.items() if name != gate} == {Verdict.PASS}


def test_too_few_earlier_windows_hold() -> None:
    facts = replace(newest(), earlier=(WINDOW,) * 3)
    findings = judge_newest(facts, NewestThresholds(), why="")
    assert {f.verdict for f in findings} == {Verdict.HOLD}
    assert "3 earlier windows of 7 days" in findings[0].message


@pytest.mark.parametrize(("correlation", "pairs", "low", "high"), [(0.5, 103, 0.339, 0.632), (0.0, 28, -0.373, 0.373)])
def test_the_interval_of_a_correlation_is_fishers(correlation: float, pairs: int, low: float, high: float) -> None:
    assert correlation_interval(correlation, pairs) == pytest.approx((low, high), abs=1e-3)
