"""The mathematics of the recipes that rank items, compared with dense references of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.training import scoring
from include.training.als import AlsParameters, fit_als
from include.training.ease_models import GRID, choose_regularization, fit_ease
from include.training.evidence import collect_evidence, weigh_counts
from include.training.popularity import Shelf, rate, scale_of
from include.training.recipes import Task, trainer_of
from include.training.trainsets import Ratings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SILENT: Callable[[], None] = lambda: None  # noqa: E731 - a constant that is called


def ratings_of(pairs: list[tuple[int, int]], users: int, items: int, values: Any = 1.0) -> Ratings:
    owners, taken = (np.array([pair[side] for pair in pairs], np.int32) for side in range(2))
    values = np.broadcast_to(np.asarray(values, float), len(pairs)).copy()
    return Ratings(
        owners, taken, values, pd.RangeIndex(users), pd.RangeIndex(items), lowest=values.min(), highest=values.max()
    )


def draw_ratings(seed: int, users: int, items: int, count: int) -> Ratings:
    random = np.random.default_rng(seed)
    pairs = {(int(random.integers(users)), int(random.zipf(1.4) % items)) for _ in range(count)}
    return ratings_of(sorted(pairs), users, items)


def dense_ease(taken: NDArray[np.float64], regularization: float) -> NDArray[np.float64]:
    """Return the scores of EASE (Steck 2019, its algorithm in a few lines)."""
    inverse = np.linalg.inv(taken.T @ taken + regularization * np.eye(taken.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.asarray(taken @ weights)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 30),
    items=st.integers(2, 40),
    regularization=st.sampled_from([0.5, 10.0, 500.0]),
    top_k=st.integers(1, 45),
)
def test_ease_lists_what_the_dense_reference_scores_highest(
    seed: int, users: int, items: int, regularization: float, top_k: int
) -> None:
    ratings = draw_ratings(seed, users, items, 3 * users)
    evidence = collect_evidence(ratings, implicit=False)
    shelf = Shelf.arrange(evidence, ratings.item_ids, pd.RangeIndex(items), top_k)
    expected = dense_ease(evidence.matrix.toarray(), regularization)
    expected[evidence.matrix.toarray() > 0] = -np.inf

    lists = fit_ease(evidence, shelf, regularization).recommend(np.arange(users, dtype=np.int32), top_k)

    for user in range(users):
        mine = lists.users == user
        best = np.sort(expected[user][np.isfinite(expected[user])])[::-1][:top_k]
        assert lists.scores[mine] == pytest.approx(best, abs=1e-5)
        assert lists.scores[mine] == pytest.approx(expected[user, shelf.positions[lists.items[mine]]], abs=1e-5)


def test_neither_threads_nor_the_other_users_of_a_block_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = draw_ratings(3, 400, 120, 6000)
    evidence = collect_evidence(ratings, implicit=False)
    scorer = fit_ease(evidence, Shelf.arrange(evidence, ratings.item_ids, pd.RangeIndex(120), 10), 50.0)
    users = np.arange(400, dtype=np.int32)
    usual = scorer.recommend(users, 10)
    monkeypatch.setattr(scoring, "BLOCK_SCORES", 1 << 12)
    threaded = scorer.recommend(users, 10, threads=4)
    alone = scorer.recommend(users[7:8], 10)

    assert (usual.items == threaded.items).all()
    assert (usual.scores == threaded.scores).all()
    assert (alone.scores == usual.scores[usual.users == 7]).all()


def test_of_equal_scores_the_more_popular_item_is_listed_first() -> None:
    pairs = [(0, 3), (1, 3), (2, 3), (0, 1), (1, 1), (2, 0)]
    ratings = ratings_of(pairs, users=4, items=6)
    trained = trainer_of({"recipe": "popularity"}).train(Task(ratings, pd.Index(range(8)), 8, np.random.RandomState(0)))

    lists = trained.ranker.recommend(np.int32([3, 0, -1]), 4)

    assert lists.items.tolist() == [3, 1, 0, 2, 0, 2, 4, 5, 3, 1, 0, 2]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30),
    st.sampled_from([(1.0, 5.0), (0.0, 1.0), (-3.0, 1e9)]),
)
def test_ratings_fall_where_scores_do_and_tie_where_scores_do(scores: list[float], scale: tuple[float, float]) -> None:
    ordered = np.array(sorted(scores, reverse=True))
    ratings = rate(np.zeros(len(ordered), np.int32), ordered, scale)
    assert (np.sign(np.diff(ratings)) == np.sign(np.diff(ordered))).all()
    assert (ratings <= scale[1]).all()
    assert (ratings >= scale[0] - 1e-6).all()


def test_scores_that_differ_in_the_last_bit_give_ratings_that_differ() -> None:
    scores = np.array([1.0, np.nextafter(1.0, 0), np.nextafter(1.0, 0), 0.5, 0.5, np.nextafter(0.5, 0)])
    ratings = rate(np.int32([0, 0, 0, 1, 1, 1]), scores, (1.0, 5.0))
    assert ratings[0] > ratings[1] == ratings[2]
    assert ratings[3] == ratings[4] > ratings[5]


@pytest.mark.parametrize(
    ("values", "implicit", "scale"),
    [([1, 5], False, (1, 5)), ([1, 1], False, (0, 1)), ([0, 0], False, (0, 1)), ([3, 9], True, (0, 1))],
)
def test_the_scale_is_the_shops(values: list[float], implicit: bool, scale: tuple[float, float]) -> None:
    assert scale_of(ratings_of([(0, 0), (1, 0)], 2, 1, values), implicit=implicit) == scale


def test_counts_weigh_by_their_logarithm_and_returned_purchases_nothing() -> None:
    assert weigh_counts(np.array([-2.0, 0.0, 1.0, 3.0, 7.0])).tolist() == [0, 0, 1, 2, 3]
    evidence = collect_evidence(ratings_of([(0, 0), (0, 0), (0, 1), (1, 1)], 2, 2, [1, 2, 0, 1]), implicit=True)
    assert evidence.matrix.toarray().tolist() == [[2, 0], [0, 1]]
    assert evidence.popularity.tolist() == [1, 1]
    assert evidence.silent_users.tolist() == [False, False]


def test_a_returned_purchase_is_no_evidence_and_not_recommended_again() -> None:
    pairs = [(user, item) for user in range(6) for item in range(3)] + [(6, 0), (7, 1)]
    ratings = ratings_of(pairs, 8, 4, [1.0] * 18 + [0.0, 1.0])
    trained = trainer_of({"recipe": "ease", "implicit": True}).train(
        Task(ratings, pd.RangeIndex(4), 4, np.random.RandomState(0))
    )
    lists = trained.ranker.recommend(np.int32([6]), 4)
    assert lists.items.tolist() == [1, 2, 3]


def test_the_regularization_is_chosen_on_held_out_evidence_without_any_seed() -> None:
    evidence = collect_evidence(draw_ratings(1, 300, 80, 4000), implicit=False)
    np.random.seed(1)
    choice = choose_regularization(evidence)
    np.random.seed(2)
    assert choose_regularization(evidence) == choice
    assert tuple(choice.quality) == GRID
    assert choice.quality[choice.regularization] == max(choice.quality.values())


def test_where_nothing_can_be_held_out_a_default_is_used() -> None:
    assert choose_regularization(collect_evidence(ratings_of([(0, 0)], 1, 1), implicit=False)).quality == {}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_als_solves_its_normal_equations(seed: int) -> None:
    parameters = AlsParameters(factors=6, epochs=60, regularization=3.0, weight=4.0)
    evidence = collect_evidence(draw_ratings(seed, 40, 25, 300), implicit=False)
    factors = fit_als(evidence, parameters, np.random.RandomState(1), 1, SILENT)
    taken = evidence.matrix[~evidence.silent_users][:, evidence.known].toarray()
    users, ridge = factors.user_factors, parameters.regularization * np.eye(parameters.factors)
    for item, of_users in enumerate(taken.T):
        confidence = np.where(of_users > 0, parameters.weight * of_users, 1.0)
        solved = np.linalg.solve(
            users.T @ (users * confidence[:, None]) + ridge, users.T @ (confidence * (of_users > 0))
        )
        assert factors.item_factors[item] == pytest.approx(solved, abs=2e-2 * np.abs(solved).max() + 1e-4)


def test_als_gives_equal_factors_for_equal_seeds_whatever_the_number_of_threads() -> None:
    evidence = collect_evidence(draw_ratings(2, 100, 60, 1500), implicit=False)
    one, two, other = (
        fit_als(evidence, AlsParameters(), np.random.RandomState(seed), threads, SILENT)
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    )
    assert (one.item_factors == two.item_factors).all()
    assert (one.user_factors == two.user_factors).all()
    assert not (one.item_factors == other.item_factors).all()


def test_an_unknown_recipe_is_an_error() -> None:
    with pytest.raises(ValueError, match="'magic' is not a recipe: svd, ease, als or popularity"):
        trainer_of({"recipe": "magic"})
