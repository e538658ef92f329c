"""Measure the recipes: how they rank what people took, and what their training costs.

    PYTHONPATH=plugins python -m benchmarks.recipes --movielens folder/with/interactions.csv --shapes 943x1682x100000

Prints one JSON object. Quality is NDCG@10 with binary relevance on MovieLens-100k, where every rating counts; lists
have no item of the training part, and users without items in the test part are left out. Cost is that of one training
with the lists of all users, each in a process of its own.
"""

from __future__ import annotations

import argparse
import bisect
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.processes import peak_mb, run_part
from benchmarks.training_data import COLUMNS, TOP_K, Shape, generate
from include.training.memory import Size
from include.training.ndcg import discounts, normalize
from include.training.recipes import Task, trainer_of
from include.training.scoring import usable_cpus
from include.training.tables import read_interactions
from include.training.trainsets import encode_ratings
from recdeploy_ops.evaluation.list_matrix import jaccard
from recdeploy_ops.settings import DEFAULT_PATH, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RECIPES = ("svd", "popularity", "ease", "als")
ENSEMBLES = (1, 3, 5, 10)  # models of svd whose predictions are averaged
SPLITS = 5  # and trainings of a recipe whose lists depend on the seed
LAST = 10  # interactions of each user
SHARE = 0.25  # of each user's interactions
SHAPES = "943x1682x100000,10000x5000x1000000,100000x20000x10000000,100000x100000x10000000"
CATALOGUES = (10_000, 20_000, 30_000)  # of EASE, with a million interactions
MOST_BYTES = 20 * 2**30  # of announced memory; a recipe that needs more is not trained
# Published for a 75/25 split of MovieLens-100k, k = 10: https://github.com/recommenders-team/recommenders, README.
PUBLISHED = {
    "BiVAE": 0.475,
    "BPR": 0.442,
    "LightGCN": 0.420,
    "NCF": 0.396,
    "SAR": 0.382,
    "SVD": 0.096,
    "ALS": 0.044,
}


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k as CSV; without it, cost only")
    parser.add_argument("--shapes", default=SHAPES, help="USERSxITEMSxINTERACTIONS,... of generated data, for the cost")
    parser.add_argument("--catalogues", action="store_true", help="the cost of ease for large catalogues, too")
    parser.add_argument("--part", choices=["train"], help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    given = parser.parse_args()
    figures = _train(given.where) if given.part else measure(given.movielens, given.shapes, catalogues=given.catalogues)
    sys.stdout.write("\n" + json.dumps(figures, indent=1) + "\n")


def measure(movielens: Path | None, shapes: str = SHAPES, *, catalogues: bool = True) -> dict[str, Any]:
    """Return quality, if there is MovieLens-100k, and cost.

    Args:
        movielens: a folder with ``interactions.csv``: user, item, rating, time.
        shapes: ``USERSxITEMSxINTERACTIONS`` of generated data, with commas.
        catalogues: whether to train EASE with `CATALOGUES`.
    """
    rows = _read_movielens(movielens) if movielens else None
    qualities = {} if rows is None else _qualities(rows)
    ensembles = {} if rows is None else _ensembles(rows)
    sizes = [_shape_of(text) for text in shapes.split(",") if text]
    if catalogues:
        sizes += [Shape(10_000, items, 1_000_000, 0) for items in CATALOGUES]
    costs = {f"{size.users}x{size.items}x{size.interactions}": _costs(size) for size in sizes}
    return {
        "published": PUBLISHED,
        "quality": qualities,
        "ensembles": ensembles,
        "cost": costs,
        "largest_catalogue": _largest_catalogue(),
    }


def _largest_catalogue() -> int:
    """Return the most items that EASE takes in `MOST_BYTES`, with a million interactions of 10,000 users; computed."""
    return bisect.bisect(range(10**6), MOST_BYTES, key=_ease_bytes) - 1


def _ease_bytes(items: int) -> int:
    return round(Size(1_000_000, 10_000, items, 0, TOP_K).needed_bytes("ease"))


def _tell(what: str, figures: dict[str, Any]) -> None:
    """Show figures at once: the largest trainings take many minutes."""
    sys.stderr.write(f"{what}: {json.dumps(figures)}\n")


def _shape_of(text: str) -> Shape:
    users, items, interactions = map(int, text.split("x"))
    return Shape(users, items, interactions, 0)


def _read_movielens(folder: Path) -> pd.DataFrame:
    rows = pd.read_csv(folder / "interactions.csv", dtype={0: str, 1: str})
    return rows.set_axis([*COLUMNS, "time"], axis=1).sort_values([COLUMNS[0], "time", COLUMNS[1]])


def _qualities(rows: pd.DataFrame) -> dict[str, Any]:
    """Return mean NDCG@10 and CPU seconds of each recipe and way of splitting, over splits or seeds."""
    figures: dict[str, Any] = {}
    for name in RECIPES:
        for way, split in (("last 10", _last), ("75/25 within users", _random)):
            has_chance = split is _random or name in {"svd", "als"}
            seeds = range(SPLITS if has_chance else 1)
            figures[f"{name}, {way}"] = _summarise([_rank(_model(name), seed, *split(rows, seed)) for seed in seeds])
            _tell(f"{name}, {way}", figures[f"{name}, {way}"])
    return figures


def _ensembles(rows: pd.DataFrame) -> dict[str, Any]:
    """Return for each number of models the same figures, and how far the lists of two seeds agree."""
    figures = {}
    for size in ENSEMBLES:
        runs = [_rank({**_model("svd"), "ensemble": size}, seed, *_last(rows, seed)) for seed in range(SPLITS)]
        pairs = [float(jaccard(one.lists, other.lists).mean()) for one, other in combinations(runs, 2)]
        agreement = {name: round(of(pairs), 3) for name, of in (("least", min), ("most", max))}
        figures[str(size)] = {**_summarise(runs), "jaccard": round(float(np.mean(pairs)), 3), "of_pairs": agreement}
    return figures


@dataclass(frozen=True)
class Run:
    """One training: NDCG@10, its CPU seconds with the lists, and the lists, a row per user and a column per rank."""

    ndcg: float
    seconds: float
    lists: NDArray[np.int32]


def _summarise(runs: list[Run]) -> dict[str, float]:
    ndcg = np.array([run.ndcg for run in runs])
    return {
        "ndcg": round(float(ndcg.mean()), 4),
        "least": round(float(ndcg.min()), 4),
        "most": round(float(ndcg.max()), 4),
        "cpu_seconds": round(float(np.median([run.seconds for run in runs])), 2),
    }


def _last(rows: pd.DataFrame, _: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    test = rows.groupby(COLUMNS[0]).tail(LAST)
    return rows.drop(test.index), test


def _random(rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    drawn = pd.Series(np.random.default_rng(seed).random(len(rows)), rows.index).groupby(rows[COLUMNS[0]])
    is_test = drawn.rank(method="first") <= (drawn.transform("size") * SHARE).round()
    return rows[~is_test], rows[is_test]


def _rank(model: dict[str, Any], seed: int, train: pd.DataFrame, test: pd.DataFrame) -> Run:
    """Train, list, and rank what was held out."""
    catalogue = pd.Index(sorted({*train[COLUMNS[1]], *test[COLUMNS[1]]}))
    ratings = encode_ratings(train, *COLUMNS)
    asked = pd.Index(test[COLUMNS[0]].unique())
    started = time.process_time()
    trained = trainer_of(model).train(Task(ratings, catalogue, TOP_K, np.random.RandomState(seed)))
    lists = trained.ranker.recommend(ratings.user_ids.get_indexer(asked).astype(np.int32), TOP_K, usable_cpus())
    seconds = time.process_time() - started
    relevant = set(zip(test[COLUMNS[0]], test[COLUMNS[1]], strict=True))
    listed = zip(asked[lists.users], catalogue[lists.items], strict=True)
    ranks = np.arange(len(lists.users)) - np.searchsorted(lists.users, lists.users)
    is_hit = np.array([pair in relevant for pair in listed])
    gains = np.bincount(lists.users, np.where(is_hit, discounts(TOP_K)[ranks], 0.0), len(asked))
    counts = test[COLUMNS[0]].value_counts().reindex(asked).to_numpy(np.int64)
    matrix = np.full((len(asked), TOP_K), -1, np.int32)
    matrix[lists.users, ranks] = lists.items
    return Run(float(np.mean(normalize(gains, counts, TOP_K))), seconds, matrix)


def _model(name: str) -> dict[str, Any]:
    return {"recipe": name} if name == "popularity" else load_settings(DEFAULT_PATH).model_of(name)


def _costs(shape: Shape) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as folder:
        generate(Path(folder), shape)
        figures = {}
        for name in _affordable(shape):
            figures[name] = run_part(__file__, "train", f"{folder}:{name}")
            _tell(f"{shape.users}x{shape.items}x{shape.interactions}, {name}", figures[name])
        return figures


def _affordable(shape: Shape) -> Iterator[str]:
    """Yield the recipes to train: of large catalogues EASE alone, and EASE only where it fits."""
    is_large = shape.interactions == 1_000_000 and shape.items in CATALOGUES
    if not is_large:
        yield from ("svd", "als")
    if Size(shape.interactions, shape.users, shape.items, 0, TOP_K).needed_bytes("ease") <= MOST_BYTES:
        yield "ease"


def _train(where: str) -> dict[str, Any]:
    """Train once in this process, with lists for all users."""
    name, _, recipe = where.rpartition(":")
    folder, trainer = Path(name), trainer_of(_model(recipe))
    ratings = encode_ratings(read_interactions(str(folder / "interactions.parquet"), COLUMNS[:2], COLUMNS[2]), *COLUMNS)
    users, items = (
        pd.Index(pq.read_table(folder / f"{table}.parquet").column(0).to_pandas()) for table in ("users", "items")
    )
    size = Size(len(ratings), len(users), len(items), trainer.factors, TOP_K)
    started = time.process_time()
    trained = trainer.train(Task(ratings, items, TOP_K, np.random.RandomState(1)))
    trained_at = time.process_time()
    trained.ranker.recommend(ratings.user_ids.get_indexer(users).astype(np.int32), TOP_K, usable_cpus())
    kind = "exact" if recipe == "svd" else recipe
    return {
        **asdict(size),
        "train_cpu": round(trained_at - started, 1),
        "lists_cpu": round(time.process_time() - trained_at, 1),
        "peak_mb": round(peak_mb()),
        "announced_mb": round(size.needed_bytes(kind) / 1e6),
    }


if __name__ == "__main__":
    main()
