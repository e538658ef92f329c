"""Measure the serving artifact: building, opening, look-ups and list gates, for users with 36-character ids.

    python -m benchmarks.serving --users 1000000

Prints one JSON object. Each part runs in a separate process, to measure its peak memory. The rival is the guide's
format: a dict of lists of dicts, pickled by joblib. A million users would take it minutes and gigabytes, so it is
measured with at most 100,000, and times and sizes are extrapolated. Both are built twice, and the faster time counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.processes import peak_mb, private_mb, run_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOP_K = 10
LOOK_UPS = 20_000
RATED_PER_USER = 10
PICKLED_USERS = 100_000
TRIES, BUILDS = 2, {"build", "pickle: build"}
PICKLE = "recommendations.pkl"


def main() -> None:
    """Generate inputs, measure each part in a child process, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--where", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = PARTS[arguments.part](arguments.where) if arguments.part else measure(arguments.users, arguments.items)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def measure(users: int, items: int = 20_000) -> dict[str, Any]:
    """Return the figures of each part."""
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        generate(Path(name), users, items)
        parts = {part: _fastest(part, name) for part in PARTS}
    return {"users": users, "items": items, "top_k": TOP_K, **parts, "ratios": compare(parts)}


def _fastest(part: str, where: str) -> dict[str, Any]:
    tries = [run_part(__file__, part, where) for _ in range(TRIES if part in BUILDS else 1)]
    return min(tries, key=lambda figures: figures.get("cpu_seconds", 0))


