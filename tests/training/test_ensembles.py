"""The mean of several models: it predicts the mean of their predictions, and its lists change less by chance."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.training.ensembles import average
from include.training.factors import Factors, Hyperparameters, estimate
from include.training.learning import Recipe, learn
from include.training.recipes import TEST_SHARE, SvdTrainer, Task, trainer_of
from include.training.sgd import choose_fit
from include.training.trainsets import Ratings, encode_ratings

if TYPE_CHECKING:
    from numpy.typing import NDArray

USERS, ITEMS, WIDTH = 5, 7, 3


def member(random: np.random.RandomState) -> Factors:
    """Return a model that was trained on some of the users and items, in an order of its own."""
    numbers = []
    for count in (USERS, ITEMS):
        inner = np.full(count, -1, np.int32)
        known = random.permutation(count)[: random.randint(1, count + 1)]
        inner[known] = np.arange(len(known))
        numbers.append(inner)
    sizes = [int(inner.max()) + 1 for inner in numbers]
    biases, factors = [random.normal(size=n) for n in sizes], [random.normal(size=(n, WIDTH)) for n in sizes]
    return Factors(np.float64(random.normal(3)), *biases, *factors, *numbers)


def predict(factors: Factors) -> NDArray[np.float64]:
    """Return the predictions of all pairs, and of a new user, in the last row."""
    users, items = np.meshgrid(np.append(np.arange(USERS), -1), np.arange(ITEMS), indexing="ij")
    numbers = np.append(factors.inner_users, np.int32(-1))[users.ravel()]
    return estimate(factors, numbers, factors.inner_items[items.ravel()])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(count=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_the_mean_predicts_the_mean_of_the_predictions(count: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    members = [member(random) for _ in range(count)]
    expected = np.mean([predict(one) for one in members], axis=0)
    assert predict(average(iter(members), count)) == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_one_model_is_that_model() -> None:
    one = member(np.random.RandomState(1))
    assert average(iter([one]), 1) is one


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    """Ratings of 80 users with two tastes, with enough chance in them that seeds matter."""
    random, rows = np.random.RandomState(4), []
    for user in range(80):
        for item in random.choice(60, 20, replace=False):
            rating = np.clip(2 + 2 * ((user + item) % 2) + random.randint(-1, 2), 1, 5)
            rows.append((f"u{user:02}", f"p{item:02}", float(rating)))
    return encode_ratings(pd.DataFrame(rows, columns=["u", "p", "r"]), "u", "p", "r")


def train(ratings: Ratings, seed: int, **model: Any) -> Any:
    task = Task(ratings, pd.Index([f"p{item:02}" for item in range(60)]), 10, np.random.RandomState(seed))
    return trainer_of({"recipe": "svd", "factors": 20, **model}).train(task)


def list_all(ratings: Ratings, seed: int, ensemble: int) -> list[set[int]]:
    lists = train(ratings, seed, ensemble=ensemble).ranker.recommend(np.arange(80, dtype=np.int32), 10)
    return [set(lists.items[lists.users == user].tolist()) for user in range(80)]


def test_two_ensembles_agree_more_than_two_models(ratings: Ratings) -> None:
    agreement = {}
    for ensemble in (1, 5):
        lists = [list_all(ratings, seed, ensemble) for seed in (1, 2, 3)]
        agreement[ensemble] = np.mean(
            [len(a & b) / len(a | b) for one, other in combinations(lists, 2) for a, b in zip(one, other, strict=True)]
        )
    assert agreement[5] > agreement[1] + 0.1


def test_an_ensemble_is_trained_one_after_the_other_from_the_same_random_numbers(ratings: Ratings) -> None:
    parameters = Hyperparameters(factors=20)
    single, random = Recipe(parameters, refit=False, fit=choose_fit(parameters)), np.random.RandomState(7)
    alone = [learn(ratings, single, random, TEST_SHARE, lambda: lambda: None) for _ in range(3)]

    factors, measures = learn(
        ratings, replace(single, ensemble=3), np.random.RandomState(7), TEST_SHARE, lambda: lambda: None
    )

    expected = average(iter([one for one, _ in alone]), 3)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(factors.learned(), expected.learned(), strict=True))
    assert measures.rmse == np.mean([each.rmse for _, each in alone])
    assert measures.variance == np.mean([each.variance for _, each in alone])
    assert factors.item_factors.shape == (60, 3 * 20)


@pytest.mark.parametrize(("ensemble", "factors"), [(1, 100), (2, 300), (5, 600)])
def test_the_memory_check_knows_all_factors(ensemble: int, factors: int) -> None:
    trainer = trainer_of({"recipe": "svd", "ensemble": ensemble})
    assert isinstance(trainer, SvdTrainer)
    assert trainer.factors == factors
