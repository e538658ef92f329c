"""A hostile artifact in the clean process: it is stopped within its limits, is named, and leaves no process."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.artifacts import clean_child, clean_process
from recdeploy_ops.artifacts.clean_child import FILES, LAYERS, MEMORY_OF_OTHERS, NETWORK, OTHERS, PROCESSES
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE_SECONDS = 60.0
MEGABYTE = 1 << 20
LIMITS = Limits(memory=1 << 30, output=MEGABYTE, seconds=PATIENCE_SECONDS)
ROOT = Path(__file__).parents[2]

# The layers of `clean_child`, without those that a platform may lack.
DOCKER = ("_end_with_parent", "_forbid_processes", "_forbid_files", "_forbid_calls")
NO_SECCOMP = ("_end_with_parent", "_enter_namespaces", "_forbid_processes", "_forbid_files")
NONE = ("_forbid_processes",)  # as on macOS


def run(source: str, folder: Path, limits: Limits = LIMITS) -> list[Any]:
    job = Job("score.py in its folder", "does not work", source, folder / "score.py", [("predict", [1])])
    return call_in_clean_process(job, limits)


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose current directory is the folder, as the clean process's is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append(process.name)
        except OSError:  # it has ended, or has no directory any more
            continue
    return found


def require_no_process(folder: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while left := processes_in(folder):
        assert time.monotonic() < end, left


@pytest.fixture
def keep_layers(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that leaves only some layers of confinement, as on a platform without the others."""

    def keep(names: Iterable[str]) -> None:
        source = clean_process.CHILD.read_text(encoding="utf-8")
        before = f"LAYERS = ({', '.join(layer.__name__ for layer in LAYERS)})"
        assert before in source
        child = tmp_path_factory.mktemp("child") / "clean_child.py"
        child.write_text(source.replace(before, f"LAYERS = ({', '.join(names)},)"), encoding="utf-8")
        monkeypatch.setattr(clean_process, "CHILD", child)

    return keep


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="namespaces, Landlock and seccomp are parts of Linux")

