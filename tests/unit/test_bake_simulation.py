"""Simulated bakes, without waiting: a healthy version stays, a degraded one goes back, missing data hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from preflight.bakes import (
    BOUNDS,
    HEALTHY_WINDOWS,
    LEAST_ROLLED_BACK,
    RUNS,
    SIZES,
    bake_degraded,
    bake_healthy,
    bake_missing,
    describe,
    find_missed,
    run,
)
from simulation.traffic import DEGRADATIONS

PAGE = (Path(__file__).parents[2] / "docs/watching.md").read_text(encoding="utf-8")
SEED = 7_000  # neither of those that chose the bounds nor of those that report


def test_healthy_versions_are_not_rolled_back() -> None:
    row = bake_healthy(BOUNDS.requests, 300, np.random.default_rng(SEED))
    assert (row.rolled_back, row.held) == (0, 0)
    assert row.windows >= 300


@pytest.mark.parametrize("what", DEGRADATIONS)
def test_a_degraded_version_is_rolled_back_within_five_windows(what) -> None:
    row = bake_degraded(what, BOUNDS.requests, 40, np.random.default_rng(SEED))
    assert row.rolled_back >= 0.95 * row.runs - 2  # of so few, two may be missed by chance


def test_missing_data_always_hold() -> None:
    row = bake_missing(BOUNDS.requests, 40, np.random.default_rng(SEED))
    assert (row.rolled_back, row.held) == (0, 40)


def test_a_missed_goal_is_named() -> None:
    rows = run(SEED, windows=6, runs=2, sizes=(200, BOUNDS.requests))
    bad = [type(row)(row.what, row.requests, row.runs, row.windows, 1, 0) for row in rows]
    assert find_missed(rows) == []
    missed = find_missed(bad)
    assert any(line.startswith("healthy, 200") for line in missed)
    assert any(line.startswith("errors from 0.1 % to 2 %, 1000") for line in missed)
    assert not any(line.startswith("errors from 0.1 % to 2 %, 200") for line in missed)
    assert any(line.endswith("held") for line in missed)


def test_the_page_has_the_table_that_the_command_prints() -> None:
    header = describe(run(SEED, windows=1, runs=1)).splitlines()[0]
    table = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()
    kinds = [line.split(" | ")[0].removeprefix("| ") for line in table[2:]]
    assert kinds == ["healthy", *DEGRADATIONS, "too few requests in three windows of five"]
    for line in table[2:]:
        cells = [cell.strip() for cell in line.strip("| ").split("|")][1:]
        assert len(cells) == len(SIZES)
        if line.startswith("| healthy"):
            assert all(re.fullmatch(r"0 in 10,0\d\d windows", cell) for cell in cells)
        elif line.startswith("| too few"):
            assert set(cells) == {f"0 of {RUNS:,}, {RUNS:,} held"}
        else:
            shares = dict(zip(SIZES, (float(cell.rstrip("%")) / 100 for cell in cells), strict=True))
            assert all(share >= LEAST_ROLLED_BACK for size, share in shares.items() if size >= BOUNDS.requests)


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_all_goals_are_reached_with_as_many_bakes_as_the_page_says() -> None:
    rows = run(SEED, windows=HEALTHY_WINDOWS, runs=RUNS, sizes=(BOUNDS.requests,))
    assert find_missed(rows) == []
