"""Measure training: the exact engine against the stock engine, on the same data and seed, and the machine's limit.

    python -m benchmarks.training --size 100k --movielens folder/with/interactions.csv
    python -m benchmarks.training --size 10m
    python -m benchmarks.training --size 20000x5000x1000000    # users, items, interactions: without stock

Prints one JSON object. Each part runs in a separate process, to measure its peak memory. At 100k both engines run three
times, the fastest runs are compared, and stock is measured in full. At larger sizes its scoring would take hours, so it
is measured on a sample of users, its metrics on a sample of ratings, and both are extrapolated. At 50m stock is
omitted, because it would not fit into memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.processes import peak_mb
from benchmarks.training_data import COLUMNS, TOP_K, Shape, convert, generate, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[1]
SEED = 42
SAMPLED_RATINGS = 100_000
AGAIN, AGAIN_SECONDS = 20, 10.0
TRIES = 3
TINY = "50x40x500"
FACTORS = 100

SHAPES = {
    "100k": Shape(943, 1_682, 100_000, None),
    "1m": Shape(10_000, 5_000, 1_000_000, 100),
    "10m": Shape(100_000, 20_000, 10_000_000, 20),
    "50m": Shape(1_000_000, 100_000, 50_000_000, 0),
}


def main() -> None:
    """Measure one size and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="100k", help=f"{', '.join(SHAPES)}, or USERSxITEMSxINTERACTIONS")
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV, instead of generated data")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        sys.stdout.write("\n" + json.dumps(PARTS[arguments.part](arguments.folder, shape_of(arguments.size))))
        return
    sys.stdout.write(json.dumps(measure(arguments.size, arguments.movielens), indent=1) + "\n")


def shape_of(size: str) -> Shape:
    """Return the shape for a key of ``SHAPES`` or a text such as ``20000x5000x1000000``."""
    if size in SHAPES:
        return SHAPES[size]
    users, items, interactions = map(int, size.split("x"))
    return Shape(users, items, interactions, sampled_users=0)


