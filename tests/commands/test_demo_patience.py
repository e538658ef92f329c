"""How long the demo waits: while there is progress, or a busy machine prevents it."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from services import wait_for

from demo.patience import LONGEST, Patience
from demo.processes import Service
from demo.scheduler_log import SchedulerLog

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that is set by hand, with the seconds of waiting for a processor."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.delayed = 7.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("demo.patience.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_patience_is_over_when_nothing_changes(clock: Clock) -> None:
    patience = Patience(60)

    clock.now += 59
    assert not patience.is_over()
    clock.now += 1
    assert patience.is_over()


def test_each_sign_of_progress_renews_it(clock: Clock) -> None:
    patience = Patience(60)

    for number in range(5):
        clock.now += 50
        assert not patience.is_over(f"task {number} runs")
    clock.now += 60
    assert patience.is_over("task 4 runs")


def test_seconds_of_waiting_for_a_processor_do_not_count(clock: Clock) -> None:
    patience = Patience(60, lambda: clock.delayed)

    for _ in range(3):
        clock.now += 60
        clock.delayed += 45
        assert not patience.is_over()
    clock.now += 15
    assert patience.is_over()


def test_several_waiting_processes_do_not_turn_the_clock_back(clock: Clock) -> None:
    patience = Patience(60, lambda: clock.delayed)

    clock.now += 60
    clock.delayed += 300
    assert not patience.is_over()
    clock.now += 60
    assert patience.is_over()


def test_endless_changes_do_not_extend_the_patience_for_ever(clock: Clock) -> None:
    patience = Patience(60)

    for number in range(2 * LONGEST):
        clock.now += 30
        assert not patience.is_over(number)
    clock.now += 1
    assert patience.is_over("again")


def test_the_wait_for_a_person_does_not_count(clock: Clock) -> None:
    patience = Patience(60)

    for _ in range(3 * LONGEST):
        clock.now += 50
        patience.renew()
    assert not patience.is_over()


PARKED = (
    "scheduler  | 2026-11-28T20:38:55.250322Z [info     ] TaskInstance Finished: dag_id=recommender_retrain, "
    "task_id=request_approval, run_id=manual__2026-11-28T20:38:00+00:00, map_index=-1, ti_id=01a223e1, "
    "run_start_date=2026-11-28 20:38:53.540539+00:00, run_end_date=None, run_duration=None, state=awaiting_input, "
    "executor=LocalExecutor(parallelism=4), executor_state=success, try_number=2, max_tries=2, pool=default_pool\n"
)


def test_the_schedulers_log_tells_which_question_can_be_answered(tmp_path: Path) -> None:
    path = tmp_path / "airflow.log"
    path.write_text(PARKED.replace("state=awaiting_input", "state=success"), encoding="utf-8")
    log = SchedulerLog(path)
    question = ("recommender_retrain", "manual__2026-11-28T20:38:00+00:00", "request_approval")

    assert not log.has_parked(*question, 2)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(PARKED[:250])
        stream.flush()
        assert not log.has_parked(*question, 2)
        stream.write(PARKED[250:])
    assert log.has_parked(*question, 2)
    assert not log.has_parked(*question, 1)
    assert not log.has_parked("recommender_rollback", *question[1:], 2)


# Two of them share one processor on any machine.
BUSY = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
end = time.monotonic() + 60
while time.monotonic() < end: pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a process has waited for a processor")
def test_a_service_that_shares_a_processor_is_delayed(tmp_path: Path) -> None:
    service = Service("thing", tmp_path)
    service.start([sys.executable, "-S", "-c", BUSY], env=dict(os.environ), cwd=tmp_path)
    other = subprocess.Popen([sys.executable, "-S", "-c", BUSY])
    try:
        wait_for("the service is delayed", lambda: service.delayed_seconds() > 0.1)
    finally:
        other.kill()
        other.wait()
        service.stop()
