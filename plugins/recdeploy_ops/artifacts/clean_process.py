"""Run calls in a confined Python process: for code from an artifact, and for files that may be crafted."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("clean_child.py")
QUOTED = 4_000  # bytes of the process's last errors
PASSED_ON = ("LD_LIBRARY_PATH",)  # a Python in a shared library needs it; no other variable is inherited
SIGNALLED = 128  # an exit code above is this and the number of a signal


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes:
        memory: bytes of address space.
        output: bytes that it may write, to any one file.
        seconds: from its start to its end, and of CPU time.
        files: that it may open.
    """

    memory: int
    output: int
    seconds: float
    files: int = 64


@dataclass(frozen=True)
class Job:
    """Calls in a module.

    Attributes:
        what: the thing that is run or read, for errors.
        failed: the error's words if a call raises, such as "cannot be read".
        source: of the module. It is run instead of the file, as Python would prefer a compiled file beside that.
        path: of the module, for its ``__file__``.
        calls: a function's name and its arguments, JSON values.
    """

    what: str
    failed: str
    source: str
    path: Path
    calls: Sequence[tuple[str, Sequence[object]]]


def call_in_clean_process(job: Job, limits: Limits) -> list[Any]:
    """Return the answer to each call, a JSON value; a generator gives an answer for each element.

    Raises:
        IntegrityError: a call raises, takes too long, writes too much, or the process is ended by a limit.
    """
    with open_answers(job, limits) as answers:
        return list(answers)


@contextmanager
def open_answers(job: Job, limits: Limits) -> Iterator[Iterator[Any]]:
    """Run the calls to their end, then yield the answers one by one while the block lasts.

    The process is isolated like OCI's server: no variables of the environment, no installed packages, only the standard
    library. It leads a session of its own, which is ended as a whole. `clean_child` explains how it is confined. What
    this platform could not confine is logged.

    Raises:
        IntegrityError: as `call_in_clean_process`.
    """
    # Files, not pipes: the limit of a file's size bounds the output, which is read once the process has ended.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+b") as errors:
        code = _run(job, limits, output, errors)
        if code:
            wrote = max(stream.seek(0, os.SEEK_END) for stream in (output, errors))
            excess = f" (it wrote {limits.output:,} bytes, the most that it may)" if wrote >= limits.output else ""
            raise IntegrityError(f"{job.what} {job.failed}{_describe_end(code)}{excess}:\n{_last(errors)}")
        output.seek(0)
        answers = _parse(job, output)
        if unconfined := next(answers, None):
            log.info("Not confined on this platform, for %s: %s", job.what, shorten(repr(unconfined), QUOTED))
        yield answers


def _run(job: Job, limits: Limits, output: IO[str], errors: IO[bytes]) -> int:
    """Run the calls, end the session that the process leads, and return the exit code."""
    given = {
        "source": job.source,
        "path": str(job.path.absolute()),
        "calls": job.calls,
        "limits": asdict(limits) | {"seconds": math.ceil(limits.seconds) + 1},
    }
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        encoding="utf-8",
        cwd=job.path.parent,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        start_new_session=True,
    )
    try:
        child.communicate(json.dumps(given), timeout=limits.seconds)
    except subprocess.TimeoutExpired as err:
        asked = f"{len(job.calls)} requests in {limits.seconds:g} s"
        raise IntegrityError(f"{job.what} has not answered {asked}.") from err
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdin:
            child.stdin.close()
    return child.returncode


def _parse(job: Job, output: IO[str]) -> Iterator[Any]:
    try:
        for line in output:
            yield json.loads(line)
    except (ValueError, RecursionError) as err:
        raise IntegrityError(f"{job.what} {job.failed}: its answers are not JSON ({err!r}).") from err


def _describe_end(code: int) -> str:
    number = -code if code < 0 else code - SIGNALLED
    with suppress(ValueError):
        return f" (its process was ended by {signal.Signals(number).name})"
    return ""


def _last(errors: IO[bytes]) -> str:
    errors.seek(max(errors.seek(0, os.SEEK_END) - QUOTED, 0))
    return errors.read().decode(errors="replace").strip()
