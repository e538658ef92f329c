"""What the operator left behind, never believed: an exit code of 0 says nothing about it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training.processes import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recdeploy_ops.settings import SourceSettings
    from recdeploy_ops.training.inputs import Inputs

CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class Counted:
    """How much is in ``recommendations.csv``."""

    rows: int
    users: int


def read_measures(work: Path, last_lines: Sequence[str]) -> dict[str, float]:
    """Return ``rmse`` and ``mae``.

    Raises:
        TrainingFailedError: the operator measured nothing, or no number, or learned none.
    """
    try:
        measures = json.loads((work / "measures.json").read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise _failed("measured nothing", last_lines) from err
    found = {name: float(measures[name]) for name in ("rmse", "mae")}
    if not all(map(math.isfinite, found.values())):
        raise _failed(f"measured {found}, which are no numbers", last_lines)
    if not measures["finite"]:
        raise _failed(
            "learned factors that are no finite numbers: SGD has diverged, and every score is a guess. "
            "Lower training.learning_rate, or let interactions.sql scale the ratings down",
            last_lines,
        )
    return found


def verify_outputs(outputs: Path, inputs: Inputs, source: SourceSettings, last_lines: Sequence[str]) -> Counted:
    """Check that the outputs are there and that ids and scores are what they should be.

    Raises:
        TrainingFailedError: an output is missing or empty, a score is not finite, or an id is not one of
            those that the operator was given.
    """
    for name in ("recommendations.csv", "report.html"):
        if not (outputs / name).is_file() or not (outputs / name).stat().st_size:
            raise _failed(f"wrote no {name}", last_lines)
    columns = [source.user_column, source.item_column, source.rating_column]
    known_users, known_items = pd.Index(inputs.users.to_pandas()), pd.Index(inputs.items.to_pandas())
    rows = 0
    with_list = np.zeros(len(known_users), dtype=bool)
    for chunk in read_recommendations(outputs / "recommendations.csv"):
        if list(chunk.columns) != columns:
            raise _failed(f"wrote the columns {list(chunk.columns)}, expected are {columns}", last_lines)
        users = known_users.get_indexer(chunk[columns[0]])
        _require(users >= 0, chunk, f"ids in {columns[0]} that it was not given", last_lines)
        items = known_items.get_indexer(chunk[columns[1]])
        _require(items >= 0, chunk, f"ids in {columns[1]} that it was not given", last_lines)
        scores = pd.to_numeric(chunk[columns[2]], errors="coerce").to_numpy(dtype=float)
        _require(np.isfinite(scores), chunk, f"values of {columns[2]} that are no finite numbers", last_lines)
        with_list[users] = True
        rows += len(chunk)
    if not rows:
        raise _failed("wrote a recommendations.csv without rows", last_lines)
    return Counted(rows, int(with_list.sum()))


def verify_new_users(path: Path, inputs: Inputs, source: SourceSettings, top_k: int, last_lines: Sequence[str]) -> int:
    """Check the list for new users that the engine wrote, and return its length.

    Raises:
        TrainingFailedError: it is empty or too long, or has an item twice, one that is not in the catalogue, or a
            score that is not finite.
    """
    columns = [source.item_column, source.rating_column]
    rows = pd.concat(read_recommendations(path))
    if list(rows.columns) != columns or not 0 < len(rows) <= top_k:
        raise _failed(f"wrote {len(rows)} rows of {list(rows.columns)} into {path.name}", last_lines)
    items, scores = rows[columns[0]], pd.to_numeric(rows[columns[1]], errors="coerce").to_numpy(dtype=float)
    known = items.isin(inputs.items.to_pandas()).to_numpy() & ~items.duplicated().to_numpy()
    _require(known, rows, f"ids in {columns[0]} that it was not given, or twice,", last_lines, path.name)
    _require(np.isfinite(scores), rows, f"values of {columns[1]} that are no finite numbers", last_lines, path.name)
    return len(rows)


def read_recommendations(path: Path) -> Iterator[pd.DataFrame]:
    """Yield ``recommendations.csv`` in pieces, every value as the text that stands there."""
    with pd.read_csv(
        path, dtype=str, keep_default_na=False, na_filter=False, chunksize=CHUNK_ROWS, encoding="utf-8"
    ) as chunks:
        yield from chunks


def _require(
    right: Any, chunk: pd.DataFrame, what: str, last_lines: Sequence[str], file: str = "recommendations.csv"
) -> None:
    wrong = np.flatnonzero(~right)
    if wrong.size:
        first = ", ".join(map(repr, chunk.iloc[int(wrong[0])]))
        raise _failed(f"wrote {wrong.size} {what} into {file} (first: {first})", last_lines)


def _failed(what: str, last_lines: Sequence[str]) -> TrainingFailedError:
    return TrainingFailedError(f"The ADS operator ended with exit code 0, but {what}. {quoted(last_lines)}")
