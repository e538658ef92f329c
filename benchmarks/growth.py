"""Measure how the exact engine grows with users, with items and with interactions, one at a time.

    python -m benchmarks.growth

Prints one JSON object: for each of the three, the figures at a quarter, at once and at four times the middle.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks import training

MIDDLE = {"users": 20_000, "items": 5_000, "interactions": 1_000_000}
TIMES = (0.25, 1, 4)


def main() -> None:
    """Measure, and print the figures."""
    sys.stdout.write(json.dumps(measure(), indent=1) + "\n")


def measure() -> dict[str, Any]:
    """Return the figures of each size, by what was made smaller and larger."""
    middle = _measure(MIDDLE)
    grown: dict[str, Any] = {}
    for what, usual in MIDDLE.items():
        grown[what] = {
            f"{int(times * usual)}": middle if times == 1 else _measure({**MIDDLE, what: int(times * usual)})
            for times in TIMES
        }
    return {"middle": MIDDLE, **grown}


def _measure(sizes: dict[str, int]) -> dict[str, float]:
    figures = training.measure("x".join(map(str, sizes.values())), parts=("exact", "limit"))
    exact, limit = figures["exact"], figures["limit"]
    return {
        "build_cpu": exact["build_cpu"],
        "load_cpu": exact["load_cpu"],
        "fit_cpu": exact["fit_cpu"],
        "scoring_cpu": exact["scoring_cpu"],
        "peak_mb": exact["peak_mb"],
        "gemm_cpu": limit["gemm_cpu"],
        "sgd_memory_seconds": limit["sgd_memory_seconds"],
        **figures["ratios"],
    }


if __name__ == "__main__":
    main()
