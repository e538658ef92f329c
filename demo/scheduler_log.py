"""The log of Airflow's scheduler."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Airflow 3.3.2 writes this once it has compared the task's state with how its process ended.
PARKED = re.compile(
    rb"TaskInstance Finished: dag_id=(\S+), task_id=(\S+), run_id=(.+?), map_index=.*"
    rb" state=awaiting_input, .* try_number=(\d+),"
)


class SchedulerLog:
    """The log of Airflow, read as it grows.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._parked: set[tuple[str, str, str, int]] = set()

    def has_parked(self, dag_id: str, run_id: str, task: str, attempt: int) -> bool:
        """Say whether the scheduler knows that a try's process has ended and waits for an answer.

        Until then Airflow 3.3.2 loses an answer: it mistakes the end of that process for the end of the one that
        resumes with the answer, and fails the task, which then asks again.
        """
        self._read_on()
        return (dag_id, task, run_id, attempt) in self._parked

    def _read_on(self) -> None:
        with self._path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if match := PARKED.search(line):
                    dag_id, task, run_id, attempt = (part.decode() for part in match.groups())
                    self._parked.add((dag_id, task, run_id, int(attempt)))
