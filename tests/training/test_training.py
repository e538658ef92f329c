"""Training by the real operator of ADS, which takes some seconds to load."""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import shops

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.extraction import extract_tables
from recdeploy_ops.training import train

if TYPE_CHECKING:
    from recdeploy_ops.settings import Settings

# The number of strange items, so that the list for new users must contain all of them.
TOP_K = 18
MOVIES = Path(os.environ.get("RECDEPLOY_MOVIELENS", Path(__file__).parents[3] / "shared" / "data" / "ml-100k"))
STRANGE = [
    "00420",
    "1e5",
    "NaN",
    "nan",
    "None",
    "ユーザー7",
    "A39HTATAQ9V7YF",
    "0205616461",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    'say "hi"',
    "a,b",
    "two\nlines",
    " padded ",
    "<script>alert(1)</script>",
    "tab\there",
    "=1+1",
    "true",
    "42",
]


def trained(extract: Path, out: Path, seed: int, chosen: Settings, lines: list[str] | None = None) -> dict[str, Any]:
    """Train, and collect the reported lines; return the metrics."""
    reported = [] if lines is None else lines
    return train(extract, out, chosen, top_k=TOP_K, seed=seed, report=reported.append)


def lists_of(*runs: tuple[Path, Path, int, Settings]) -> list[bytes]:
    """Train in processes of their own, two at a time; return the lists of each run."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda run: trained(*run), runs))
    return [(out / "recommendations.csv").read_bytes() for _, out, _, _ in runs]


def test_strange_ids_reach_the_lists_unchanged_and_repeatably(tmp_path: Path) -> None:
    full = STRANGE[0]
    ratings = [
        (user, item, 1 + (u * 7 + i * 3) % 5, "2026-01-01")
        for u, user in enumerate(STRANGE)
        for i, item in enumerate(STRANGE)
        if user == full or (u + i) % 3
    ]
    shop = shops.make_shop(
        tmp_path / "shop.db",
        interactions=ratings,
        users=[(user, "x") for user in STRANGE] + [(STRANGE[3], "again")],
        products=[(item, "t", "c") for item in STRANGE],
        kind="TEXT",
    )
    chosen, extract = shops.settings_with(), tmp_path / "extract"
    extract_tables(shops.source_of(shop), chosen, extract, list[str]().append)
    first, again, other = lists_of(
        (extract, tmp_path / "a", 1, chosen), (extract, tmp_path / "b", 1, chosen), (extract, tmp_path / "c", 2, chosen)
    )
    assert first == again
    assert first != other

    with (tmp_path / "a" / "recommendations.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["user_id"] for row in rows} == set(STRANGE) - {full}, "a user who has rated everything gets no list"
    rated = {row[:2] for row in ratings}
    assert {row["product_id"] for row in rows} <= set(STRANGE)
    assert not rated & {(row["user_id"], row["product_id"]) for row in rows}

    with (tmp_path / "a" / "new_users.csv").open(encoding="utf-8", newline="") as stream:
        new = list(csv.DictReader(stream))
    assert len(new) == TOP_K
    assert {row["product_id"] for row in new} == set(STRANGE)

    outputs = {path.name for path in (tmp_path / "a").iterdir()}
    assert outputs == {"metrics.json", "new_users.csv", "recommendations.csv", "recommender.yaml", "report.html"}
    for name in ("report.html", "recommender.yaml"):
        assert str(tmp_path) not in (tmp_path / "a" / name).read_text(encoding="utf-8")


@pytest.mark.more
def test_rows_that_would_break_the_stock_operator_are_dropped(tmp_path: Path) -> None:
    users = [str(n) for n in range(30)]
    items = [str(n) for n in range(12)]
    ratings: list[tuple[str, str, float | None]] = [
        (user, item, float(1 + (int(user) * int(item)) % 5))
        for user in users
        for item in items
        if (int(user) + int(item)) % 4
    ]
    extract = shops.write_extract(
        tmp_path / "extract",
        [*ratings, ("3", "1", None), ("4", "0", float("nan")), ("nobody", "1", 3.0), ("5", "nothing", 3.0)],
        users=[*users, "new", "7", "7"],
        items=[*items, "3"],
    )
    lines: list[str] = []
    metrics = trained(extract, tmp_path / "out", 3, shops.settings_with(), lines)
    assert metrics["dropped"] == {"duplicate_users": 2, "duplicate_items": 1, "interactions_without_rating": 2}
    assert metrics["users_without_list"] == 0
    lists = pd.read_csv(tmp_path / "out" / "recommendations.csv", dtype=str, keep_default_na=False)
    assert set(lists["user_id"]) == {*users, "new"}
    assert not lists.duplicated(["user_id", "product_id"]).any()
    assert 0 < metrics["mae"] <= metrics["rmse"] < 5
    assert any(line.startswith("RMSE: ") for line in lines), "the operator's own lines are reported"


@pytest.mark.more
def test_the_stock_engine_gives_the_same_lists_and_measures(tmp_path: Path) -> None:
    ratings = [(f"u{u}", f"p{p}", 1.0 + (u * p) % 5) for u in range(40) for p in range(30) if (u + 2 * p) % 3]
    extract = shops.write_extract(tmp_path / "extract", ratings, items=[f"p{p}" for p in range(35)])
    exact = shops.settings_with()
    stock = exact.model_copy(update={"training": exact.training.model_copy(update={"engine": "stock"})})
    ours, theirs = lists_of((extract, tmp_path / "exact", 5, exact), (extract, tmp_path / "stock", 5, stock))
    assert ours == theirs
    measures = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("exact", "stock")]
    assert [values.pop("engine") for values in measures] == ["exact", "stock"]
    for values in measures:
        del values["seconds"], values["new_users"]  # only the exact engine compares both lists
    assert measures[0] == measures[1]
    full, rounded = (pd.read_csv(tmp_path / name / "new_users.csv") for name in ("exact", "stock"))
    assert full.round(2).equals(rounded)
    assert not full.equals(rounded)


@pytest.mark.more
def test_a_training_that_does_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    ratings = [(f"u{n}", f"p{n % 7}", 1.0 + n % 5) for n in range(100)]
    extract = shops.write_extract(tmp_path / "extract", ratings)
    chosen = shops.settings_with()
    wide = chosen.model_copy(update={"training": chosen.training.model_copy(update={"factors": 10**10})})
    with pytest.raises(TrainingFailedError, match=r"Training would not fit: 100 interactions .* need about [\d.]+ GB"):
        trained(extract, tmp_path / "out", 1, wide)


@pytest.mark.more
@pytest.mark.skipif(not MOVIES.is_dir(), reason=f"MovieLens-100k is not at {MOVIES.name} (RECDEPLOY_MOVIELENS)")
def test_movielens_gives_equal_bytes_in_two_processes(tmp_path: Path) -> None:
    tables = {name: pd.read_csv(MOVIES / f"{name}.csv", dtype=str) for name in ("interactions", "users", "items")}
    interactions = tables["interactions"]
    extract = shops.write_extract(
        tmp_path / "extract",
        list(zip(interactions["user_id"], interactions["movie_id"], interactions["rating"].astype(float), strict=True)),
        users=tables["users"]["user_id"],
        items=tables["items"]["movie_id"],
    )
    chosen = shops.settings_with()
    one, two = lists_of((extract, tmp_path / "one", 42, chosen), (extract, tmp_path / "two", 42, chosen))
    assert one == two
    assert one.count(b"\n") == 1 + 943 * TOP_K
