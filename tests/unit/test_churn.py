"""Why lists change: what the seed, new data and settings explain, and what no training tells apart."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from recdeploy_ops.domain.churn import APART, NO_TWINS, UNKNOWN, Churn, name_changed

WEEK = Churn(lost=3.0, beyond=0.4, low=0.3, high=0.5, has_seed=True, has_new_data=True, changed=())
FACTORS = ("factors",)


@pytest.mark.parametrize(
    ("churn", "items"),
    [
        pytest.param(WEEK, (2.6, 0.4, 0.0), id="a normal week"),
        pytest.param(replace(WEEK, beyond=-0.1), (3.0, 0.0, 0.0), id="less than by chance"),
        pytest.param(replace(WEEK, has_seed=False, beyond=3.0), (0.0, 3.0, 0.0), id="a recipe without a seed"),
        pytest.param(replace(WEEK, has_new_data=False, changed=FACTORS), (2.6, 0.0, 0.4), id="other settings"),
        pytest.param(replace(WEEK, has_new_data=False), (3.0, 0.0, 0.0), id="only another seed"),
        pytest.param(replace(WEEK, changed=FACTORS), (2.6, None, None), id="new data and other settings"),
        pytest.param(replace(WEEK, changed=None), (2.6, None, None), id="an unknown recipe"),
        pytest.param(replace(WEEK, beyond=None), (None, None, 0.0), id="no twins"),
        pytest.param(
            replace(WEEK, beyond=None, has_new_data=False, changed=FACTORS),
            (None, 0.0, None),
            id="no twins, other settings",
        ),
    ],
)
def test_what_each_reason_changes(churn: Churn, items: tuple[float | None, ...]) -> None:
    parts = churn.split()
    assert [part.title for part in parts] == ["The seed", "New data", "Settings and recipe"]
    assert tuple(part.items for part in parts) == pytest.approx(items)
    reasons = {APART.format("factors"), UNKNOWN, NO_TWINS}
    assert all((part.note in reasons) == (part.items is None) for part in parts)
    assert Churn.from_plain({**asdict(churn), "changed": churn.changed and list(churn.changed)}) == churn


def test_the_interval_stands_beside_what_it_is_of() -> None:
    assert [(part.low, part.high) for part in WEEK.split()] == [(None, None), (0.3, 0.5), (None, None)]
    data = replace(WEEK, beyond=-0.1, low=-0.3, high=0.1).split()[1]
    assert (data.items, data.low, data.high) == (0, 0, 0.1)


@pytest.mark.parametrize(
    ("churn", "together"),
    [
        (WEEK, None),
        (replace(WEEK, has_new_data=False, changed=FACTORS), None),
        (replace(WEEK, changed=FACTORS, beyond=None), None),
        (replace(WEEK, changed=FACTORS), 0.4),
    ],
)
def test_data_and_settings_are_told_together_where_they_cannot_be_told_apart(
    churn: Churn, together: float | None
) -> None:
    assert (churn.together and churn.together.items) == together


SVD = {"recipe": "svd", "engine": "exact", "factors": 100, "ensemble": 1}


@pytest.mark.parametrize(
    ("candidate", "champion", "changed"),
    [
        (SVD, SVD, ()),
        (SVD, {**SVD, "engine": "stock"}, ()),
        (SVD, {"engine": "exact", "factors": 100}, ()),
        (SVD, {**SVD, "factors": 50}, ("factors",)),
        ({**SVD, "ensemble": 5}, {**SVD, "factors": 50}, ("ensemble", "factors")),
        ({"recipe": "ease", "implicit": False}, SVD, ("recipe",)),
    ],
)
def test_only_settings_that_change_lists_are_named(
    candidate: dict[str, object], champion: dict[str, object], changed: tuple[str, ...]
) -> None:
    inputs = [{"model": model, "top_k": 10} for model in (candidate, champion)]
    assert name_changed(*inputs) == changed
    assert set(name_changed(inputs[0], {**inputs[1], "top_k": 20}) or ()) == {*changed, "top_k"}


def test_of_an_unknown_recipe_nothing_is_known() -> None:
    assert name_changed({"model": SVD, "top_k": 10}, {"top_k": 10}) is None
    assert name_changed({"top_k": 10}, {"model": SVD, "top_k": 10}) is None
