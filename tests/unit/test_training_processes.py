"""The process that trains: its output, its end, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training import processes, runs
from recdeploy_ops.training.processes import run_process


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)


def child(tmp_path: Path, code: str, **how: Any) -> list[str]:
    given: dict[str, Any] = {"timeout_seconds": 30, "report": list[str]().append} | how
    return run_process(
        [sys.executable, "-c", textwrap.dedent(code)],
        name="The ADS operator",
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        **given,
    )


def gone(pid: int) -> bool:
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_lines_are_reported_at_once_and_the_last_ones_returned(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    code = """
        import sys, time
        print("one", flush=True); time.sleep(0.3); print(); print("zwö", file=sys.stderr)
    """
    lines = child(tmp_path, code, report=lambda line: heard.append((time.monotonic(), line)))
    assert [line for _, line in heard] == lines == ["one", "zwö"]
    assert heard[1][0] - heard[0][0] > 0.2


def test_an_exit_code_is_a_failure_that_quotes_the_last_lines(tmp_path: Path) -> None:
    code = "import sys; [print('line', n, flush=True) for n in range(50)]; sys.exit('KeyError: product_id')"
    with pytest.raises(TrainingFailedError) as caught:
        child(tmp_path, code)
    assert "ended with exit code 1" in str(caught.value)
    assert "line 49\n  KeyError: product_id" in str(caught.value)
    assert "line 35" not in str(caught.value)


def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match=r"was killed by SIGKILL \(out of memory\?\)"):
        child(tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_a_timeout_kills_the_process_and_its_children(tmp_path: Path) -> None:
    heard: list[str] = []
    code = """
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
        time.sleep(60)
    """
    for seconds in (0.4, 4, 40):  # longer where the machine is too busy for it to begin
        with pytest.raises(TrainingFailedError, match=r"took longer than 0\.\d+ minutes and was killed"):
            child(tmp_path, code, timeout_seconds=seconds, report=heard.append)
        if heard:
            break
    assert gone(int(heard[0]))


def test_a_process_is_stopped_on_request(tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(TrainingFailedError, match="was stopped on request"):
        child(tmp_path, "import time; print(1, flush=True); time.sleep(60)", report=lambda _: stop.set(), stop=stop)


def test_an_exception_while_it_runs_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)", report=interrupt)
    assert gone(pids[0])


def test_a_child_that_outlives_its_output_is_waited_for(tmp_path: Path) -> None:
    code = "import os, sys, time; os.close(1); os.close(2); time.sleep(0.3); open('done', 'w'); os._exit(0)"
    assert child(tmp_path, code) == []
    assert (tmp_path / "done").exists()


def test_the_last_lines_are_read_even_if_they_arrive_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the reading thread may be slower than the process that writes."""
    pump = processes._pump
    monkeypatch.setattr(processes, "_pump", lambda *pipes: (time.sleep(0.5), pump(*pipes)))
    assert child(tmp_path, "print('written')") == ["written"]


def test_a_grandchild_that_holds_the_output_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "DRAIN_SECONDS", 0.1)
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid)"
    started = time.monotonic()
    lines = child(tmp_path, code)
    assert time.monotonic() - started < 20
    assert gone(int(lines[0]))


def test_a_silent_process_is_reported_as_still_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEARTBEAT_SECONDS", 0.1)
    heard: list[str] = []
    child(tmp_path, "import time; time.sleep(0.4)", report=heard.append)
    assert heard[0] == "Still running, 0 minutes so far"


def test_the_operator_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "recommender.yaml"
    os.mkfifo(config)  # an operator that does not end reads it for ever
    parent = f"""
        import subprocess, sys, time
        child = subprocess.Popen(
            [sys.executable, {str(runs.OPERATOR)!r}, {str(config)!r}, "--seed", "1", "--end-with-parent"],
            stdin=subprocess.PIPE, start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(0.2)
        process.kill()
    ended = gone(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    assert ended
