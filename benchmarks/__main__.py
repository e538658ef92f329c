"""Run the benchmarks: ``make bench``. Prints every figure with its bound; docs/performance.md records them.

    make bench ARGS="--movielens folder/of/csv --sizes 100k,1m --parts training,serving"

Machines are noisy, so each part is compared with its rival in the same run, as a ratio. The licence of MovieLens-100k
does not allow its distribution with this project: ``--movielens`` takes a folder with its users.csv, items.csv and
interactions.csv; without it, data of the same shape are generated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import battery, blast_radius, extraction, gates, goals, recipes, serving, training

if TYPE_CHECKING:
    from collections.abc import Callable

WITHOUT_MOVIELENS = (
    "Generating data of the shape of MovieLens-100k. To measure on the original, download ml-100k from grouplens.org, "
    "save it in a folder as users.csv, items.csv and interactions.csv (user, item, rating first, with a header line), "
    'and run: make bench ARGS="--movielens FOLDER"'
)
# Parts that are measured at several sizes, without and with MovieLens.
SIZED: dict[str, Callable[[str, Path | None], dict[str, Any]]] = {"training": training.measure, "gates": gates.measure}
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "battery": lambda _: battery.measure(),
    "extraction": lambda arguments: extraction.measure(arguments.rows),
    "lists": lambda arguments: blast_radius.measure(arguments.users),
    "recipes": lambda arguments: recipes.measure(arguments.movielens),
    "serving": lambda arguments: serving.measure(arguments.users),
}


def main() -> None:
    """Measure the parts named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes", default="100k,1m,10m", help=f"sizes for training and gates, of: {', '.join(training.SHAPES)}"
    )
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV, for the size 100k")
    parser.add_argument("--parts", help="parts to measure, of: training, gates, " + ", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=3_000_000, help="rows for extraction")
    parser.add_argument("--users", type=int, default=1_000_000, help="users for serving and lists")
    parser.add_argument("--out", type=Path, help="a file for all figures, as JSON")
    arguments = parser.parse_args()
    chosen = _chosen(arguments)
    if {"training 100k", "gates 100k"} & chosen.keys() and not arguments.movielens:
        print(WITHOUT_MOVIELENS, file=sys.stderr)
    figures: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for name, measure in chosen.items():
        print(f"measuring {name} ...", file=sys.stderr)
        started = time.perf_counter()
        try:
            figures[name] = measure()
        except FileNotFoundError as err:  # a program needed only for this part
            print(f"skipping {name}: {err}", file=sys.stderr)
            continue
        except Exception:  # noqa: BLE001 - the figures of the other parts, many minutes of them, are not lost with it
            traceback.print_exc()
            failed.append(name)
            continue
        figures[name]["took_seconds"] = round(time.perf_counter() - started)
        if arguments.out:
            arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(f"{machine}\n\n{goals.text_of(goals.rows_of(figures))}")
    if failed:
        sys.exit(f"failed, see above: {', '.join(failed)}")


def _chosen(arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the measurements to make, by name."""
    wanted = arguments.parts.split(",") if arguments.parts else [*SIZED, *PARTS]
    sizes = [size for size in arguments.sizes.split(",") if size]
    chosen = {
        f"{name} {size}": partial(measure, size, arguments.movielens if size == "100k" else None)
        for name, measure in SIZED.items()
        for size in sizes
        if name in wanted and size in (training.SHAPES if name == "training" else goals.GATES_CPU)
    }
    return chosen | {name: partial(measure, arguments) for name, measure in PARTS.items() if name in wanted}


if __name__ == "__main__":
    main()
