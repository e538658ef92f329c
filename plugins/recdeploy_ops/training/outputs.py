"""Verification of the operator's outputs: an exit code of 0 says nothing about them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training.processes import quoted
from recdeploy_ops.training.recommendations import NEW_USERS, RECOMMENDATIONS, read_lists, read_new_users

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.domain.recipes import Recipe
    from recdeploy_ops.settings import SourceSettings
    from recdeploy_ops.training.inputs import Inputs
    from recdeploy_ops.training.recommendations import RankedLists

# Why a recipe learns numbers that are not finite, and what to do.
NOT_FINITE = {
    "svd": "SGD has diverged, and every score is a guess. Lower training.learning_rate, or let interactions.sql scale "
    "the ratings down.",
    "ease": "the counts overflow. Let interactions.sql scale the ratings down.",
    "als": "the counts overflow. Let interactions.sql scale the ratings down, or raise training.als.regularization.",
}


@dataclass(frozen=True)
class Counts:
    """The size of ``recommendations.csv``: its rows, and the users with a list."""

    rows: int
    users: int


def read_measures(work: Path, last_lines: Sequence[str], recipe: Recipe) -> dict[str, Any]:
    """Return what the recipe measured; with ratings ``rmse``, ``mae`` and ``variance``, that of the held-out ratings.

    Raises:
        TrainingFailedError: the operator measured nothing, or a measure or a learned number is not finite.
    """
    try:
        measures: dict[str, Any] = json.loads((work / "measures.json").read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise _failed("measured nothing.", last_lines) from err
    is_finite = measures.pop("finite", False)
    if recipe.predicts_ratings:
        errors = {name: float(measures[name]) for name in ("rmse", "mae", "variance")}
        if not all(map(math.isfinite, errors.values())):
            raise _failed(f"measured {errors}, which are not numbers.", last_lines)
    if not is_finite:
        raise _failed(f"learned factors that are not finite numbers: {NOT_FINITE[recipe.name]}", last_lines)
    return measures


def verify_outputs(outputs: Path, inputs: Inputs, source: SourceSettings, last_lines: Sequence[str]) -> Counts:
    """Verify that the outputs exist and have known ids and finite scores.

    Raises:
        TrainingFailedError: an output is missing or empty, a score is not finite, or an id is not one of
            those that the operator was given.
    """
    try:
        counts = _count_lists(outputs, inputs, source)
    except TrainingFailedError as err:
        raise _failed(str(err), last_lines) from err
    if not (outputs / "report.html").is_file() or not (outputs / "report.html").stat().st_size:
        raise _failed("wrote no report.html.", last_lines)
    return counts


def verify_new_users(
    outputs: Path, inputs: Inputs, source: SourceSettings, top_k: int, last_lines: Sequence[str]
) -> int | None:
    """Verify the list for new users that the engine wrote, and return its length; None if it wrote none.

    Raises:
        TrainingFailedError: it is empty or too long, or has an item twice, one that is not in the catalogue, or a
            score that is not finite.
    """
    try:
        ranking = read_new_users(outputs, source)
    except TrainingFailedError as err:
        raise _failed(str(err), last_lines) from err
    if ranking is None:
        return None
    if len(ranking) > top_k:
        raise _failed(f"wrote {len(ranking)} rows into {NEW_USERS}, more than the {top_k} asked for.", last_lines)
    unlisted = set(inputs.items.to_pylist())
    wrong = []
    for item, score in ranking:
        if item not in unlisted:
            wrong.append(f"{item!r}, {score!r}")
        unlisted.discard(item)
    if wrong:
        what = f"{len(wrong)} ids in {source.item_column} that it was not given, or twice,"
        raise _failed(f"wrote {what} into {NEW_USERS} (first: {wrong[0]}).", last_lines)
    return len(ranking)


def _count_lists(outputs: Path, inputs: Inputs, source: SourceSettings) -> Counts:
    """Return the size of ``recommendations.csv``.

    Raises:
        TrainingFailedError: it cannot be used, or has ids that the operator was not given.
    """
    known_users = {user: number for number, user in enumerate(inputs.users.to_pylist())}
    known_items = set(inputs.items.to_pylist())
    vocabulary: dict[str, int] = {}
    is_known = np.empty(0, dtype=bool)  # for each item of the vocabulary
    with_list = np.zeros(len(known_users), dtype=bool)
    wrong_users, wrong_items = _WrongIds(source.user_column), _WrongIds(source.item_column)
    rows = 0
    for lists in read_lists(outputs, source, vocabulary):
        users = np.array([known_users.get(user, -1) for user in lists.users.to_pylist()])
        new_items = islice(vocabulary, len(is_known), None)
        is_known = np.append(is_known, np.array([item in known_items for item in new_items], dtype=bool))
        wrong_users.note(lists, np.repeat(users < 0, np.diff(lists.bounds)), vocabulary)
        wrong_items.note(lists, ~is_known[lists.items], vocabulary)
        with_list[users[users >= 0]] = True
        rows += len(lists.items)
    wrong_users.refuse()
    wrong_items.refuse()
    return Counts(rows, int(with_list.sum()))


@dataclass
class _WrongIds:
    """Rows of ``recommendations.csv`` with an id that the operator was not given.

    Attributes:
        column: of the id.
        count: number of rows.
        first: user, item and score of the first one.
    """

    column: str
    count: int = 0
    first: tuple[str, str, float] | None = None

    def note(self, lists: RankedLists, is_wrong: NDArray[np.bool_], vocabulary: dict[str, int]) -> None:
        rows = np.flatnonzero(is_wrong)
        if rows.size and self.first is None:
            row = int(rows[0])
            owner = int(np.searchsorted(lists.bounds, row, side="right")) - 1
            item = next(islice(vocabulary, int(lists.items[row]), None))
            self.first = (lists.users[owner].as_py(), item, float(lists.ratings[row]))
        self.count += rows.size

    def refuse(self) -> None:
        if self.first is not None:
            first = ", ".join(map(repr, self.first))
            raise TrainingFailedError(
                f"{RECOMMENDATIONS} has {self.count:,} ids in {self.column} that the operator was not given "
                f"(first: {first}): train again."
            )


def _failed(what: str, last_lines: Sequence[str]) -> TrainingFailedError:
    return TrainingFailedError(f"The ADS operator ended with exit code 0, but {what} {quoted(last_lines)}")
