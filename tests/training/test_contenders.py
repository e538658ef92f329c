"""Which items can be among the best, given approximate scores: against the definition, pair by pair."""

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
def test_whatever_can_be_among_the_best_is_kept(
    seed: int, items: int, top_k: int, margin: float, bounds: tuple[float, float]
) -> None:
    random, (low, high) = np.random.default_rng(seed), bounds
    scores = random.normal(size=(1, items)).round(1).astype(np.float32)  # many are equal
    rated = random.choice(items, random.integers(0, items + 1), replace=False).astype(np.int32)
    found, counts = np.empty(items, np.int32), np.empty(1, np.int64)
    lower, upper = (np.clip(scores[0].astype(float) + by, low, high) for by in (-margin, margin))

    end = select_contenders(
        scores,
        np.array([margin]),
        np.array([low]),
        np.array([high]),
        np.zeros(1, np.int32),
        np.array([0, len(rated)]),
        rated,
        min(top_k, items),
        found,
        counts,
    )

    left = np.setdiff1d(np.arange(items), rated)
    kept = found[:end].tolist()
    assert counts[0] == end
    assert kept == sorted(set(kept) & set(left.tolist())), "in the order of the catalogue, and nothing that is rated"
    for item in left:
        beaten_by = (lower[left] > upper[item]) | ((lower[left] == upper[item]) & (left < item))
        if beaten_by.sum() < top_k:
            assert item in kept
    if margin == 0 and low < scores.max() < high:
        assert len(kept) < top_k + (lower[left] == lower[kept].min()).sum(), "and little else"


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 5).map(float), max_size=30), min_size=1, max_size=5), top_k=st.integers(1, 12)
)
def test_the_best_of_each_row_come_in_order_and_of_equals_the_earlier_first(
    rows: list[list[float]], top_k: int
) -> None:
    scores, counts = np.array([score for row in rows for score in row]), np.array([len(row) for row in rows])
    best = np.empty(len(scores), np.int64)

    found = best[: rank_rows(scores, counts, top_k, best)]

    expected, start = list[int](), 0
    for row in rows:
        expected += [start + place for place in sorted(range(len(row)), key=lambda at: -row[at])[:top_k]]
        start += len(row)
    assert found.tolist() == expected
