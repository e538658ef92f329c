"""Contenders: the items that can be among the best, given approximate scores, checked pair by pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from include.training.contenders import rank_rows, select_contenders


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 200),
    top_k=st.integers(1, 40),
    margin=st.sampled_from([0.0, 0.01, 0.1, 2.0, np.inf]),
    bounds=st.sampled_from([(-9.0, 9.0), (-0.5, 0.5), (1.0, 9.0), (-9.0, -1.0), (0.0, 0.0)]),
)
def test_every_possible_best_item_is_selected(
    seed: int, items: int, top_k: int, margin: float, bounds: tuple[float, float]
) -> None:
    random, (low, high) = np.random.default_rng(seed), bounds
    scores = random.normal(size=(1, items)).round(1).astype(np.float32)  # with many equal scores
    rated = random.choice(items, random.integers(0, items + 1), replace=False).astype(np.int32)
    selected, counts = np.empty(items, np.int32), np.empty(1, np.int64)
    lower, upper = (np.clip(scores[0].astype(float) + error, low, high) for error in (-margin, margin))

    end = select_contenders(
        scores,
        np.array([margin]),
        np.array([low]),
        np.array([high]),
        np.zeros(1, np.int32),
        np.array([0, len(rated)]),
        rated,
        min(top_k, items),
        selected,
        counts,
    )

    unrated = np.setdiff1d(np.arange(items), rated)
    contenders = selected[:end].tolist()
    assert counts[0] == end
    assert contenders == sorted(set(contenders) & set(unrated.tolist())), "in the order of the catalogue, none rated"
    for item in unrated:
        beaten_by = (lower[unrated] > upper[item]) | ((lower[unrated] == upper[item]) & (unrated < item))
        if beaten_by.sum() < top_k:
            assert item in contenders
    if margin == 0 and low < scores.max() < high:
        assert len(contenders) < top_k + (lower[unrated] == lower[contenders].min()).sum(), "only ties are added"


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 5).map(float), max_size=30), min_size=1, max_size=5), top_k=st.integers(1, 12)
)
def test_each_row_is_ranked_and_ties_keep_their_order(rows: list[list[float]], top_k: int) -> None:
    scores, counts = np.array([score for row in rows for score in row]), np.array([len(row) for row in rows])
    best = np.empty(len(scores), np.int64)

    ranked = best[: rank_rows(scores, counts, top_k, best)]

    expected, start = list[int](), 0
    for row in rows:
        order = sorted(range(len(row)), key=lambda position: -row[position])
        expected += [start + position for position in order[:top_k]]
        start += len(row)
    assert ranked.tolist() == expected
