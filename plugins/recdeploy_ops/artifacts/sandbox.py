"""An artifact's score.py in a clean Python process. No other code loads an artifact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.templates import SCORE, read_shipped_score
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.storage.bundles import files_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


# The child's address space, without the files that it may map: a tiny fallback can request any amount of memory.
MEMORY_BYTES = 1 << 30
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
# The child runs the source that was compared, not the file: Python would prefer a compiled file beside it.
DRIVER = """
import json, sys, types
answers, sys.stdout = sys.stdout, sys.stderr
given = json.load(sys.stdin)
try:
    import resource
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = given["memory"] if hard == resource.RLIM_INFINITY else min(given["memory"], hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
except (ImportError, ValueError):  # this platform has no such limit
    pass
score = types.ModuleType("score")
score.__file__ = given["path"]
exec(compile(given["source"], given["path"], "exec"), score.__dict__)
json.dump([score.predict(request) for request in given["requests"]], answers, allow_nan=False)
"""


def load_in_clean_process(folder: Path, requests: Sequence[object], *, timeout_seconds: float = 300) -> list[Any]:
    """Return the answers of the artifact's ``score.py``, run in a Python process of its own.

    Only a ``score.py`` that this project has shipped is run. The process is isolated like OCI's server: no other
    environment variables, no installed packages, only the standard library.

    Args:
        folder: the artifact.
        requests: JSON values.
        timeout_seconds: for loading and answering all of them.

    Raises:
        ForeignCodeError: this project has not shipped that ``score.py``.
        IntegrityError: it does not load, or does not answer in time; with the child's traceback.
    """
    source = read_shipped_score(folder).decode()
    given = {
        "path": str((folder / SCORE).absolute()),
        "source": source,
        "requests": list(requests),
        "memory": MEMORY_BYTES + sum(path.stat().st_size for path in files_below(folder).values()),
    }
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", DRIVER],
            input=json.dumps(given),
            capture_output=True,
            encoding="utf-8",
            cwd=folder,
            env=environment,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise IntegrityError(
            f"score.py in {folder} has not answered {len(requests)} requests in {timeout_seconds:g} s."
        ) from err
    if child.returncode:
        raise IntegrityError(f"score.py in {folder} does not work:\n{child.stderr.strip()[-4000:]}")
    answers: list[Any] = json.loads(child.stdout)
    return answers
