"""What preflight itself computes: counts, intervals, goals, and lists turned round."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from preflight import __main__ as preflight
from preflight.experiments import reverse
from preflight.shop_plans import WRONG_SETTINGS
from preflight.suite import check_goals
from preflight.tallies import Tally, describe_damages, describe_honest
from preflight.trials import draw
from preflight.weeks import Models, last_weeks
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict
from recdeploy_ops.domain.recipes import RECIPES
from recdeploy_ops.settings import DEFAULT_PATH, load_settings
from simulation.shops import WEEK

if TYPE_CHECKING:
    from pathlib import Path

    from preflight.weeks import Pair
    from simulation.shops import Shop


def tally(what: str = "a shop", *, is_damage: bool = False, is_missed: bool = False, **counts: int) -> Tally:
    made = Tally(what, is_damage=is_damage, is_missed=is_missed)
    for verdict, count in counts.items():
        for _ in range(count):
            made.add([Finding("one", Verdict.PASS, 0, "", ""), Finding("two", Verdict(verdict), 0, "", "")])
    return made


@pytest.mark.parametrize(
    ("made", "missed"),
    [
        (tally(PASS=99, HOLD=1), 0),
        (tally(PASS=88, HOLD=12), 1),
        (tally("MovieLens-100k: lists", PASS=94, HOLD=6), 1),
        (tally(PASS=97, FAIL=3), 1),
        (tally(is_damage=True, HOLD=96, PASS=4), 0),
        (tally(is_damage=True, HOLD=94, PASS=6), 1),
        (tally(is_damage=True, is_missed=True, PASS=100), 0),
    ],
)
def test_a_goal_is_missed_when_too_much_is_stopped_or_passed(made: Tally, missed: int) -> None:
    assert len(check_goals([made])) == missed


def test_damage_that_must_fail_is_not_caught_by_a_hold() -> None:
    made = tally(is_damage=True, HOLD=10)
    assert made.caught == 1
    made.must_fail = True
    assert made.caught == 0


def test_intervals_are_exact() -> None:
    low, high = tally(PASS=100).interval(Verdict.FAIL)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 100))  # the rule for no event in n trials


def test_tables_name_the_gates_that_did_not_pass() -> None:
    assert "| a shop | 4 | 25 % [0.6, 80.6] | 0 % [0.0, 60.2] | two 25% |" in describe_honest([tally(PASS=3, FAIL=1)])
    row = describe_damages([tally(is_damage=True, is_missed=True, PASS=1)]).splitlines()[-1]
    assert row.startswith("| a shop (may be missed) | 1 | 0 %")
    assert row.endswith("| none |")


@pytest.mark.parametrize("models", [1, 2, 3, 10])
def test_a_trial_draws_a_candidate_and_two_twins_of_the_models_that_there_are(models: int) -> None:
    one = np.zeros((1, 1), np.int32)
    made = Models([one] * models, [{}] * models, [one] * models, [], [])
    pair = SimpleNamespace(champion=made, candidate=made)
    drawn = draw(cast("Pair", pair), np.random.default_rng(1), 5)
    for chosen in (drawn.candidate, drawn.champion):
        assert len(chosen) == 3
        assert len(set(chosen)) == min(3, models)
    assert [len(side) for side in drawn.backtests] == [min(5, models)] * 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_has_wrong_settings_that_its_models_know(recipe: str) -> None:
    settings = load_settings(DEFAULT_PATH)
    known = settings.model_of(recipe)
    assert [name for changes in WRONG_SETTINGS[recipe].values() for name in changes if name not in known] == []


def test_reversed_lists_begin_with_the_last_item_that_there_is() -> None:
    whole = np.array([[3, 1, 2], [0, 4, -1], [-1, -1, -1]], np.int32)
    assert reverse(whole, 2).tolist() == [[2, 1], [4, 0], [-1, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "0"], "--pairs 0: at least one pair is needed"),
        (["--only", "honest weeks,typing"], "typing: no such kind of experiments, only honest weeks, "),
        (["--data", "{folder}"], "DATA={folder} with 10 pairs cannot be used: "),
    ],
)
def test_an_argument_that_cannot_be_meant_is_named(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["preflight", *(text.format(folder=tmp_path) for text in arguments)])
    with pytest.raises(SystemExit, match="2"):
        preflight.main()
    assert message.format(folder=tmp_path) in capsys.readouterr().err


def test_more_weeks_than_a_shop_has_lived_are_refused() -> None:
    shop = cast("Shop", SimpleNamespace(times=np.array([2 * WEEK, 5 * WEEK]), newest=5 * WEEK))
    assert last_weeks(shop, 2, skipped=1) == [2 * WEEK, 3 * WEEK, 4 * WEEK]
    with pytest.raises(ValueError, match="span 3 weeks, and 4 are needed"):
        last_weeks(shop, 3, skipped=1)
