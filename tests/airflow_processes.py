"""The processes of a running Airflow, found by their titles, and its scheduler suspended."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from demo.processes import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.homes import Home


class AirflowProcesses:
    """The processes of the Airflow in a home.

    Args:
        home: of the demo or of a test.
        task_instance_id: returns the id in the title of a task's process, for a run and a task.
    """

    def __init__(self, home: Home, task_instance_id: Callable[[str, str], str]) -> None:
        self._home = home
        self._task_instance_id = task_instance_id

    def all(self) -> list[psutil.Process]:
        """Return every process that Airflow has started, also those of its tasks."""
        return Service("airflow", self._home.path).processes()

    def ads_operator(self) -> psutil.Process | None:
        """Return the process that trains."""
        return self._titled("run_operator.py")

    def task(self, run_id: str, task: str) -> psutil.Process | None:
        """Return the process that runs a task's code now, not its supervisor."""
        return self._titled(f"airflow worker -- {self._task_instance_id(run_id, task)}")

    @contextmanager
    def suspended_scheduler(self) -> Iterator[None]:
        """Suspend Airflow's scheduler while the block lasts, as if the machine were very busy.

        It is suspended while it sleeps between two rounds, so that it continues with a new round and holds no lock
        that the rest of Airflow needs. If the system does not show that it sleeps, only the lock is checked.
        """
        scheduler = self._scheduler()
        wait_channel = Path(f"/proc/{scheduler.pid}/wchan")
        for _ in range(10_000):
            if "nanosleep" in wait_channel.read_text(encoding="ascii"):
                break
            time.sleep(0.001)
        scheduler.suspend()
        while not self._can_write():
            scheduler.resume()
            time.sleep(0.05)
            scheduler.suspend()
        try:
            yield
        finally:
            scheduler.resume()

    def _scheduler(self) -> psutil.Process:
        schedulers = [process for process in self.all() if "/airflow scheduler" in title_of(process)]
        return min(schedulers, key=lambda process: process.create_time())  # a new fork has the same title

    def _titled(self, part: str) -> psutil.Process | None:
        return next((process for process in self.all() if part in title_of(process)), None)

    def _can_write(self) -> bool:
        """Return whether no suspended writer locks Airflow's database."""
        with closing(sqlite3.connect(self._home.airflow / "airflow.db", timeout=1)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            database.rollback()
            return True


def is_running(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title_of(process: psutil.Process) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
