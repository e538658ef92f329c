"""An artifact's score.py in a clean Python process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
DRIVER = """
import importlib.util, json, sys
answers, sys.stdout = sys.stdout, sys.stderr
requests = json.load(sys.stdin)
spec = importlib.util.spec_from_file_location("score", "score.py")
score = importlib.util.module_from_spec(spec)
spec.loader.exec_module(score)
json.dump([score.predict(request) for request in requests], answers, allow_nan=False)
"""


def load_in_clean_process(folder: Path, requests: Sequence[object], *, timeout_seconds: float = 300) -> list[Any]:
    """Return what the artifact's ``score.py`` answers, in a Python process of its own.

    The process is isolated, as far from ours as OCI's server is: no environment variables, no installed
    packages, only the standard library.

    Args:
        folder: the artifact.
        requests: JSON values.
        timeout_seconds: for loading and answering all of them.

    Raises:
        IntegrityError: it does not load, does not answer, or not in time; with the child's traceback.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", DRIVER],
            input=json.dumps(requests),
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
