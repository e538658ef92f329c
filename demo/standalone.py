"""``airflow standalone`` that listens on 127.0.0.1 only.

In Airflow 3.3.2 the scheduler and the triggerer each start a server for task logs on every address of the
machine, on two fixed ports, and ``standalone`` has no option against it. The page reads the logs from the
disk here, so those servers are left out.
"""

from __future__ import annotations

from typing import Any

from airflow.cli.commands import standalone_command

WITH_LOG_SERVER = frozenset({"scheduler", "triggerer"})


class SubCommand(standalone_command.SubCommand):
    """One of the programs that ``airflow standalone`` starts."""

    def __init__(self, parent: Any, name: str, command: list[str], env: dict[str, str]) -> None:
        options = ["--skip-serve-logs"] if name in WITH_LOG_SERVER else []
        super().__init__(parent, name=name, command=[*command, *options], env=env)


if __name__ == "__main__":
    standalone_command.SubCommand = SubCommand  # type: ignore[misc]  # it offers no other way in
    standalone_command.StandaloneCommand().run()
