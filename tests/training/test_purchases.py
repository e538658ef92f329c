"""Shops of purchases instead of ratings: what the gates say of ratings that hardly differ."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from shops import extract, make_shop, settings_with, source_of

from recdeploy_ops.domain.gates.changes import judge_lists_alone
from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict
from recdeploy_ops.evaluation.behaviour import Folders, measure_files
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = settings_with()
NOW = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)


def fill_shop(file: Path, users: int, items: int, bought: int, rate: Callable[[np.random.Generator], float]) -> Path:
    """Write a shop of two tastes: even users bought even items, odd users odd ones."""
    random = np.random.default_rng(5)
    rows = [
        (f"u{user:03}", f"p{item:02}", rate(random), (NOW - dt.timedelta(hours=1 + user)).isoformat())
        for user in range(users)
        for item in random.choice(np.arange(user % 2, items, 2), bought, replace=False)
    ]
    return make_shop(
        file,
        interactions=rows,
        users=[(f"u{user:03}", "") for user in range(users)],
        products=[(f"p{item:02}", f"Title {item}", "") for item in range(items)],
        kind="TEXT",
    )


def judge(folder: Path, file: Path) -> dict[str, Finding]:
    """Return what the data gate says of a shop, by gate."""
    facts = extract(folder, source_of(file))
    findings = judge_data(measure_data(folder, SETTINGS, facts), SETTINGS.gates, NOW).findings
    return {finding.gate: finding for finding in findings}


def judge_lists(extracted: Path, results: Path) -> dict[str, Any]:
    """Train on an extract; return what the gates say that need neither a champion nor twins, by gate."""
    results.mkdir()
    train(extracted, results, SETTINGS, top_k=5, seed=42, report=lambda line: None)
    measured, _ = measure_files(Folders(results=results, extract=extracted), None, None, settings=SETTINGS)
    findings = judge_lists_alone(measured.own, measured.tied, measured.users, SETTINGS.gates.lists)
    return {finding.gate: finding for finding in findings}


def test_purchases_as_ones_are_rejected_before_training_and_the_message_says_what_to_return(tmp_path: Path) -> None:
    file = fill_shop(tmp_path / "shop.db", users=60, items=40, bought=8, rate=lambda random: 1.0)

    findings = judge(tmp_path / "extract", file)

    assert [gate for gate, finding in findings.items() if finding.verdict is not Verdict.PASS] == ["rating_spread"]
    spread = findings["rating_spread"]
    assert spread.verdict is Verdict.FAIL
    assert "Every interaction has the rating 1, so a model of ratings learns nothing" in spread.message
    assert "let interactions.sql return a rating that differs" in spread.message


NEAR_CONSTANT: dict[str, tuple[Callable[[np.random.Generator], float], str, dict[str, Verdict]]] = {
    "98 % ones": (
        lambda random: 1.0 if random.random() < 0.98 else 0.5,
        "have the rating 1: there is hardly anything to learn from",
        {"shared_lists": Verdict.PASS, "tied_scores": Verdict.HOLD},
    ),
    "80 % fives": (
        lambda random: 5.0 if random.random() < 0.8 else float(random.integers(1, 5)),
        "have the rating 5: there is hardly anything to learn from",
        {"shared_lists": Verdict.PASS, "tied_scores": Verdict.PASS},
    ),
}


@pytest.mark.more
@pytest.mark.parametrize(("rate", "words", "verdicts"), NEAR_CONSTANT.values(), ids=NEAR_CONSTANT)
def test_ratings_that_hardly_differ_are_held_and_shown_with_the_shares_of_tied_and_of_shared_lists(
    tmp_path: Path, rate: Callable[[np.random.Generator], float], words: str, verdicts: dict[str, Verdict]
) -> None:
    file = fill_shop(tmp_path / "shop.db", users=300, items=60, bought=12, rate=rate)

    spread = judge(tmp_path / "extract", file)["rating_spread"]
    lists = judge_lists(tmp_path / "extract", tmp_path / "results")

    assert spread.verdict is Verdict.HOLD
    assert words in spread.message
    assert {gate: finding.verdict for gate, finding in lists.items()} == verdicts
    assert "% of the users have a list that another user has too" in lists["shared_lists"].message
    assert "% of the lists have the same score for every item" in lists["tied_scores"].message
