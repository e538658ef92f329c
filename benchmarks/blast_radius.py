"""Measure what it costs to compare all lists of the candidate with the champion's: gates over lists and blast radius.

    PYTHONPATH=plugins python -m benchmarks.blast_radius --users 1000000

Prints one JSON object. The lists are made up: ten items a user, ids of 36 characters, a catalogue of 100,000 items and
20 segments; one user in a hundred is new and two in a hundred have left. CPU and memory are those of a fresh process
that does what `evaluate_candidate` does with the files, from reading them on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from benchmarks.processes import peak_mb, run_part
from recdeploy_ops.evaluation.behaviour import Folders, measure_files
from recdeploy_ops.settings import DEFAULT_PATH, load_settings

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

ITEMS, TOP_K, SEGMENTS, BLOCK = 100_000, 10, 20, 100_000
SIDES = {"champion": (0.0, 0.98), "candidate": (0.01, 1.0)}  # the users of each, as shares of all
USER, ITEM, SEGMENT = "user_id", "product_id", "segment"


def main() -> None:
    """Measure one size and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--part", choices=["compare"], help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    given = parser.parse_args()
    figures = _compare(Path(given.where)) if given.part else measure(given.users)
    sys.stdout.write("\n" + json.dumps(figures, indent=1) + "\n")


def measure(users: int) -> dict[str, Any]:
    """Return the figures of this many users."""
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        _write(Path(name), users)
        return {"users": users, "top_k": TOP_K, **run_part(__file__, "compare", name)}


def _write(folder: Path, users: int) -> None:
    random = np.random.default_rng(0)
    user_ids, item_ids = (_ids(random, count) for count in (users, ITEMS))
    for side, (first, last) in SIDES.items():
        (folder / side).mkdir()
        codes = np.arange(int(users * first), int(users * last))
        segments = pa.array([f"segment {number}" for number in range(SEGMENTS)]).take(pa.array(codes % SEGMENTS))
        pq.write_table(
            pa.table({USER: user_ids.take(pa.array(codes)), SEGMENT: segments}), folder / side / "users.parquet"
        )
        pq.write_table(pa.table({ITEM: item_ids, "title": item_ids}), folder / side / "items.parquet")
        _write_lists(folder / side / "recommendations.csv", codes, (user_ids, item_ids), random)
    for number in range(2):
        np.save(folder / f"twin-{number}.npy", _draw_lists(int(users * 0.99) + 1, random).astype(np.int32))


def _write_lists(file: Path, codes: NDArray[np.int64], ids: tuple[pa.Array, pa.Array], random: Generator) -> None:
    writer = None
    for start in range(0, len(codes), BLOCK):
        block = codes[start : start + BLOCK]
        table = pa.table(
            {
                USER: ids[0].take(pa.array(np.repeat(block, TOP_K))),
                ITEM: ids[1].take(pa.array(_draw_lists(len(block), random).ravel())),
                "rating": np.tile(np.linspace(5, 4, TOP_K), len(block)),
            }
        )
        writer = writer or pv.CSVWriter(file, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def _draw_lists(users: int, random: Generator) -> NDArray[np.int64]:
    """Return lists of different items, of which some are popular; shape (users, TOP_K)."""
    step = 1 + (ITEMS * random.random((users, 1)) ** 3 / 20).astype(np.int64)
    first = (ITEMS * random.random((users, 1)) ** 3 * 0.4).astype(np.int64)
    return np.asarray(first + step * np.arange(TOP_K))


def _ids(random: Generator, count: int) -> pa.Array:
    return pa.array([str(uuid.UUID(bytes=random.bytes(16))) for _ in range(count)])


def _compare(folder: Path) -> dict[str, Any]:
    settings = load_settings(DEFAULT_PATH)
    columns = {"user_column": USER, "item_column": ITEM, "rating_column": "rating", "title_column": "title"}
    source = settings.source.model_copy(update={**columns, "segment_column": SEGMENT})
    champion, candidate = (Folders(folder / side, folder / side) for side in SIDES)
    users = pq.read_metadata(folder / "candidate" / "users.parquet").num_rows
    twins = [np.load(folder / f"twin-{number}.npy")[:users] for number in range(2)]
    started, cpu = time.perf_counter(), time.process_time()
    _, radius = measure_files(candidate, champion, twins, settings=settings.model_copy(update={"source": source}))
    if radius is None or not radius.both:
        raise RuntimeError("No user has a list of both sides.")
    return {
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": peak_mb(),
        "both": radius.both,
        "changed_items": round(radius.lost, 3),
    }


if __name__ == "__main__":
    main()