def compare(parts: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of the artifact to the pickled dict."""
    build, look_up = parts["build"], parts["look_up"]
    pickled, unpickled = parts["pickle: build"], parts["pickle: look_up"]
    ratios = {
        "build_to_pickle": build["cpu_seconds"] / pickled["cpu_seconds"],
        "open_to_pickle": look_up["open_seconds"] / unpickled["open_seconds"],
        "private_memory_to_pickle": look_up["private_mb"] / unpickled["private_mb"],
        "look_up_p50_to_pickle": look_up["p50_us"] / unpickled["p50_us"],
    }
    return {name: float(f"{value:.3g}") for name, value in ratios.items()}


def generate(folder: Path, users: int, items: int) -> None:
    """Write an extract and its recommendations, with users that are not sorted."""
    (folder / "results").mkdir()
    (folder / "extract").mkdir()
    user_ids, item_ids = _uuids(users, 1), _uuids(items, 2)
    draw = np.random.default_rng(3)
    raters = np.sort(draw.integers(0, users, RATED_PER_USER * users))
    rated = draw.integers(0, items // 2, len(raters))
    pq.write_table(pa.table({"user_id": user_ids}), folder / "extract" / "users.parquet")
    pq.write_table(pa.table({"product_id": item_ids}), folder / "extract" / "items.parquet")
    columns = {"user_id": user_ids.take(pa.array(raters)), "product_id": item_ids.take(pa.array(rated))}
    pq.write_table(
        pa.table({**columns, "rating": draw.random(len(raters))}), folder / "extract" / "interactions.parquet"
    )
    first = draw.integers(items // 2, items - TOP_K, users)
    columns = {
        "user_id": user_ids.take(pa.array(np.repeat(np.arange(users), TOP_K))),
        "product_id": item_ids.take(pa.array((first[:, None] + np.arange(TOP_K)).ravel())),
        "rating": pa.array(1 + 4 * -np.sort(-draw.random((users, TOP_K)), axis=1).ravel()),
    }
    pyarrow.csv.write_csv(pa.table(columns), folder / "results" / "recommendations.csv")


def _uuids(count: int, seed: int) -> pa.Array:
    content = np.random.default_rng(seed).bytes(16 * count)
    return pa.array([str(uuid.UUID(bytes=content[at : at + 16])) for at in range(0, len(content), 16)])


def measure_build(folder: Path) -> dict[str, float]:
    """Build the artifact."""
    from recdeploy_ops.artifacts.artifact import build_artifact
    from recdeploy_ops.settings import load_settings

    shutil.rmtree(folder / "artifact", ignore_errors=True)
    settings, before = load_settings(), time.process_time()
    build_artifact(
        folder / "results", folder / "extract", folder / "artifact", settings=settings, version=1, top_k=TOP_K
    )
    seconds = time.process_time() - before
    megabytes = (folder / "artifact" / "recommendations.sqlite").stat().st_size / 1e6
    return {"cpu_seconds": round(seconds, 2), "peak_mb": peak_mb(), "database_mb": round(megabytes, 1)}


def measure_zip(folder: Path) -> dict[str, float]:
    """Zip the artifact."""
    from recdeploy_ops.artifacts.archives import zip_artifact

    before = time.process_time()
    zip_artifact(folder / "artifact", folder / "artifact.zip")
    megabytes = (folder / "artifact.zip").stat().st_size / 1e6
    return {"cpu_seconds": round(time.process_time() - before, 2), "peak_mb": peak_mb(), "zip_mb": round(megabytes, 1)}


def measure_look_ups(folder: Path) -> dict[str, float]:
    """Import ``score.py`` and request the lists of random users."""
    users = _draw_users(folder)
    private = private_mb()
    score = _import_score(folder)
    started = time.perf_counter()
    manifest = score._verify(score.FOLDER)
    verified = time.perf_counter()
    score._verify = lambda _folder: manifest
    score.Model(score.FOLDER)
    opened = time.perf_counter()
    return {
        "verify_seconds": round(verified - started, 3),
        "open_seconds": round(opened - verified, 3),
        **_percentiles(score.predict, [{"user_id": user, "top_k": TOP_K} for user in users]),
        "private_mb": round(private_mb() - private, 1),
    }


def measure_pickle_build(folder: Path) -> dict[str, float]:
    """Build the dict of lists of dicts from the operator's file, and pickle it."""
    import joblib

    before = time.process_time()
    table = pyarrow.csv.read_csv(folder / "results" / "recommendations.csv")
    table = table.slice(0, PICKLED_USERS * TOP_K)
    lists: dict[str, list[dict[str, Any]]] = {}
    # All lists share the text of a product: otherwise the pickle would be much larger.
    for user, product, rating in zip(*(column.to_pylist() for column in table.columns), strict=True):
        lists.setdefault(user, []).append({"product_id": sys.intern(product), "rating": rating})
    joblib.dump(lists, folder / PICKLE)
    seconds = time.process_time() - before
    return {"users": len(lists), "cpu_seconds": round(seconds * _share(folder, len(lists)), 1)}


def measure_pickle_look_ups(folder: Path) -> dict[str, float]:
    """Load the pickled dict, and look up random users."""
    import joblib

    private, started = private_mb(), time.perf_counter()
    lists = joblib.load(folder / PICKLE)  # written above
    seconds, share = time.perf_counter() - started, _share(folder, len(lists))
    megabytes = private_mb() - private
    draw, users = random.Random(1), list(lists)  # noqa: S311 - a sample, not a secret

    def answer(user: str) -> dict[str, Any]:
        recommendations = lists[user][:TOP_K]
        return {"user_id": user, "recommendations": recommendations, "count": len(recommendations)}

    return {
        "users": len(lists),
        "open_seconds": round(seconds * share, 2),
        **_percentiles(answer, draw.choices(users, k=LOOK_UPS)),
        "private_mb": round(megabytes * share, 1),
    }


def _share(folder: Path, measured: int) -> float:
    """Return the ratio of all users to the measured ones."""
    return float(pq.read_metadata(folder / "extract" / "users.parquet").num_rows / measured)


def _draw_users(folder: Path) -> list[str]:
    users = pq.read_table(folder / "extract" / "users.parquet").column(0)
    draw = random.Random(1)  # noqa: S311 - a sample, not a secret
    return [users[draw.randrange(len(users))].as_py() for _ in range(LOOK_UPS)]


def _import_score(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("score", folder / "artifact" / "score.py")
    if spec is None or spec.loader is None:
        raise ImportError("score.py cannot be imported")
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    return score


def _percentiles(work: Callable[[Any], Any], values: Sequence[Any]) -> dict[str, float]:
    """Return the median and the 99th percentile of the calls in microseconds, after a first call with each value.

    The first call is slower: on a virtual machine even cached pages may have to be fetched.
    """
    for value in values:
        work(value)
    times = []
    for value in values:
        before = time.perf_counter_ns()
        work(value)
        times.append((time.perf_counter_ns() - before) / 1000)
    times.sort()
    return {"p50_us": round(times[len(times) // 2], 1), "p99_us": round(times[len(times) * 99 // 100], 1)}


def measure_gates(folder: Path) -> dict[str, float]:
    """Measure the lists of all users for the gates."""
    from recdeploy_ops.evaluation.lists import measure_lists
    from recdeploy_ops.settings import load_settings

    settings, before = load_settings(), time.process_time()
    measure_lists(folder / "results", folder / "extract", settings=settings, top_k=TOP_K, fallback=[])
    return {"cpu_seconds": round(time.process_time() - before, 2), "peak_mb": peak_mb()}


PARTS = {
    "build": measure_build,
    "zip": measure_zip,
    "look_up": measure_look_ups,
    "gates": measure_gates,
    "pickle: build": measure_pickle_build,
    "pickle: look_up": measure_pickle_look_ups,
}

if __name__ == "__main__":
    main()
