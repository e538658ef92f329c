"""Runs each part of a benchmark in a separate process, to measure its peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run_part(file: str, part: str, where: str) -> dict[str, Any]:
    """Run ``python -m benchmarks.{file} --part PART --where WHERE`` and return the JSON object that it prints last.

    Raises:
        RuntimeError: the process failed; quotes its error output.
    """
    command = [sys.executable, "-m", f"benchmarks.{Path(file).stem}", "--part", part, "--where", where]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    # The last object: the product may print lines of progress before.
    figures: dict[str, Any] = json.loads("{" + f"\n{done.stdout}".rpartition("\n{")[2])
    return figures


def peak_mb() -> float:
    """Return this process's peak memory so far in MB (Linux)."""
    return round(sum_kb("status", "VmHWM:") / 1024, 1)  # getrusage would include that of the parent


def private_mb() -> float:
    """Return the private memory of this process in MB (Linux)."""
    return sum_kb("smaps_rollup", "Private_") / 1024


def sum_kb(file: str, label: str) -> int:
    """Return the sum of the values with a label in a file of ``/proc/self``, in KiB."""
    lines = Path("/proc/self", file).read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(label))
