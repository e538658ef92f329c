"""Groups of processes that the demo starts, recognises again after a crash, and stops completely.

Each service has a session of its own, so that a Ctrl-C at the terminal reaches only the demo, which then
stops them in order. Its processes are recognised by that session, by a variable in their environment, and by
descent: a killed leader leaves children behind that are still found.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # its stubs are not in the lock

from demo.errors import DemoError
from demo.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "RECDEPLOY_DEMO_SERVICE"
GRACE_SECONDS = 15.0
KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Service:
    """A program that runs in the background.

    Attributes:
        name: short name; also of its files.
        home: the demo's folder, which tells the services of several demos apart.
    """

    name: str
    home: Path

    @property
    def record(self) -> Path:
        """Return the file that names its leader."""
        return self.home / "run" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Return the file of its output."""
        return self.home / "logs" / f"{self.name}.log"

    def start(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Start it in a session of its own and record its leader."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.record.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                env={**env, MARK: self._mark, "SPT_NOENV": "1"},  # keeps setproctitle from overwriting the mark
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.returncode = 0  # it outlives this object on purpose: avoids the ResourceWarning
        self.record.write_text(json.dumps({"pid": process.pid}), encoding="utf-8")

    def is_running(self) -> bool:
        """Say whether its leader is alive."""
        process = _living(self._leader())
        return process is not None and _is_marked(process, self._mark)

    def processes(self) -> list[psutil.Process]:
        """Return all of its living processes, of this run or of a killed one."""
        session = self._session()
        roots = [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and (_is_marked(process, self._mark) or _is_in(process, session))
        ]
        family = {child for process in roots for child in _descendants(process)} | set(roots)
        return [process for process in family if _lives(process)]

    def delayed_seconds(self) -> float:
        """Return how long its processes have waited for a processor; 0 if the system does not tell."""
        return sum(_delayed_seconds(process.pid) for process in self.processes())

    def stop(self) -> None:
        """Terminate it, then kill what is left of it.

        Raises:
            DemoError: a process cannot be ended.
        """
        family = self.processes()
        session = self._session()
        for process in family:
            # Only its own session gets the signal: the program ends the processes that it started itself.
            if session is None or _is_in(process, session):
                _send(process, signal.SIGTERM)
        _await_end(family, Patience(GRACE_SECONDS, self.delayed_seconds))
        patience = Patience(KILL_SECONDS, self.delayed_seconds)
        while left := self.processes():
            for process in left:
                _send(process, signal.SIGKILL)
            _await_end(left, Patience(1))
            if patience.is_over():
                pids = ", ".join(str(process.pid) for process in left)
                raise DemoError(f"Processes of {self.name} do not end: {pids}. Run kill -9 {pids}")
        self.record.unlink(missing_ok=True)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log that are not about requests."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join([line for line in text.splitlines() if "[http.access]" not in line][-lines:])

    @property
    def _mark(self) -> str:
        return f"{self.name}@{self.home}"

    def _leader(self) -> int | None:
        """Return its leader's process id; the process may have ended, and the id may be another's now."""
        try:
            return int(json.loads(self.record.read_text(encoding="utf-8"))["pid"])
        except (OSError, ValueError, KeyError):
            return None

    def _session(self) -> int | None:
        """Return the session's id, which outlives its leader; None if another process has that id now."""
        leader = self._leader()
        # The mark tells a reused id. The time of a process's start does not: it moves when the clock is set.
        process = _living(leader)
        return leader if process is None or _is_marked(process, self._mark) else None


def _living(pid: int | None) -> psutil.Process | None:
    """Return the process with this id; None if there is none, or only a zombie."""
    try:
        process = psutil.Process(pid) if pid is not None else None
    except psutil.NoSuchProcess:
        return None
    return process if process is not None and _lives(process) else None


def _await_end(processes: Sequence[psutil.Process], patience: Patience) -> None:
    """Wait until all have ended; a zombie process counts as ended."""
    while any(_lives(process) for process in processes) and not patience.is_over():
        psutil.wait_procs(processes, timeout=0)  # reaps our own
        time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _delayed_seconds(pid: int) -> float:
    nanoseconds = 0
    with suppress(OSError):  # it has just ended
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            nanoseconds += int(thread.read_text(encoding="ascii").split()[1])
    return nanoseconds / 1e9


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):
        return False


def _is_in(process: psutil.Process, session: int | None) -> bool:
    try:
        return session is not None and os.getsid(process.pid) == session
    except OSError:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
