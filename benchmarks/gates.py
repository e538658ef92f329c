"""Measure what the trainings for the gates cost: the twins and the candidate's side of a release, the champion's side.

    PYTHONPATH=plugins python -m benchmarks.gates --size 100k --movielens folder/with/interactions.csv

Prints one JSON object. Today's extract has all rows, the champion's all but one in fifty. Times are CPU times of the
product's own code, with reading, holding out and comparing.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import run_part
from benchmarks.training import SEED, compile_ahead, shape_of
from benchmarks.training_data import COLUMNS, TOP_K, convert, generate
from recdeploy_ops.evaluation.champion_sides import train_champion_side
from recdeploy_ops.evaluation.comparisons import train_comparison
from recdeploy_ops.settings import DEFAULT_PATH, load_settings
from recdeploy_ops.training.gate_models import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.evaluation.champion_sides import ChampionSide
    from recdeploy_ops.settings import Settings

# At this size docs/gates.md advises three trainings of each side; backtests list 20,000 sampled users at every size.
SEEDS = {"10m": 3}
NEW_SHARE = 0.02


def main() -> None:
    """Measure one size and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="100k", help="100k, 1m, 10m, or USERSxITEMSxINTERACTIONS")
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV, instead of generated data")
    parser.add_argument("--part", choices=["gates"], help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    given = parser.parse_args()
    figures = _measure_trainings(given.where) if given.part else measure(given.size, given.movielens)
    sys.stdout.write("\n" + json.dumps(figures, indent=1) + "\n")


def measure(size: str, movielens: Path | None = None) -> dict[str, Any]:
    """Return the figures of one size.

    Args:
        size: see `shape_of`.
        movielens: a folder with ``interactions.csv``, ``users.csv`` and ``items.csv``; only for 100k.
    """
    compile_ahead()
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        folder = Path(name)
        for side in ("candidate", "champion"):
            (folder / side).mkdir()
        if movielens:
            convert(movielens, folder / "candidate")
        else:
            generate(folder / "candidate", shape_of(size))
        rows = _keep_one_row_of_each_pair(folder / "candidate" / "interactions.parquet")
        _write_champion(folder)
        figures = run_part(__file__, "gates", f"{folder}:{SEEDS.get(size, 0)}")
    return {"size": size, "data": "MovieLens-100k" if movielens else "generated", "rows": rows, **figures}


def _keep_one_row_of_each_pair(file: Path) -> int:
    """Leave out repeated interactions, which the data gates would reject; return how many are left."""
    table = pq.read_table(file)
    codes = [table.column(name).combine_chunks().dictionary_encode() for name in COLUMNS[:2]]
    users, items = (np.asarray(code.indices, np.int64) for code in codes)
    _, first = np.unique(users * (items.max() + 1) + items, return_index=True)
    pq.write_table(table.take(pa.array(np.sort(first))), file)
    return len(first)


def _write_champion(folder: Path) -> None:
    table = pq.read_table(folder / "candidate" / "interactions.parquet")
    is_new = np.random.default_rng(SEED).random(len(table)) < NEW_SHARE
    pq.write_table(table.filter(pa.array(~is_new)), folder / "champion" / "interactions.parquet")
    for name in ("users.parquet", "items.parquet"):
        (folder / "champion" / name).symlink_to(folder / "candidate" / name)


def _measure_trainings(where: str) -> dict[str, Any]:
    """Train both sides in this process and its children."""
    name, _, seeds = where.rpartition(":")
    folder, settings = Path(name), _settings(int(seeds))
    recipe = settings.training.model_dump(mode="json")
    sides = {side: Side(folder / side, recipe) for side in ("candidate", "champion")}
    (folder / "work-champion").mkdir()
    champion, champion_cpu = _timed(
        lambda: train_champion_side(folder / "work-champion", sides["champion"], settings, seed=SEED, report=_ignore)
    )
    compare = partial(_compare, folder, sides["candidate"], champion, settings)
    users, candidate_cpu = compare("none")
    _, all_cpu = compare(settings.training.challenger)
    return {
        "seeds": settings.gates.quality.seeds,
        "asked_users": users,
        "champion_cpu": round(champion_cpu, 2),
        "candidate_cpu": round(candidate_cpu, 2),
        "challenger": settings.training.challenger,
        "challenger_cpu": round(all_cpu - candidate_cpu, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def _compare(
    folder: Path, candidate: Side, champion: ChampionSide, settings: Settings, challenger: str
) -> tuple[int, float]:
    """Train a release's models with this challenger; return how many users were asked, and the CPU seconds."""
    own = settings.model_copy(update={"training": settings.training.model_copy(update={"challenger": challenger})})
    work = folder / f"work-{challenger}"
    work.mkdir()
    compared, cpu = _timed(
        lambda: train_comparison(work, candidate, champion, own, top_k=TOP_K, seed=SEED, why="", report=_ignore)
    )
    if compared.quality is None:
        raise RuntimeError(f"The backtest was not made: {compared.why}")
    return compared.quality.users, cpu


def _settings(seeds: int) -> Settings:
    settings = load_settings(DEFAULT_PATH)
    gates = settings.gates
    if seeds:
        gates = gates.model_copy(update={"quality": gates.quality.__class__(seeds=seeds)})
    columns = dict(zip(("user_column", "item_column", "rating_column"), COLUMNS, strict=True))
    source = settings.source.model_copy(update={**columns, "timestamp_column": None})
    return settings.model_copy(update={"gates": gates, "source": source})


def _timed(measured: Callable[[], Any]) -> tuple[Any, float]:
    before = _cpu()
    result = measured()
    return result, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _ignore(line: str) -> None:
    pass


if __name__ == "__main__":
    main()
