"""Run the benchmarks: ``make bench``. Prints a table and keeps all figures as JSON.

    python -m benchmarks --sizes 100k,1m --movielens folder/of/csv --out benchmarks/results.json

Each part stands beside its rival in the same run, as a ratio: machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import airflow_overhead, extraction, serving, training

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Path(__file__).parent / "results.json"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="100k,1m", help=f"of training: {', '.join(training.SHAPES)}")
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV, for the size 100k")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of extraction")
    parser.add_argument("--users", type=int, default=1_000_000, help="of serving")
    parser.add_argument("--releases", type=int, default=0, help="of the demo, for Airflow's overhead; 0 leaves it out")
    parser.add_argument("--out", type=Path, default=OUT, help="gets all figures, as JSON")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        f"training {size}": _training(size, arguments.movielens) for size in arguments.sizes.split(",") if size
    }
    parts["extraction"] = lambda: extraction.measure(arguments.rows)
    parts["serving"] = lambda: serving.measure(arguments.users)
    parts |= {"airflow overhead": lambda: airflow_overhead.measure(arguments.releases)} if arguments.releases else {}
    figures: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    for name, measure in parts.items():
        print(f"measuring {name} ...", file=sys.stderr)
        try:
            figures[name] = measure()
        except FileNotFoundError as err:  # a program that only this part needs
            figures[name] = {"not measured": str(err)}
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print("\n".join(_lines(name, figures[name])))
    print(f"all figures: {arguments.out}")


def _training(size: str, movielens: Path | None) -> Callable[[], dict[str, Any]]:
    return lambda: training.measure(size, movielens if size == "100k" else None)


def _lines(name: str, value: Any) -> list[str]:
    """Return nested figures as one aligned line each."""
    if not isinstance(value, dict):
        return [f"{name:<52} {value}"]
    return [line for key, inner in value.items() for line in _lines(f"{name}: {key}", inner)]


if __name__ == "__main__":
    main()
