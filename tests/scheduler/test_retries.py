"""Airflow's own retry recovers every task that is crashed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.releases import Interrupted
    from scheduler.rollbacks import RolledBack

pytestmark = pytest.mark.more

CRASHED = {"run_ads_operator", "promote", "housekeeping", "roll_back"}


def test_airflow_tries_every_crashed_task_again_and_it_succeeds(
    interrupted_release: Interrupted, rolled_back: RolledBack, tell: Callable[[str], None]
) -> None:
    outcomes = [interrupted_release.seen.outcome, rolled_back.housekeeping.outcome, rolled_back.seen.outcome]
    retried = [task for outcome in outcomes for task in outcome.tasks.values() if task.attempt > 1]
    names = ", ".join(task.name for task in retried)
    tell(f"crashes recovered by Airflow's own retry: {len(retried)} ({names})")

    assert {task.name for task in retried} >= CRASHED
    assert {task.state for task in retried} == {"success"}
