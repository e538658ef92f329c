"""The exact engine against ADS's own operator: the same bytes, and no failure where ADS fails."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import caching
from surprise import accuracy

from benchmarks.edge_cases import EDGE_CASES, SMALL, Data, make_data, numbers
from benchmarks.operators import STOCK, build, read_report, run
from include.training import kernels, progress, scoring, sgd, trainsets
from include.training.factors import Factors, Hyperparameters, clip, estimate
from include.training.metrics import measure
from include.training.models import ExactModel, OutputError, StockModel
from include.training.scoring import Scorer
from include.training.tables import read_interactions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for measures.json


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of progress, with one for every step."""
    told: list[str] = []
    for module in (progress, sgd):
        monkeypatch.setattr(module, "tell", told.append)
    monkeypatch.setattr("include.training.models.tell", told.append)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0.0)
    return told


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, where SGD diverges
@pytest.mark.parametrize("case", EDGE_CASES)
def test_the_whole_operator_writes_the_same_bytes_as_stock(case: str, tmp_path: Path) -> None:
    data = EDGE_CASES[case]
    stock, exact = run(STOCK, data, tmp_path / "stock"), run(ExactModel, data, tmp_path / "exact")

    assert (stock / "recommendations.csv").read_bytes().count(b"\n") > 1
    assert (exact / "recommendations.csv").read_bytes() == (stock / "recommendations.csv").read_bytes()
    assert read_report(exact) == read_report(stock)


def test_tables_read_by_ads_give_the_same_bytes(tmp_path: Path) -> None:
    data = EDGE_CASES["integers"]
    stock = run(STOCK, data, tmp_path / "stock", file_type="csv")
    exact = run(ExactModel, data, tmp_path / "exact", file_type="csv")

    assert (exact / "recommendations.csv").read_bytes() == (stock / "recommendations.csv").read_bytes()


@st.composite
def small_data(draw: st.DrawFn) -> Data:
    users, items = draw(st.integers(1, 12)), draw(st.integers(2, 15))
    count = draw(st.integers(2, 120))
    values = draw(
        st.sampled_from(
            [
                st.integers(1, 5),
                st.integers(-1, 0),
                st.just(1),
                st.sampled_from([0.5, 1.0, 4.5, 5.0]),
                st.floats(-100, 100, allow_nan=False),
                st.floats(1, 1.0000001),
                st.sampled_from([0.0, 1e9]),
            ]
        )
    )
    rows = draw(
        st.lists(st.tuples(st.integers(0, users), st.integers(0, items), values), min_size=count, max_size=count)
    )
    raters, rated, ratings = zip(*rows, strict=True)
    catalogue = draw(st.permutations(range(items + 2)))
    # The unrated items and the new user: stock fails if there is nothing to recommend.
    return make_data(
        [f"u{number}" for number in raters],
        [f"i{number}" for number in rated],
        list(ratings),
        users=[*(f"u{number}" for number in range(users)), "new"],
        items=[f"i{number}" for number in catalogue],
        top_k=draw(st.integers(1, 20)),
        seed=draw(st.integers(0, 2**32 - 1)),
        parameters=Hyperparameters(draw(st.sampled_from([1, 2, 7, 12, 100])), draw(st.integers(1, 20))),
    )


def assert_same_as_stock(data: Data) -> pd.DataFrame:
    """Compare both models; return the recommendations."""
    frame, metrics, new_users = build(STOCK, data)
    ours, our_metrics, our_new_users = build(ExactModel, data)

    pd.testing.assert_frame_equal(ours, frame, check_exact=True)
    assert ours.to_csv(index=False) == frame.to_csv(index=False)
    assert our_metrics == metrics
    assert [(item, float(score)) for item, score in our_new_users] == [(i, float(score)) for i, score in new_users]
    return ours


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(data=small_data())
def test_any_small_data_give_the_same_as_stock(data: Data) -> None:
    assert_same_as_stock(data)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, for the mean of nothing
def test_a_single_rating_that_is_held_out_gives_the_same_as_stock() -> None:
    data = make_data(["u1"], ["i1"], [3.0], users=["u1", "u2"], items=["i1", "i2", "i3"])
    assert len(assert_same_as_stock(data)) == 5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1e8, 1e200]), top_k=st.integers(1, 60))
