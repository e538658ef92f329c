"""The list for new users beside popular items, on users who are held out; and that the better one is chosen."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from include.training import new_users
from include.training.factors import Hyperparameters
from include.training.learning import Recipe, learn
from include.training.new_users import compare_lists, list_popular
from include.training.recipes import TEST_SHARE
from include.training.sgd import choose_fit
from include.training.trainsets import Ratings, encode_ratings
from recdeploy_ops.domain.new_users import BEST, OPERATOR, POPULARITY, choose_new_users
from recdeploy_ops.domain.recipes import SVD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOVIES = Path(os.environ.get("RECDEPLOY_MOVIELENS", Path(__file__).parents[3] / "shared" / "data" / "ml-100k"))
TOP_K, RESAMPLES = 10, 100
COLUMNS = ["user", "item", "rating"]
needs_movies = pytest.mark.skipif(
    not MOVIES.is_dir(), reason=f"MovieLens-100k is not at {MOVIES.name} (RECDEPLOY_MOVIELENS)"
)


def encode(rows: pd.DataFrame) -> Ratings:
    return encode_ratings(rows, *COLUMNS)


def popular_shop(users: int = 400) -> Ratings:
    """Return ratings that say nothing about who takes what: what many took, the next one takes, too."""
    random = np.random.default_rng(1)
    shares = 1 / np.arange(2, 62)
    rows = [
        (f"u{user:03}", f"p{item:02}", float(random.integers(1, 6)))
        for user in range(users)
        for item in random.choice(60, 12, replace=False, p=shares / shares.sum())
    ]
    return encode(pd.DataFrame(rows, columns=COLUMNS))


def two_kinds_of_users(users: int = 400) -> Ratings:
    """Return a shop in which the best rated items rank better than the most popular ones.

    Every second user has 30 of 40 items, rated 3. The others have two of four items, rated 5: fewer users have each of
    these, but to those who have two of them it is all they took.
    """
    random, rows = np.random.default_rng(2), []
    for user in range(users):
        if user % 2:
            rows += [(f"u{user:03}", f"p{item:02}", 3.0) for item in random.choice(40, 30, replace=False)]
        else:
            rows += [(f"u{user:03}", f"loved-{item}", 5.0) for item in random.choice(4, 2, replace=False)]
    return encode(pd.DataFrame(rows, columns=COLUMNS))


def movies() -> Ratings:
    rows = pd.read_csv(MOVIES / "interactions.csv", dtype={0: str, 1: str})
    return encode(rows.iloc[:, :3].set_axis(COLUMNS, axis=1))


@cache
def recipe() -> Recipe:
    return Recipe(Hyperparameters(), refit=False, fit=choose_fit(Hyperparameters()))


def compare(ratings: Ratings, seed: int, catalogue: Iterable[str] | None = None) -> dict[str, Any]:
    items = pd.Index(sorted(ratings.item_ids) if catalogue is None else list(catalogue))
    return compare_lists(ratings, recipe(), items, TOP_K, TEST_SHARE, seed)


@pytest.mark.parametrize(
    ("make", "kind", "resamples"),
    [
        pytest.param(popular_shop, POPULARITY, 10, id="popular items are better"),
        pytest.param(two_kinds_of_users, OPERATOR, 10, id="rated items are better"),
        pytest.param(popular_shop, POPULARITY, RESAMPLES, id="popular items, often", marks=pytest.mark.more),
        pytest.param(two_kinds_of_users, OPERATOR, RESAMPLES, id="rated items, often", marks=pytest.mark.more),
        pytest.param(movies, POPULARITY, RESAMPLES, id="MovieLens-100k", marks=[pytest.mark.more, needs_movies]),
    ],
)
def test_the_choice_is_never_worse_than_the_operators_list_on_users_who_did_not_choose(
    make: Callable[[], Ratings], kind: str, resamples: int
) -> None:
    ratings, kinds = make(), []
    for seed in range(resamples):
        chosen = choose_new_users(BEST, SVD, compare(ratings, seed))
        assert chosen.compared is not None
        kinds.append(chosen.kind)
        if chosen.kind == POPULARITY:  # of the same list the difference is 0
            assert chosen.compared.judged.high >= 0
    assert set(kinds) == {kind}


def test_the_halves_are_of_different_users_and_equal_seeds_give_equal_numbers() -> None:
    ratings = popular_shop()
    one = compare(ratings, 1)
    assert (one["choice"]["users"], one["judged"]["users"], one["depth"]) == (40, 40, TOP_K)
    assert one["choice"] != one["judged"]
    assert compare(ratings, 1) == one
    assert compare(ratings, 2) != one


def test_both_lists_are_made_without_the_users_who_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings, seen = popular_shop(), []

    def popular(ratings: Ratings, rows: Any, *rest: Any) -> Any:
        seen.append(rows)
        return list_popular(ratings, rows, *rest)

    def learned(ratings: Ratings, *given: Any, rows: Any) -> Any:
        seen.append(rows)
        return learn(ratings, *given, rows=rows)

    monkeypatch.setattr(new_users, "list_popular", popular)
    monkeypatch.setattr(new_users, "learn", learned)
    compared = compare(ratings, 1)

    assert [len(np.unique(ratings.users[rows])) for rows in seen] == [320, 320]
    assert [len(rows) for rows in seen] == [320 * 12] * 2
    assert compared["choice"]["users"] + compared["judged"]["users"] == 80


def test_the_comparison_draws_nothing_from_the_trainings_random_numbers() -> None:
    np.random.seed(3)
    compare(popular_shop(), 1)
    drawn = np.random.random()
    np.random.seed(3)
    assert np.random.random() == drawn


def test_of_few_users_nothing_is_measured() -> None:
    assert compare(popular_shop(users=299), 1) == {
        "why": "a fifth of the 299 users with interactions is too few to choose and to judge by"
    }
    assert compare(popular_shop(users=300), 1)["judged"]["users"] == 30


def test_only_what_is_in_the_catalogue_counts() -> None:
    ratings = popular_shop()
    whole = compare(ratings, 1)
    one_item = compare(ratings, 1, catalogue=["p00"])
    # Everybody gets this item; only those who took it are asked.
    assert one_item["choice"]["operator"] == one_item["choice"]["popularity"] == 1
    assert one_item["choice"]["users"] < whole["choice"]["users"]
    assert "too few" in compare(ratings, 1, catalogue=["an item that nobody took"])["why"]
