"""A supervised child process: its lines are streamed, its time is bounded, and no process of it stays behind."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from recdeploy_ops.domain.errors import TrainingFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

QUOTED_LINES = 15
POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 60.0
# For reading the last output after a process has ended; only a child of its own can keep the output open longer.
DRAIN_SECONDS = 5.0


class StopSignal(Protocol):
    """A signal for a running process to end, such as `threading.Event`."""

    def is_set(self) -> bool:
        """Return whether to stop."""
        ...


def run_process(
    command: Sequence[str],
    *,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    timeout_seconds: float,
    report: Callable[[str], None],
    stop: StopSignal | None = None,
) -> list[str]:
    """Run a command to its end and return the last lines that it wrote.

    It leads a process group of its own, which is killed when the time is up, when ``stop`` is set, and when
    this function raises. Its standard input is a pipe that is never written to: its end tells a child that watches it
    that the parent has ended, even if the parent was killed.

    Args:
        command: program and arguments.
        name: of the process, in errors.
        folder: where it runs.
        environment: its whole environment.
        timeout_seconds: how long it may take.
        report: called with each line, and once a minute while there is none.
        stop: ends it when set.

    Raises:
        TrainingFailedError: it took too long, was stopped, or ended with an exit code other than 0.
    """
    last_lines: deque[str] = deque(maxlen=QUOTED_LINES)

    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        for line in _lines_until_end(child, timeout_seconds, stop, report):
            last_lines.append(line)
            report(line)
        status = child.wait(timeout=POLL_SECONDS)
    except _Unfinished as err:
        raise _failed(name, str(err), last_lines) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        cast("IO[bytes]", child.stdin).close()
    if status < 0:
        hint = " (out of memory?)" if -status == signal.SIGKILL else ""
        raise _failed(name, f"was killed by {signal.Signals(-status).name}{hint}", last_lines)
    if status:
        raise _failed(name, f"ended with exit code {status}", last_lines)
    return list(last_lines)


def quoted(lines: Sequence[str]) -> str:
    """Return the last lines of a process for an error message."""
    return "Its last lines:\n  " + "\n  ".join(lines) if lines else "It wrote nothing."


def _failed(name: str, what: str, lines: Sequence[str]) -> TrainingFailedError:
    return TrainingFailedError(f"{name} {what}. {quoted(list(lines))}")


class _Unfinished(Exception):  # noqa: N818 - never leaves this module
    """Why the wait for a process was given up."""


def _lines_until_end(
    child: subprocess.Popen[bytes],
    timeout_seconds: float,
    stop: StopSignal | None,
    report: Callable[[str], None],
) -> Iterator[str]:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    pump = threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True)
    pump.start()
    started = heard = time.monotonic()
    # A process may close its output and continue, or end while its own child still writes.
    while child.poll() is None or not lines.empty():
        now = time.monotonic()
        _require_time_left(now - started, timeout_seconds, stop)
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if now - heard > HEARTBEAT_SECONDS:
                heard = now
                report(f"Still running, {(now - started) / 60:.0f} minutes so far")
            continue
        heard = now
        if line is not None:
            yield line
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_SECONDS)
    pump.join(DRAIN_SECONDS)
    while not lines.empty():
        if line := lines.get():
            yield line


def _require_time_left(seconds: float, timeout_seconds: float, stop: StopSignal | None) -> None:
    if seconds > timeout_seconds:
        raise _Unfinished(f"took longer than {timeout_seconds / 60:g} minutes and was killed")
    if stop is not None and stop.is_set():
        raise _Unfinished("was stopped on request")


def _pump(stream: IO[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    with stream:
        for raw in stream:
            if line := raw.decode(errors="replace").rstrip():
                lines.put(line)
    lines.put(None)