def test_no_item_is_lost_between_approximate_and_exact_scores(seed: int, scale: float, top_k: int) -> None:
    """For factors of any size: most scores are at the bounds, or differ by the rounding of a float32."""
    users, items = 9, 300
    ratings, factors, catalogue = draw_scores(np.random.default_rng(seed), users, items, scale)
    known_users = np.append(np.arange(users), -1).astype(np.int32)
    with np.errstate(all="ignore"):
        lists = Scorer(ratings, factors, catalogue).recommend(known_users, top_k)

        for row, user in enumerate(known_users):
            rated = set(ratings.items[ratings.users == user].tolist())
            unrated = [position for position, item in enumerate(catalogue) if item not in rated]
            known = [catalogue[position] if catalogue[position] < items else None for position in unrated]
            inner_items = np.array([-1 if item is None else factors.inner_items[item] for item in known])
            inner_users = np.full(len(unrated), factors.inner_users[user] if user >= 0 else -1)
            scores = clip(estimate(factors, inner_users, inner_items), 1.0, 5.0)
            best = sorted(zip(-scores, unrated, strict=True))[:top_k]
            of_user = lists.users == row
            assert lists.items[of_user].tolist() == [position for _, position in best]
            assert lists.scores[of_user].tolist() == [-score for score, _ in best]


