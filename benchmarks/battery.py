"""Run the whole operator with both engines on the edge cases, and compare the bytes.

    python -m benchmarks.battery

Prints one JSON object. The tests use the same cases: `benchmarks/edge_cases.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.edge_cases import EDGE_CASES, SMALL
from benchmarks.processes import run_part

LISTS = "recommendations.csv"


def main() -> None:
    """Compare all cases, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", choices=["all"], help=argparse.SUPPRESS)
    parser.add_argument("--where", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = compare(arguments.where) if arguments.part else measure()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def measure() -> dict[str, Any]:
    """Return which cases have the same bytes, and the time for all."""
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        return run_part(__file__, "all", name)


def compare(folder: Path) -> dict[str, Any]:
    """Return for each case whether the lists have the same bytes; run in a separate process, because ADS changes it."""
    from benchmarks.operators import STOCK, build, run
    from include.training.models import ExactModel

    started, same = time.perf_counter(), {}
    os.chdir(folder)  # for measures.json
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, where SGD diverges
        for number, (case, data) in enumerate(EDGE_CASES.items()):
            stock = run(STOCK, data, folder / f"stock {number}") / LISTS
            exact = run(ExactModel, data, folder / f"exact {number}") / LISTS
            same[case] = stock.read_bytes() == exact.read_bytes() and stock.read_bytes().count(b"\n") > 1
        # The report of the stock engine fails for these users, so the lists are taken from the model.
        twice = dataclasses.replace(SMALL, users=[*SMALL.users, SMALL.users[4], SMALL.users[2]])
        ours, theirs = build(ExactModel, twice)[0], build(STOCK, twice)[0]
        same["duplicate users"] = ours.to_csv(index=False) == theirs.to_csv(index=False)
    return {
        "cases": len(same),
        "byte_identical": sum(same.values()),
        "seconds": round(time.perf_counter() - started, 1),
        "same_bytes": same,
    }


if __name__ == "__main__":
    main()