ATTACKS = {
    "a fork": ("import os\ndef predict(x): os.fork()", "PermissionError|BlockingIOError"),
    "a thread": ("import threading\ndef predict(x): threading.Thread(target=print).start()", "can't start new thread"),
    "a program": ("import subprocess\ndef predict(x): subprocess.run(['id'])", "PermissionError|BlockingIOError"),
    "a socket": ("import socket\ndef predict(x): socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
    "a socket to a database": ("import socket\ndef predict(x): socket.socket(socket.AF_UNIX)", "PermissionError"),
    "a new file": ("def predict(x): open('new', 'w')", "PermissionError"),
    "a changed file": ("def predict(x): open('other.txt', 'a')", "PermissionError"),
    "a truncated file": ("import os\ndef predict(x): os.truncate('other.txt', 0)", "PermissionError"),
    "a removed file": ("import os\ndef predict(x): os.remove('other.txt')", "PermissionError"),
    "a signal to its parent": ("import os\ndef predict(x): os.kill(os.getppid(), 9)", "PermissionError"),
    "4 GB of memory": ("def predict(x): return len(bytearray(4 << 30))", "MemoryError"),
    "300 MB of output": (
        "for _ in range(300): print('x' * (1 << 20))",
        "it wrote 1,048,576 bytes, the most that it may",
    ),
    "300 MB of errors": (
        "import sys\nfor _ in range(300): sys.stderr.write('x' * (1 << 20))",
        "it wrote 1,048,576 bytes, the most that it may",
    ),
    "30 MB of answers": ("def predict(x): return 'x' * (30 << 20)", "it wrote 1,048,576 bytes|File too large"),
    "many open files": ("def predict(x): return [open('/dev/null') for _ in range(100)]", "Too many open files"),
    "an abort": ("import os\nos.abort()", r"its process was ended by SIG(ABRT|SEGV)"),
    "an answer that is not JSON": (
        "import os\ndef predict(x):\n    os.write(3, b'{\\n')\n    for n in range(3, 9): os.write(n, b'{\\n')",
        "does not work",
    ),
}


@LINUX
@pytest.mark.parametrize("layers", [[layer.__name__ for layer in LAYERS], DOCKER], ids=["all", "docker"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_stopped_and_named(
    tmp_path: Path, keep_layers: Callable[..., None], name: str, layers: list[str]
) -> None:
    keep_layers(layers)
    (tmp_path / "other.txt").write_text("whole")
    source, message = ATTACKS[name]

    with pytest.raises(IntegrityError, match=f"score.py in its folder .*(?s:.*)({message})") as caught:
        run(source, tmp_path)

    assert len(caught.value.message) < 3 * clean_process.QUOTED
    assert [file.name for file in tmp_path.iterdir()] == ["other.txt"]
    assert (tmp_path / "other.txt").read_text() == "whole"
    require_no_process(tmp_path)


@LINUX
@pytest.mark.parametrize("layers", [[layer.__name__ for layer in LAYERS], DOCKER, NONE], ids=["all", "docker", "none"])
def test_an_endless_loop_is_ended_with_all_its_processes(
    tmp_path: Path, keep_layers: Callable[..., None], layers: list[str]
) -> None:
    keep_layers(layers)

    with pytest.raises(IntegrityError, match=r"has not answered 1 requests in 1 s"):
        run("while True: pass", tmp_path, Limits(1 << 30, MEGABYTE, seconds=1))

    require_no_process(tmp_path)


@LINUX
def test_a_process_in_a_session_of_its_own_ends_with_its_namespace(
    tmp_path: Path, keep_layers: Callable[..., None]
) -> None:
    keep_layers(name for name in NO_SECCOMP if name != "_forbid_processes")
    source = (
        "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(3600)\ndef predict(x): return 'answered'"
    )

    assert run(source, tmp_path) == ["answered"]
    require_no_process(tmp_path)


READ_ALL = """
import glob, os
def predict(x):
    seen = []
    for path in glob.glob('/proc/[0-9]*/environ'):
        try:
            seen.append(b'CANARY' in open(path, 'rb').read())
        except OSError:
            pass
    return [any(seen), dict(os.environ), os.path.exists(f'/proc/{PARENT}/status'), os.getpid() == 2]
"""


@LINUX
@pytest.mark.parametrize(
    ("layers", "sees_canary", "sees_parent"),
    [
        ([layer.__name__ for layer in LAYERS], False, False),
        (NO_SECCOMP, False, False),
        (DOCKER, False, True),
        (NONE, True, True),
    ],
    ids=["all", "no seccomp", "docker", "none"],
)
def test_the_environment_of_the_worker_is_not_read(
    tmp_path: Path, keep_layers: Callable[..., None], layers: list[str], sees_canary: bool, sees_parent: bool
) -> None:
    keep_layers(layers)
    program = "import sys, time; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "SECRET": "CANARY"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdout
        worker.stdout.readline()
        answer = run(READ_ALL.replace("PARENT", str(worker.pid)), tmp_path)[0]

    assert answer[0] is sees_canary
    assert set(answer[1]) <= {"LC_CTYPE", "LD_LIBRARY_PATH"}
    assert answer[2] is sees_parent
    assert answer[3] is not sees_parent


@LINUX
@pytest.mark.parametrize(
    ("layers", "unconfined"),
    [
        (DOCKER, [OTHERS]),
        (NO_SECCOMP, [PROCESSES] if os.getuid() == 0 else []),
        (NONE, [NETWORK, *([PROCESSES] if os.getuid() == 0 else []), OTHERS, MEMORY_OF_OTHERS, FILES]),
    ],
    ids=["docker", "no seccomp", "none"],
)
def test_what_was_not_confined_is_logged(
    tmp_path: Path,
    keep_layers: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    layers: list[str],
    unconfined: list[str],
) -> None:
    keep_layers(layers)
    caplog.set_level(logging.INFO, clean_process.__name__)

    assert run("def predict(x): return x + 1", tmp_path) == [2]

    expected = [f"Not confined on this platform, for score.py in its folder: {unconfined}"] if unconfined else []
    assert caplog.messages == expected


REFUSED_BY_DOCKER = """
import json, logging, sys
from pathlib import Path
from recdeploy_ops.artifacts.clean_child import REFUSED_CALLS, refuse_calls
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
refuse_calls(REFUSED_CALLS["x86_64"][0], [272])  # unshare
job = Job("score.py", "does not work", "def predict(x): return x", Path(sys.argv[1]), [("predict", [7])])
print(json.dumps(call_in_clean_process(job, Limits(1 << 30, 1 << 20, 60))))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the number of unshare is that of x86"
)
def test_a_refused_namespace_leaves_the_other_layers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_BY_DOCKER, str(tmp_path / "score.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == [7]
    assert done.stderr.strip() == f"Not confined on this platform, for score.py: {[clean_child.OTHERS]}"


ENDLESS = """
import sys
from pathlib import Path
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process
job = Job("score.py", "does not work", "while True: pass", Path(sys.argv[1]), [])
call_in_clean_process(job, Limits(1 << 30, 1 << 20, 3600))
"""


@LINUX
def test_a_killed_worker_takes_its_clean_process_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "score.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
    ) as worker:
        end = time.monotonic() + PATIENCE_SECONDS
        while len(processes_in(tmp_path)) < len(("started", "first of its namespaces", "running the job")):
            assert worker.poll() is None
            assert time.monotonic() < end
        worker.kill()

    require_no_process(tmp_path)
