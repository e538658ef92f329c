"""Which list new users get, and what the report says of it."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from recdeploy_ops.domain.new_users import (
    BEST,
    OPERATOR,
    POPULARITY,
    Half,
    ListComparison,
    NewUserList,
    choose_new_users,
)
from recdeploy_ops.domain.recipes import ALS, EASE, SVD

BETTER = Half(94, 0.21, 0.54, 0.27, 0.39)
UNCLEAR = replace(BETTER, low=-0.01)
WORSE = Half(94, 0.4, 0.3, -0.15, -0.05)


def plain(choice: Half, judged: Half = BETTER) -> dict[str, Any]:
    return asdict(ListComparison(10, choice, judged))


@pytest.mark.parametrize(
    ("setting", "recipe", "measured", "kind", "why"),
    [
        (OPERATOR, SVD, plain(BETTER), OPERATOR, "training.new_users is operator"),
        (OPERATOR, SVD, None, OPERATOR, "training.new_users is operator"),
        (POPULARITY, SVD, {"why": "it is named"}, POPULARITY, "training.new_users is popularity"),
        (BEST, SVD, plain(BETTER), POPULARITY, "the most popular items rank clearly better"),
        (BEST, SVD, plain(UNCLEAR), OPERATOR, "the most popular items rank not clearly better"),
        (BEST, SVD, plain(WORSE), OPERATOR, "the most popular items rank not clearly better"),
        (BEST, SVD, {"why": "too few users"}, OPERATOR, "the two lists could not be compared"),
        (BEST, SVD, None, OPERATOR, "the two lists could not be compared"),
        (OPERATOR, EASE, None, POPULARITY, "the recipe ease predicts no ratings"),
        (BEST, ALS, None, POPULARITY, "the recipe als predicts no ratings"),
    ],
)
def test_which_list_new_users_get(setting: str, recipe: Any, measured: Any, kind: str, why: str) -> None:
    chosen = choose_new_users(setting, recipe, measured)
    assert (chosen.setting, chosen.kind) == (setting, kind)
    assert chosen.why.startswith(why)
    assert NewUserList.from_plain(chosen.to_plain()) == chosen


def test_a_choice_is_described_with_the_figures_of_both_halves() -> None:
    judged = Half(95, 0.2, 0.5, 0.25, 0.35)
    first, second = choose_new_users(BEST, SVD, plain(BETTER, judged)).describe()
    assert first == (
        "New users get the most popular items: the most popular items rank clearly better (NDCG@10 0.54 of the most "
        "popular items against 0.21 of ADS's list; 95 % interval of the difference 0.27 to 0.39; 94 users)."
    )
    assert second == (
        "On the half of the held-out users that judges: NDCG@10 0.5 of the most popular items against 0.2 of ADS's "
        "list; 95 % interval of the difference 0.25 to 0.35; 95 users."
    )


@pytest.mark.parametrize(
    ("setting", "choice", "judged", "advises"),
    [
        (OPERATOR, BETTER, BETTER, True),
        (OPERATOR, UNCLEAR, BETTER, False),
        (OPERATOR, BETTER, UNCLEAR, False),
        (OPERATOR, WORSE, WORSE, False),
        (BEST, BETTER, BETTER, False),  # new users get them
    ],
)
def test_another_setting_is_named_where_both_halves_say_so(
    setting: str, choice: Half, judged: Half, advises: bool
) -> None:
    sentences = choose_new_users(setting, SVD, plain(choice, judged)).describe()
    assert bool(re.search("set training.new_users to popularity, or to best", " ".join(sentences))) == advises


def test_why_nothing_was_compared_is_said() -> None:
    assert choose_new_users(OPERATOR, SVD, {"why": "too few users"}).describe()[1:] == (
        "Not compared with the other list: too few users.",
    )
    assert len(choose_new_users(OPERATOR, EASE, None).describe()) == 1
