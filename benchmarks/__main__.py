"""Run the benchmarks: ``make bench``. Prints a table, keeps all figures as JSON, writes docs/performance.md anew.

    make bench ARGS="--movielens folder/of/csv"

Each part stands beside its rival in the same run, as a ratio: machines are noisy. What is not measured this time keeps
the figures of the last time. MovieLens-100k may not be handed on with this project: ``--movielens`` takes a folder with
its users.csv, items.csv and interactions.csv; without it, data of its shape are made up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import airflow_overhead, battery, copies, extraction, growth, reports, results, serving, training

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
WITHOUT_MOVIELENS = (
    "Data of the shape of MovieLens-100k are made up. To measure on it, download ml-100k from grouplens.org, put it as "
    "users.csv, items.csv and interactions.csv (user, item, rating first, with a head line) into a folder, and give "
    'that: make bench ARGS="--movielens FOLDER"'
)
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "battery": lambda _: battery.measure(),
    "growth": lambda _: growth.measure(),
    "extraction": lambda arguments: extraction.measure(arguments.rows),
    "serving": lambda arguments: serving.measure(arguments.users),
    "copies": lambda arguments: copies.measure(arguments.megabytes),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="100k,1m,10m", help=f"of training: {', '.join(training.SHAPES)}")
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV, for the size 100k")
    parser.add_argument("--parts", help="what to measure, of: training, " + ", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=3_000_000, help="of extraction")
    parser.add_argument("--users", type=int, default=1_000_000, help="of serving")
    parser.add_argument("--releases", type=int, default=0, help="of the demo, for Airflow's overhead; 0 leaves it out")
    parser.add_argument("--megabytes", type=int, default=2_048, help="of a backup")
    parser.add_argument("--out", type=Path, default=results.RESULTS, help="keeps all figures, as JSON")
    arguments = parser.parse_args()
    figures = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    chosen = _chosen(arguments)
    if "training 100k" in chosen and not arguments.movielens:
        print(WITHOUT_MOVIELENS, file=sys.stderr)
    for name, measure in chosen.items():
        print(f"measuring {name} ...", file=sys.stderr)
        started = time.perf_counter()
        try:
            found = measure()
        except FileNotFoundError as err:  # a program that only this part needs
            print(f"{name} is not measured: {err}", file=sys.stderr)
            continue
        figures[name] = found | {"machine": MACHINE, "took_seconds": round(time.perf_counter() - started)}
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print("\n".join(_lines(name, found)))
    print(f"\n{reports.text_of(reports.summary(figures))}\n\nall figures: {arguments.out}")
    if arguments.out == results.RESULTS:
        reports.main()


def _chosen(arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what is to be measured, by name."""
    wanted = arguments.parts.split(",") if arguments.parts else ["training", *PARTS]
    sizes = [size for size in arguments.sizes.split(",") if size] if "training" in wanted else []
    chosen = {f"training {size}": _training(size, arguments.movielens) for size in sizes}
    if arguments.releases:
        chosen["airflow overhead"] = lambda: airflow_overhead.measure(arguments.releases)
    return chosen | {name: partial(measure, arguments) for name, measure in PARTS.items() if name in wanted}


def _training(size: str, movielens: Path | None) -> Callable[[], dict[str, Any]]:
    return lambda: training.measure(size, movielens if size == "100k" else None)


def _lines(name: str, value: Any) -> list[str]:
    """Return nested figures as one aligned line each."""
    if not isinstance(value, dict):
        return [f"{name:<52} {value}"]
    return [line for key, inner in value.items() for line in _lines(f"{name}: {key}", inner)]


if __name__ == "__main__":
    main()
