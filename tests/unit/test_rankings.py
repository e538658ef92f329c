"""The configured recipe beside others: what the report says of it, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recdeploy_ops.domain.rankings import POPULARITY, RANDOM, Ranked, Rankings
from recdeploy_ops.evaluation.backtests import HeldOut, rank_recipes

OWN = Ranked("svd", 0.1)
BETTER = Ranked("ease", 0.4, 3.0, 2.5, 3.5)
RANKINGS = Rankings(OWN, (BETTER, Ranked(RANDOM, 0.01, -0.9)), depth=100, users=900)


def test_a_challenger_that_is_clearly_better_is_named_with_the_setting_to_change() -> None:
    [sentence] = RANKINGS.describe()
    assert sentence == (
        "The recipe ease would rank 300 % better than svd (95 % interval 250 % to 350 %; NDCG@100 0.4 against 0.1): "
        "set training.recipe to ease to release it next. It decides nothing about this release."
    )


def test_popular_items_that_rank_better_lead_to_other_recipes() -> None:
    [sentence] = replace(RANKINGS, others=(replace(BETTER, name=POPULARITY),)).describe()
    assert sentence.startswith("The most popular items would rank 300 % better than svd")
    assert "training.recipe ease or als ranks what people will take" in sentence


def test_nothing_is_said_of_what_may_be_chance_or_has_no_interval() -> None:
    others = (replace(BETTER, low=-0.01), replace(BETTER, low=None, high=None))
    assert replace(RANKINGS, others=others).describe() == ()


def test_why_the_challenger_is_missing_is_said() -> None:
    missing = replace(RANKINGS, others=(), why="it would take too long")
    assert missing.describe() == ("The challenger was not measured: it would take too long.",)


def test_rankings_are_read_as_they_were_written() -> None:
    assert Rankings.from_plain(RANKINGS.to_plain()) == RANKINGS
    assert replace(RANKINGS, configured=replace(OWN, quality=float("nan"))).to_plain()["configured"]["quality"] is None


def test_recipes_are_compared_on_what_was_held_out() -> None:
    users, items = [f"u{number}" for number in range(20)], ["a", "b", "c"]
    held_out = HeldOut.of_pairs(pa.array(users), pa.array(["a"] * 20), pa.array(items))
    late, early = np.tile(np.int32([1, 0]), (20, 1)), np.tile(np.int32([0, 1]), (20, 1))

    rankings = rank_recipes(("svd", [late, late]), {"ease": early, "popularity": late}, held_out, 0.3, "")

    ease, popularity, random = rankings.others
    assert (rankings.configured.name, rankings.users, rankings.depth) == ("svd", 20, 2)
    assert ease.quality == 1.0
    assert ease.is_clearly_better
    assert (popularity.relative, popularity.low, popularity.high) == (0, 0, 0)
    assert (random.name, random.quality, random.low) == ("random", 0.3, None)


def test_a_recipe_that_meets_nothing_has_no_relative_difference() -> None:
    held_out = HeldOut.of_pairs(pa.array(["u1", "u2"]), pa.array(["a", "a"]), pa.array(["a", "b"]))
    missing = np.int32([[1], [1]])
    rankings = rank_recipes(("svd", [missing]), {"ease": np.int32([[0], [0]])}, held_out, 0.5, "")
    assert [ranked.relative for ranked in rankings.others] == [None, None]