def draw_scores(
    random: np.random.Generator, users: int, items: int, scale: float
) -> tuple[trainsets.Ratings, Factors, pd.Index[Any]]:
    """Return ratings, factors without some users and items, and a catalogue with some unrated items."""
    near = 1 + random.integers(-2, 3, (items, 1)) * 2.0**-24
    factors = Factors(
        mean=np.float64(3.0),
        user_biases=random.normal(0, scale, users),
        item_biases=np.repeat(random.normal(0, scale, items // 3), 3),
        user_factors=random.normal(0, scale, (users, 10)),
        item_factors=np.repeat(random.normal(0, scale, (items // 10, 10)), 10, axis=0) * near,
        inner_users=np.where(random.random(users) < 0.8, np.arange(users), -1).astype(np.int32),
        inner_items=np.where(random.random(items) < 0.9, np.arange(items), -1).astype(np.int32),
    )
    count = 45 * users
    rated = random.integers(0, users, count).astype(np.int32), random.integers(0, items, count).astype(np.int32)
    ratings = trainsets.Ratings(*rated, np.ones(count), pd.RangeIndex(users), pd.RangeIndex(items), 1.0, 5.0)
    return ratings, factors, pd.Index(random.permutation(items + 5))


def test_blocks_of_users_in_several_threads_give_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(*draw_scores(np.random.default_rng(1), 150, 300, 0.3))
    users, threads, advances = np.arange(150, dtype=np.int32), set[int](), list[int]()
    monkeypatch.setattr(scoring, "estimate", lambda *arguments: (threads.add(get_ident()), estimate(*arguments))[1])
    expected = scorer.recommend(users, 7, threads=4)
    assert threads == {get_ident()}, "so few scores are not worth another thread"

    monkeypatch.setattr(scoring, "BLOCK_SCORES", 1)
    lists = scorer.recommend(users, 7, threads=4, advance=advances.append)

    assert len(threads) > 1
    assert advances == [32, 32, 32, 32, 22]
    for column in ("users", "items", "scores"):
        assert np.array_equal(getattr(lists, column), getattr(expected, column))


def test_metrics_equal_those_of_surprise_to_the_last_bit() -> None:
    drawn = np.random.default_rng(1).normal(0, 1, 100_000).tolist()
    odd = [error for error in drawn if error**2 > error * error]  # error**2 is not always error * error
    assert len(odd) > 20
    for last in range(2, len(odd)):
        codes, one = np.zeros(last, np.int32), np.zeros(1, np.int32)
        ratings = trainsets.Ratings(codes, codes, np.array(odd[:last]), pd.Index(["u"]), pd.Index(["i"]), -9.0, 9.0)
        nothing = np.float64(0), np.zeros(1), np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2))
        rmse, mae = measure(Factors(*nothing, one, one), ratings, np.arange(last))

        predictions = [("u", "i", error, np.float64(0), {}) for error in odd[:last]]
        assert rmse == accuracy.rmse(predictions, verbose=False)
        assert mae == accuracy.mae(predictions, verbose=False)


# Input for which ADS fails


def test_duplicate_users_get_duplicate_rows_and_a_report(tmp_path: Path) -> None:
    once = numbers(SMALL)
    twice = dataclasses.replace(once, users=[*once.users, once.users[4], once.users[2]])
    with pytest.raises(ValueError, match="duplicate entries"):
        run(STOCK, twice, tmp_path / "stock")

    exact = run(ExactModel, twice, tmp_path / "exact")

    written = pd.read_csv(exact / "recommendations.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(written, build(STOCK, twice)[0], check_exact=True)
    assert "Sample Recommendations" in read_report(exact)


def test_no_report_is_written_if_it_is_disabled(tmp_path: Path) -> None:
    with pytest.raises(UnboundLocalError):
        run(STOCK, SMALL, tmp_path / "stock", generate_report=False)

    exact = run(ExactModel, SMALL, tmp_path / "exact", generate_report=False)

    assert {path.name for path in exact.iterdir()} == {"recommendations.csv", "new_users.csv"}
    with_report = run(ExactModel, SMALL, tmp_path / "with report")
    for name in ("recommendations.csv", "new_users.csv"):
        assert (exact / name).read_bytes() == (with_report / name).read_bytes()


def test_a_fully_rated_catalogue_gives_no_rows(tmp_path: Path) -> None:
    full = make_data(*zip(*((f"u{u}", f"i{i}", 3.0) for u in range(4) for i in range(3)), strict=True))
    with pytest.raises(KeyError):
        run(STOCK, full, tmp_path / "stock")

    exact = run(ExactModel, full, tmp_path / "exact")

    assert (exact / "recommendations.csv").read_text() == "user,item,rating\n"


@pytest.mark.parametrize("model", [StockModel, ExactModel])
def test_a_list_that_cannot_be_written_is_a_failure(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OutputError, match=r"Cannot write outputs/recommendations\.csv: .*No space left on device"):
        run(model, SMALL, tmp_path / "full")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rating", float("nan"), "no finite number in rating"),
        ("user", None, "no id in user"),
        ("item", None, "no id in item"),
    ],
)
def test_an_invalid_interaction_is_refused(column: str, value: Any, message: str) -> None:
    interactions = SMALL.interactions.astype({"rating": float})
    interactions.loc[7, column] = value
    with pytest.raises(ValueError, match=f"1 interactions have {message}"):
        build(ExactModel, dataclasses.replace(SMALL, interactions=interactions))


# The list for new users


def test_the_list_for_new_users_is_written_with_all_digits(tmp_path: Path) -> None:
    exact = run(ExactModel, SMALL, tmp_path / "exact")
    written = pd.read_csv(exact / "new_users.csv", float_precision="round_trip")
    _, _, expected = build(STOCK, SMALL)

    assert list(written.columns) == ["item", "rating"]
    assert list(written.itertuples(index=False, name=None)) == expected


def test_a_user_named_new_user_does_not_change_the_list_for_new_users(tmp_path: Path) -> None:
    exact = run(ExactModel, EDGE_CASES["a user named like someone new"], tmp_path / "exact")
    usual = run(ExactModel, SMALL, tmp_path / "usual")

    assert (exact / "new_users.csv").read_bytes() == (usual / "new_users.csv").read_bytes()


# Hyper-parameters and refit


@pytest.mark.parametrize(
    "parameters",
    [
        Hyperparameters(factors=7),
        Hyperparameters(epochs=3),
        Hyperparameters(100, 20, 0.02, 0.02),
        Hyperparameters(100, 20, 0.005, 0.3),
    ],
)
def test_both_engines_honour_hyperparameters(parameters: Hyperparameters) -> None:
    changed = dataclasses.replace(SMALL, parameters=parameters)
    exact, usual = build(ExactModel, changed), build(ExactModel, SMALL)

    assert exact[1] != usual[1]
    for model in (STOCK, StockModel):
        assert build(model, changed)[0].equals(exact[0])


def test_a_refit_trains_on_all_ratings_and_keeps_the_metrics() -> None:
    usual, metrics, _ = build(ExactModel, SMALL)
    refitted, same_metrics, new_users = build(ExactModel, SMALL, refit=True)

    assert same_metrics == metrics
    assert not refitted.equals(usual)
    algorithm = fitted_on_everything(SMALL)
    for user, item, score in refitted.itertuples(index=False, name=None):
        assert algorithm.predict(user, item).est == score
    for item, score in new_users:
        assert algorithm.predict("nobody", item).est == score


def test_an_ensemble_of_one_is_stock_and_one_of_more_is_not() -> None:
    usual, metrics, new_users = build(ExactModel, SMALL, ensemble=1)
    averaged, other_metrics, _ = build(ExactModel, SMALL, ensemble=3)

    stock, stock_metrics, stock_new_users = build(STOCK, SMALL)
    assert usual.equals(stock)
    assert (metrics, new_users) == (stock_metrics, stock_new_users)
    assert not averaged.equals(usual)
    assert other_metrics != metrics


def fitted_on_everything(data: Data) -> Any:
    """What a user of scikit-surprise would do: measure on a fifth, then fit the full trainset."""
    from surprise import SVD, Dataset, Reader
    from surprise.model_selection import train_test_split

    ratings = data.interactions["rating"]
    dataset = Dataset.load_from_df(data.interactions, Reader(rating_scale=(ratings.min(), ratings.max())))
    np.random.seed(data.seed)
    trainset, _ = train_test_split(dataset, test_size=0.2)
    return SVD().fit(trainset).fit(dataset.build_full_trainset())


# The compiled SGD and its fallback


def wrong_in_the_last_bit(*arguments: Any) -> None:
    """Run the compiled loop, and change the last bit of one result."""
    kernels.descend(*arguments)
    arguments[0][0] = np.nextafter(arguments[0][0], 1)


def test_a_compiled_loop_with_another_result_is_replaced_by_surprise(lines: list[str]) -> None:
    fit = sgd.choose_fit(Hyperparameters(), descend=wrong_in_the_last_bit)

    assert fit is sgd.fit_in_surprise
    [warning] = [line for line in lines if line.startswith("WARNING")]
    assert "differs from scikit-surprise's" in warning
    assert build(ExactModel, SMALL, fit=fit)[0].equals(build(STOCK, SMALL)[0])


def test_the_compiled_loop_is_chosen_here(lines: list[str]) -> None:
    assert sgd.choose_fit(Hyperparameters()) is not sgd.fit_in_surprise
    assert not [line for line in lines if line.startswith("WARNING")]


def test_loops_are_compiled_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    assert kernels.compiled(kernels.group_rows.py_func)(np.array([1, 0, 1]), 2)[0].tolist() == [1, 0, 2]


def test_choosing_a_loop_does_not_use_the_global_random_state() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    sgd.choose_fit(Hyperparameters())
    assert np.random.random() == expected


# Progress and measures


def test_progress_shows_share_rate_and_time_left(lines: list[str]) -> None:
    build(ExactModel, SMALL)

    rate = r"[\d,.]+/s, [\d,]+ s left"
    assert lines[0] == f"Fitting 400 interactions of {len(SMALL.users)} users"
    assert any(re.fullmatch(rf"Fitted 10 of 20 epochs \(50%\), {rate}", line) for line in lines)
    assert any(re.fullmatch(rf"Scored 40 of 40 users \(100%\), {rate}", line) for line in lines)
    assert lines[-1] == "Scored all users: 200 recommendations"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("case", "finite"), [("texts", True), ("counts without end", False)])
@pytest.mark.parametrize("model", [StockModel, ExactModel])
def test_measures_show_whether_sgd_diverged(model: Any, case: str, finite: bool, tmp_path: Path) -> None:
    _, metrics, _ = build(model, EDGE_CASES[case])
    measures = json.loads((tmp_path / "measures.json").read_text())

    assert measures.pop("variance") > 0
    assert measures == {"rmse": metrics["RMSE"], "mae": metrics["MAE"], "finite": finite}


def test_both_models_measure_the_variance_of_the_same_held_out_ratings(tmp_path: Path) -> None:
    variances = []
    for model in (StockModel, ExactModel):
        build(model, SMALL)
        variances.append(json.loads((tmp_path / "measures.json").read_text())["variance"])

    everything = np.var(SMALL.interactions["rating"].to_numpy(float))
    assert variances[0] == variances[1] != everything
    assert variances[0] == pytest.approx(everything, rel=0.5)


def test_interactions_are_read_as_categories_in_order_of_appearance(tmp_path: Path) -> None:
    rows: Iterator[tuple[str, str, float]] = ((f"u{n % 3}", f"i{9 - n}", n / 2) for n in range(9))
    table = pd.DataFrame(rows, columns=["user", "item", "rating"])
    table.to_parquet(tmp_path / "interactions.parquet", row_group_size=4)

    interactions = read_interactions(str(tmp_path / "interactions.parquet"), ["user", "item"], "rating")

    assert interactions["user"].cat.categories.tolist() == ["u0", "u1", "u2"]
    pd.testing.assert_frame_equal(interactions.astype({"user": object, "item": object}), table)
