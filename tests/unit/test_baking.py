"""Windows of a bake are judged by intervals, and three of the last five decide."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from recdeploy_ops.domain.baking import (
    LEAST_REQUESTS,
    BakeMove,
    Baseline,
    Health,
    Measurements,
    Percentile,
    Rate,
    count_windows,
    decide,
    judge_window,
)
from recdeploy_ops.settings import WatchSettings

H, D, M = Health.HEALTHY, Health.DEGRADED, Health.MISSING
BOUNDS = WatchSettings()
NOTHING = Rate(0, 0, None, None)
FEW = Rate(1, 1000, 0.0002, 0.006)
NONE_WRONG = Rate(0, 800, 0.0, 0.005)
LATENCY = Percentile(0.25, 0.24, 0.26)
BASELINE = Baseline(3000, Rate(3, 3000, 0.0003, 0.003), LATENCY)
FOUND = Measurements(1000, FEW, NONE_WRONG, NONE_WRONG, NONE_WRONG, LATENCY)


def judge(baseline=BASELINE, **changes):
    return judge_window(replace(FOUND, **changes), baseline, BOUNDS)


def test_a_window_that_answers_as_before_is_healthy() -> None:
    assert judge() == (H, ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"errors": Rate(20, 1000, 0.013, 0.031)}, "20 of 1000 requests ended in a server error"),
        ({"wrong_release": Rate(9, 950, 0.005, 0.018)}, "another version or digest"),
        ({"wrong_lists": Rate(40, 800, 0.037, 0.067)}, "another list than the artifact's"),
        ({"fallbacks": Rate(40, 800, 0.037, 0.067)}, "answered as new users"),
        ({"latency": Percentile(0.30, 0.28, 0.32)}, "the 95th percentile is 300 ms (at least 280 ms)"),
    ],
)
def test_a_fault_beyond_its_bound_for_certain_is_degraded(changes, reason) -> None:
    health, reasons = judge(**changes)
    assert health is D
    assert [reason in text for text in reasons] == [True]


@pytest.mark.parametrize(
    "changes",
    [
        {"errors": Rate(8, 1000, 0.004, 0.016)},
        {"wrong_lists": Rate(1, 800, 0.0002, 0.007)},
        {"latency": Percentile(0.30, 0.259, 0.33)},  # not certain
        {"latency": Percentile(0.27, 0.265, 0.28)},  # certain, and too little to matter
    ],
    ids=["errors", "lists", "uncertain latency", "little latency"],
)
def test_what_may_be_chance_or_is_small_is_healthy(changes) -> None:
    assert judge(**changes).health is H


def test_latency_must_exceed_both_of_its_bounds() -> None:
    quick = Baseline(3000, FEW, Percentile(0.010, 0.009, 0.011))
    assert judge(quick, latency=Percentile(0.020, 0.018, 0.022)).health is H, "twice as slow, but by 10 ms"
    assert judge(quick, latency=Percentile(0.040, 0.038, 0.042)).health is D


def test_more_errors_are_tolerated_where_the_previous_champion_had_more() -> None:
    errors = Rate(40, 1000, 0.03, 0.054)
    assert judge(errors=errors).health is D
    assert judge(replace(BASELINE, errors=Rate(100, 3000, 0.028, 0.04)), errors=errors).health is H


def test_a_poorly_measured_champion_excuses_nothing() -> None:
    thin = Baseline(20, Rate(1, 20, 0.009, 0.24), LATENCY)
    assert judge(thin, errors=Rate(40, 1000, 0.03, 0.054)).health is D


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"requests": LEAST_REQUESTS - 1}, "199 requests were seen, 200 are needed"),
        ({"wrong_lists": NOTHING, "fallbacks": NOTHING}, "no known user was answered"),
        ({"latency": Percentile(None, None, None)}, "too few answers to know the 95th percentile"),
        ({"latency": Percentile(0.2, None, None)}, "too few answers to know the 95th percentile"),
        ({"baseline": Baseline(10, FEW, LATENCY)}, "the previous champion was not measured before the switch"),
        (
            {"baseline": Baseline(3000, FEW, Percentile(0.2, 0.1, None))},
            "the previous champion was not measured before the switch",
        ),
        (
            {"baseline": Baseline(3000, FEW, Percentile(None, None, None))},
            "the previous champion was not measured before the switch",
        ),
    ],
)
def test_what_was_not_measured_is_missing(changes, reason) -> None:
    assert judge(**changes) == (M, (reason,))


def test_faults_count_also_where_something_else_was_not_measured() -> None:
    down = Rate(1000, 1000, 0.996, 1.0)
    unanswered = {"wrong_release": NOTHING, "wrong_lists": NOTHING, "fallbacks": NOTHING}
    assert judge(errors=down, latency=Percentile(None, None, None), **unanswered).health is D


def test_too_few_requests_are_missing_whatever_they_got() -> None:
    assert judge(requests=100, errors=Rate(100, 100, 0.96, 1.0)).health is M


def test_a_first_production_is_not_compared() -> None:
    assert judge(None).health is H
    assert judge(None, latency=Percentile(None, None, None)).health is H
    assert judge(None, errors=Rate(20, 1000, 0.013, 0.031)).health is D


@pytest.mark.parametrize(("minutes", "length", "windows"), [(30, 5, 6), (1, 5, 1), (12, 5, 3), (0.5, 60, 1)])
def test_a_bake_has_at_least_one_window(minutes, length, windows) -> None:
    assert count_windows(minutes, length) == windows


@pytest.mark.parametrize(
    ("windows", "move"),
    [
        ([H], BakeMove.CONTINUE),
        ([H] * 5, BakeMove.CONTINUE),
        ([H] * 6, BakeMove.PASS),
        ([D, H, H, H, H, H], BakeMove.PASS),
        ([D, D], BakeMove.CONTINUE),
        ([D, D, D], BakeMove.ROLL_BACK),
        ([D, H, D, H, D], BakeMove.ROLL_BACK),
        ([D, M, D, M, D], BakeMove.ROLL_BACK),
        ([D, D, H, H, H, D], BakeMove.CONTINUE),  # two of the last five at most; the newest is not healthy
        ([H, H, D, H, D, H], BakeMove.CONTINUE),
        ([H, H, D, H, D, H, H, H], BakeMove.PASS),
        ([M, M], BakeMove.CONTINUE),
        ([M, M, M], BakeMove.HOLD),
        ([M, H, M, H, M], BakeMove.HOLD),
        ([H, H, H, H, M, H], BakeMove.CONTINUE),  # a missing window counts for nothing
        ([H, H, H, H, M, H, H], BakeMove.PASS),
        ([H, D, H, H, D] * 2 + [H, D], BakeMove.HOLD),  # neither well nor degraded for twice the time
    ],
)
def test_three_of_the_last_five_windows_decide(windows, move) -> None:
    assert decide(windows, 6, can_roll_back=True).move is move


def test_a_short_bake_that_begins_badly_goes_on_for_five_windows() -> None:
    assert decide([H], 1, can_roll_back=True).move is BakeMove.PASS
    assert decide([D], 1, can_roll_back=True).move is BakeMove.CONTINUE
    assert decide([D, M, H, M, D], 1, can_roll_back=True).move is BakeMove.HOLD


def test_without_a_previous_champion_a_degraded_version_is_held() -> None:
    step = decide([D, D, D], 6, can_roll_back=False)
    assert step.move is BakeMove.HOLD
    assert "no previous champion to go back to" in step.reason


def test_missing_windows_never_make_a_bake_pass() -> None:
    for windows in itertools.product((H, D, M), repeat=6):
        if windows.count(M) and decide(windows, 6, can_roll_back=True).move is BakeMove.PASS:
            pytest.fail(f"{windows} passed")
