"""The quick part of ``make preflight``: the gates see planted damage, and let honest weeks pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from preflight.shop_plans import QUICK, plan_shops
from preflight.suite import check_goals, run_shops

if TYPE_CHECKING:
    from preflight.tallies import Tally


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> list[Tally]:
    plans = plan_shops(None, QUICK)
    return run_shops(plans, tmp_path_factory.mktemp("preflight"), print)


@pytest.mark.more
def test_the_gates_see_planted_damage_and_let_honest_weeks_pass(tallies: list[Tally]) -> None:
    assert check_goals(tallies) == []


@pytest.mark.more
def test_everything_that_preflight_knows_was_tried(tallies: list[Tally]) -> None:
    [shop_plan] = plan_shops(None, QUICK)
    assert [tally.trials for tally in tallies] == [
        QUICK.data_weeks if experiment.kind == "honest weeks" else experiment.trials
        for experiment in shop_plan.experiments
    ]
