"""An artifact's score.py in a clean Python process. No other code loads an artifact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.templates import SCORE, read_shipped_score
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


# The child's address space, without the database that it maps: a tiny fallback can request any amount of memory.
MEMORY_BYTES = 1 << 30
ANSWER_BYTES = 1 << 20  # on average; a list of 1,000 products has about a tenth of that
QUOTED = 4_000  # bytes of the child's last errors
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
# The child runs the source that was compared, not the file: Python would prefer a compiled file beside it.
DRIVER = """
import json, sys, types
answers, sys.stdout = sys.stdout, sys.stderr
given = json.load(sys.stdin)
try:
    import resource
    for limit, wanted in ((resource.RLIMIT_AS, given["memory"]), (resource.RLIMIT_FSIZE, given["output"])):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
except (ImportError, ValueError):  # this platform has no such limits
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
    source, database = read_shipped_score(folder).decode(), folder / DATABASE
    given = {
        "path": str((folder / SCORE).absolute()),
        "source": source,
        "requests": list(requests),
        "memory": MEMORY_BYTES + (database.stat().st_size if database.is_file() else 0),
        "output": ANSWER_BYTES * (len(requests) + 1),
    }
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        # Files, not pipes: the limit of a file's size bounds the output, which this process reads at once.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+b") as errors:
            child = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", DRIVER],
                input=json.dumps(given),
                stdout=output,
                stderr=errors,
                encoding="utf-8",
                cwd=folder,
                env=environment,
                timeout=timeout_seconds,
                check=False,
            )
            errors.seek(max(errors.seek(0, os.SEEK_END) - QUOTED, 0))
            last_errors = errors.read().decode(errors="replace").strip()
            if child.returncode:
                raise IntegrityError(f"score.py in {folder} does not work:\n{last_errors}")
            output.seek(0)
            answers: list[Any] = json.load(output)
    except subprocess.TimeoutExpired as err:
        raise IntegrityError(
            f"score.py in {folder} has not answered {len(requests)} requests in {timeout_seconds:g} s."
        ) from err
    return answers
