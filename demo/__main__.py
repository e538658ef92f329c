"""``python -m demo up | stop | clean | predict [USER] | run-tool COMMAND``: what the Makefile calls for the demo."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

from demo.console import Console
from demo.errors import DemoError
from demo.homes import PROJECT, Home
from demo.options import read_options
from demo.predictions import predict
from demo.services import Services
from demo.sessions import Session, stop
from recdeploy_ops.domain.errors import RecdeployError

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
NEED_OCI = {"verify", "rollback"}  # commands of recdeploy_ops


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=["up", "stop", "clean", "predict", "run-tool"])
    parser.add_argument("tool", nargs=argparse.REMAINDER, help="a command and its arguments, or a user's id")
    given = parser.parse_args(arguments)
    try:
        options = read_options(os.environ)
        home = Home(options.home)
        if given.command == "run-tool":
            run_tool(home, Services(home, Console()), given.tool)
        elif given.command == "up":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _interrupt)
            return Session(options, Console()).run()
        elif given.command == "predict":
            Console().say(predict(home, Services(home, Console()), next(iter(given.tool), None)))
        elif given.command == "clean":
            _clean(home)
        else:
            stop(home, Console())
    except (DemoError, RecdeployError) as err:
        sys.stderr.write(f"error: {err}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def run_tool(home: Home, services: Services, command: list[str]) -> None:
    """Replace this process with a tool that gets the demo's settings and connections, if a demo exists.

    Raises:
        DemoError: the tool needs the demo's OCI, which is stopped.
    """
    environment = dict(os.environ)
    if home.environment.exists() and "RECDEPLOY_SETTINGS" not in os.environ:
        if not NEED_OCI.isdisjoint(command) and services.emulator_ready() is None:
            raise DemoError(f"The demo in {home.path} is stopped, and this needs its OCI: make demo KEEP=1 starts it.")
        environment.update(json.loads(home.environment.read_text(encoding="utf-8")))
    environment["PYTHONPATH"] = str(PROJECT / "plugins")
    os.execvpe(command[0], command, environment)  # noqa: S606 - the Makefile names the command


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _clean(home: Home) -> None:
    if not home.path.exists():
        return
    if not home.ports.exists():
        raise DemoError(f"{home.path} is not a demo's folder (it has no {home.ports.name}). Remove it yourself.")
    stop(home, Console())
    shutil.rmtree(home.path)


if __name__ == "__main__":
    sys.exit(main())