def measure(size: str, movielens: Path | None = None) -> dict[str, Any]:
    """Return the figures of one size: of the data and of each part, and their ratios.

    Args:
        size: see `shape_of`.
        movielens: a folder with ``interactions.csv``, ``users.csv`` and ``items.csv``; only for 100k.
    """
    compile_ahead()
    shape = shape_of(size)
    figures: dict[str, Any] = {"size": size, "top_k": TOP_K, "seed": SEED, "cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        folder = Path(name)
        if movielens:
            convert(movielens, folder)
        else:
            generate(folder, shape)
        figures["data"] = "MovieLens-100k" if movielens else "generated"
        figures["rows"] = {path.stem: pq.read_metadata(path).num_rows for path in sorted(folder.glob("*.parquet"))}
        write_config(folder)
        for part in PARTS:
            tries = TRIES if part in {"exact", "stock"} and shape.sampled_users is None else 1
            figures[part] = _fastest([_run_part(part, size, folder) for _ in range(tries)])
    return figures | {"ratios": compare(figures)}


@cache
def compile_ahead() -> None:
    """Train on tiny data in a process, which compiles the machine code that later processes load from the cache."""
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        generate(Path(name), shape_of(TINY))
        _run_part("exact", TINY, Path(name))


def compare(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the ratios of the parts; times are CPU times of all threads together."""
    exact, limit = figures["exact"], figures["limit"]
    stock, operator = figures.get("stock"), figures.get("operator")
    ratios = {
        "scoring_to_gemm": exact["scoring_cpu"] / limit["gemm_cpu"],
        "scoring_again_to_gemm": exact["scoring_again_cpu"] / limit["gemm_cpu"],
    }
    if stock:
        ratios |= {
            "build_faster": stock["build_cpu"] / exact["build_cpu"],
            "sgd_to_stock": exact["fit_cpu"] / stock["fit_cpu"],
            "memory_to_stock": exact["peak_mb"] / stock["peak_mb"],
        }
    if operator:
        ratios["operator_faster"] = operator["stock_cpu"] / operator["exact_cpu"]
    return {name: round(value, 3) for name, value in ratios.items()}


def _fastest(runs: list[dict[str, Any]]) -> dict[str, Any]:
    fastest = min(runs, key=lambda figures: figures.get("build_cpu", 0))
    if "same_lists" in fastest:
        fastest["same_lists"] = all(figures["same_lists"] for figures in runs)
    return fastest


def _run_part(part: str, size: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.training", "--part", part, "--size", size, "--folder", str(folder)]
    # As plugins/recdeploy_ops/training/runs.py starts the operator.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The part {part} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


# Parts


def measure_exact(folder: Path, _: Shape) -> dict[str, Any]:
    """Build the model like the operator, from reading the tables to the frame of recommendations."""
    from include.training import models, tables
    from include.training.factors import Hyperparameters
    from include.training.sgd import choose_fit

    figures: dict[str, Any] = {}
    fit = choose_fit(Hyperparameters())

    def timed_fit(*arguments: Any) -> Any:
        with _measured(figures, "fit"):
            return fit(*arguments)

    class TimedModel(models.ExactModel):
        def _learn(self) -> Any:
            with _measured(figures, "learn"):
                return super()._learn()

    spec = _spec(folder)
    with _measured(figures, "build"):
        with _measured(figures, "load"):
            interactions = tables.read_interactions(str(folder / "interactions.parquet"), COLUMNS[:2], COLUMNS[2])
            data = SimpleNamespace(interactions=interactions, **_tables(folder))
            del interactions
            model = TimedModel(SimpleNamespace(spec=spec), data, Hyperparameters(), fit=timed_fit)
        np.random.seed(SEED)
        os.chdir(folder)
        model._build_model()
    for unit in ("seconds", "cpu"):
        scoring = figures[f"build_{unit}"] - figures[f"learn_{unit}"] - figures[f"load_{unit}"]
        figures[f"scoring_{unit}"] = round(scoring, 4)
    figures["peak_mb"] = peak_mb()
    model._recommendations.to_parquet(folder / "exact.parquet", index=False)
    figures["scoring_again_cpu"] = _fastest_scoring(model, figures["scoring_seconds"])
    return figures


def _fastest_scoring(model: Any, first: float) -> float:
    """Return the least CPU time of several scorings, with the machine code loaded."""
    users, times = model._codes(model.users[COLUMNS[0]]), []
    for _ in range(max(1, min(AGAIN, round(AGAIN_SECONDS / first)))):
        started = time.process_time()
        model._scorer.recommend(users, TOP_K, os.cpu_count())
        times.append(time.process_time() - started)
    return round(min(times), 4)


def measure_stock(folder: Path, shape: Shape) -> dict[str, Any]:
    """Build ADS's own model; above 100k score only a sample of users."""
    if shape.sampled_users == 0:
        return {}
    from ads.opctl.operator.lowcode.recommender.model.factory import SVDOperatorModel
    from surprise import SVD, Dataset, Reader, accuracy
    from surprise.model_selection import train_test_split

    figures: dict[str, Any] = {}
    with _measured(figures, "load"):
        interactions = pd.read_parquet(folder / "interactions.parquet")
        data = SimpleNamespace(interactions=interactions, **_tables(folder))
        model = SVDOperatorModel(SimpleNamespace(spec=_spec(folder)), data)
    np.random.seed(SEED)
    with _measured(figures, "split"):
        ratings = interactions[COLUMNS[2]]
        dataset = Dataset.load_from_df(interactions, Reader(rating_scale=(ratings.min(), ratings.max())))
        trainset, testset = train_test_split(dataset, test_size=model.test_size)
    with _measured(figures, "fit"):
        model.algo = SVD().fit(trainset)
    sample = testset if shape.sampled_users is None else testset[:SAMPLED_RATINGS]
    with _measured(figures, "metrics"):
        predictions = model.algo.test(sample)
        accuracy.rmse(predictions, verbose=False), accuracy.mae(predictions, verbose=False)
    users = model.users[COLUMNS[0]]
    sampled_users = users if shape.sampled_users is None else users.sample(shape.sampled_users, random_state=1)
    with _measured(figures, "scoring"):
        lists = {user: model._get_recommendations(user, TOP_K) for user in sampled_users}
    more_users, more_ratings = len(users) / len(sampled_users), len(testset) / len(sample)
    figures["sampled_users"], figures["sampled_ratings"] = len(sampled_users), len(sample)
    figures["build_cpu"] = round(
        figures["load_cpu"]
        + figures["split_cpu"]
        + figures["fit_cpu"]
        + figures["metrics_cpu"] * more_ratings
        + figures["scoring_cpu"] * more_users,
        1,
    )
    figures["extrapolated"] = more_users > 1
    figures["same_lists"] = lists == _exact_lists(folder, set(sampled_users))
    figures["peak_mb"] = peak_mb()
    return figures


def measure_limit(_: Path, shape: Shape) -> dict[str, Any]:
    """Measure the lower limit of scoring: the float32 matrix product of all factors, by one thread."""
    random = np.random.default_rng(0)
    items = random.normal(size=(FACTORS, shape.items)).astype(np.float32)
    fastest = 0.0
    for rows in (128, 256, 512, 1024):
        users = random.normal(size=(rows, FACTORS)).astype(np.float32)
        scores = np.empty((rows, shape.items), np.float32)
        for _attempt in range(5):
            started = time.process_time()
            np.matmul(users, items, out=scores)
            fastest = max(fastest, rows / (time.process_time() - started))
    return {"gflops": round(2e-9 * FACTORS * shape.items * fastest, 1), "gemm_cpu": round(shape.users / fastest, 4)}


def measure_operator(folder: Path, shape: Shape) -> dict[str, Any]:
    """Run the whole operator process with both engines, with start-up, report and outputs; 100k only."""
    if shape.sampled_users is not None:
        return {}
    times: dict[str, list[float]] = {"exact": [], "stock": []}
    outputs = []
    for engine in ("exact", "stock") * TRIES:
        used = _children_cpu()
        script = HOME / "include" / "training" / "run_operator.py"
        command = [sys.executable, str(script), "recommender.yaml", "--seed", str(SEED), "--engine", engine]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        times[engine].append(round(_children_cpu() - used, 2))
        outputs.append((folder / "outputs" / "recommendations.csv").read_bytes())
    return {
        "exact_cpu": min(times["exact"]),
        "stock_cpu": min(times["stock"]),
        "same_bytes": all(output == outputs[0] for output in outputs),
    }


PARTS = {"exact": measure_exact, "stock": measure_stock, "limit": measure_limit, "operator": measure_operator}


@contextmanager
def _measured(figures: dict[str, Any], name: str) -> Iterator[None]:
    """Record the elapsed time and the CPU time of the block."""
    clock, used = time.perf_counter(), time.process_time()
    yield
    figures[f"{name}_seconds"] = round(time.perf_counter() - clock, 3)
    figures[f"{name}_cpu"] = round(time.process_time() - used, 3)


def _spec(folder: Path) -> Any:
    columns = dict(zip(("user_column", "item_column", "interaction_column"), COLUMNS, strict=True))
    source = SimpleNamespace(url=str(folder / "interactions.parquet"), data=None, format=None)
    return SimpleNamespace(**columns, interactions_data=source, top_k=TOP_K)


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("users", "items")}


def _exact_lists(folder: Path, users: set[str]) -> dict[str, list[tuple[str, float]]]:
    frame = pd.read_parquet(folder / "exact.parquet")
    lists: dict[str, list[tuple[str, float]]] = {user: [] for user in users}
    for user, item, score in frame[frame[COLUMNS[0]].isin(users)].itertuples(index=False, name=None):
        lists[user].append((item, score))
    return lists


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
