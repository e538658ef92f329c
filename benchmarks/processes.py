"""Each part of a benchmark in a process of its own, so that its peak memory is its own."""

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
        RuntimeError: it failed; quotes what it wrote.
    """
    command = [sys.executable, "-m", f"benchmarks.{Path(file).stem}", "--part", part, "--where", where]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    # After lines of progress, where the product tells them.
    figures: dict[str, Any] = json.loads("{" + f"\n{done.stdout}".rpartition("\n{")[2])
    return figures


def peak_mb() -> float:
    """Return this process's peak memory so far in MB (Linux)."""
    return round(sum_kb("status", "VmHWM:") / 1024, 1)  # getrusage would count the parent's as well


def private_mb() -> float:
    """Return the memory that this process shares with no other, in MB (Linux)."""
    return sum_kb("smaps_rollup", "Private_") / 1024


def sum_kb(file: str, label: str) -> int:
    """Return the sum of the lines of a file of ``/proc/self`` that begin with a label, in KiB."""
    lines = Path("/proc/self", file).read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(label))
