"""A demo that is interrupted or killed: `make demo` and everything that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from airflow_processes import is_running
from services import wait_for

from demo.homes import PROJECT, Home
from demo.processes import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.more


class Demo:
    """Calls of ``python -m demo up`` in one folder.

    Attributes:
        log: the file of their output.
    """

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.log = folder.with_suffix(".log")
        self._calls: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until the emulator answers and Airflow has begun to start."""
        before = self.services()
        with self.log.open("ab") as log:
            call = subprocess.Popen(
                [sys.executable, "-m", "demo", "up"],
                cwd=PROJECT,
                env={**os.environ, "DEMO_HOME": str(self.home.path)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._calls.append(call)

        def begun() -> bool:
            assert call.poll() is None, self.output()
            new = [process for process in self.services() if process not in before]
            return len(new) > 3 and (self.home.path / "run" / "oci-ready.json").exists()

        wait_for("Airflow has begun to start", begun, every=0.5)
        return call

    def services(self) -> list[psutil.Process]:
        """Return the processes of its emulator and of its Airflow."""
        return [p for name in ("emulator", "airflow") for p in Service(name, self.home.path).processes()]

    def left(self) -> list[psutil.Process]:
        """Return all living processes that refer to its folder."""
        calls = [call.pid for call in self._calls]
        named = [p for p in psutil.process_iter() if self._names(p) and p.pid not in calls and is_running(p)]
        return [*self.services(), *named]

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def end(self) -> None:
        for call in self._calls:
            call.kill()
            call.wait()
        for name in ("airflow", "emulator"):
            Service(name, self.home.path).stop()

    def _names(self, process: psutil.Process) -> bool:
        try:
            return str(self.home.path) in " ".join([*process.cmdline(), *process.environ().values()])
        except psutil.Error:
            return False


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo")
    yield demo
    demo.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_everything_that_it_has_started(demo: Demo, number: signal.Signals) -> None:
    call = demo.start()

    call.send_signal(number)

    assert call.wait() == 130
    assert "stopping Airflow and the emulator" in demo.output()
    assert demo.left() == []


def test_the_next_demo_cleans_up_after_a_killed_one(demo: Demo) -> None:
    call = demo.start()
    call.kill()
    call.wait()
    orphans = demo.services()
    assert orphans, "nothing was left behind: this test shows nothing"

    again = demo.start()

    assert "cleaning up what an earlier demo left running" in demo.output()
    assert not any(is_running(process) for process in orphans)
    again.send_signal(signal.SIGINT)
    assert again.wait() == 130
    assert demo.left() == []
