"""``airflow standalone`` that listens on 127.0.0.1 only, and ends when one of its programs ends.

In Airflow 3.3.2 the scheduler and the triggerer each start a server for task logs on every address of the
machine, on two fixed ports, and ``standalone`` has no option against it. Here the web page reads the logs from the
disk, so those servers are left out. ``standalone`` also does not notice the end of a program: runs would wait for ever.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from airflow.cli.commands import standalone_command

WITH_LOG_SERVER = frozenset({"scheduler", "triggerer"})


class SubCommand(standalone_command.SubCommand):
    """One of the programs that ``airflow standalone`` starts."""

    def __init__(self, parent: Any, name: str, command: list[str], env: dict[str, str]) -> None:
        options = ["--skip-serve-logs"] if name in WITH_LOG_SERVER else []
        super().__init__(parent, name=name, command=[*command, *options], env=env)
        self.is_asked_to_end = False

    def run(self) -> None:
        """Run the program; if it ends by itself, end the others as Ctrl-C does."""
        super().run()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        if not self.is_asked_to_end:
            self.parent.print_output("standalone", f"The {self.name} has ended.")
            os.kill(os.getpid(), signal.SIGINT)

    def stop(self) -> None:
        """Terminate the program."""
        self.is_asked_to_end = True
        super().stop()  # type: ignore[no-untyped-call] # Airflow does not annotate it


if __name__ == "__main__":
    standalone_command.SubCommand = SubCommand  # type: ignore[misc] # the command creates that class by its name
    standalone_command.StandaloneCommand().run()
