"""The models that the gates compare with: all in one process, without ADS's operator and its report.

A job names up to two sides, the candidate's and the champion's: a folder with the operator's inputs, and a recipe. Each
model is one training on one side with a seed of its own. Its lists are stored as a matrix, a row per user and a column
per rank. With the same rows, recipe and seed the lists are those that the operator writes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from include.training.memory import Size, require_memory, require_time
from include.training.progress import Progress, tell
from include.training.recipes import Task, trainer_of
from include.training.scoring import usable_cpus
from include.training.tables import read_interactions
from include.training.trainsets import encode_ratings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from include.training.recipes import Trainer
    from include.training.scoring import Lists
    from include.training.trainsets import Ratings

HELD_OUT = "held_out.parquet"
MEASURES = "gate_models.json"


@dataclass(frozen=True)
class Columns:
    """Names of the columns of all tables."""

    user: str
    item: str
    rating: str


@dataclass(frozen=True)
class Model:
    """One training.

    Attributes:
        name: of the file with its lists.
        side: whose rows and recipe it has.
        seed: of its random numbers.
        depth: length of a list.
        is_backtest: whether the held-out interactions are left out, and only their users get lists.
    """

    name: str
    side: str
    seed: int
    depth: int
    is_backtest: bool


class Side:
    """The rows and the recipe of one side."""

    def __init__(self, folder: Path, columns: Columns, trainer: Trainer) -> None:
        """Read the operator's inputs.

        Args:
            folder: has ``interactions.parquet``, ``users.parquet`` and ``items.parquet``.
            columns: their names.
            trainer: of the recipe.
        """
        self._trainer = trainer
        names = [columns.user, columns.item]
        interactions = read_interactions(str(folder / "interactions.parquet"), names, columns.rating)
        self._ratings = encode_ratings(interactions, columns.user, columns.item, columns.rating)
        self._users = _read_ids(folder / "users.parquet", columns.user)
        self._items = _read_ids(folder / "items.parquet", columns.item)

    def rest(self, held_out: pd.DataFrame) -> Ratings:
        """Return the ratings without the pairs of user and item that are held out."""
        width = len(self._ratings.item_ids) + 1
        users, items = (
            ids.get_indexer(pd.Index(held_out[name]))
            for ids, name in zip((self._ratings.user_ids, self._ratings.item_ids), held_out.columns, strict=True)
        )
        pairs = self._ratings.users.astype(np.int64) * width + self._ratings.items
        kept = np.flatnonzero(~np.isin(pairs, users.astype(np.int64) * width + items))
        return replace(
            self._ratings,
            users=self._ratings.users[kept],
            items=self._ratings.items[kept],
            values=self._ratings.values[kept],
        )

    def train(
        self, model: Model, rest: Ratings | None, asked: pd.Index[Any] | None
    ) -> tuple[NDArray[np.int32], Mapping[str, Any]]:
        """Train a model and return its lists and its measures.

        Args:
            model: which.
            rest: the ratings to train on; None for all.
            asked: the users who get lists; None for all.

        Returns:
            Positions in the table of items, int32 of shape (users, depth), -1 where a list is shorter; and what the
            recipe measures.
        """
        ratings = self._ratings if rest is None else rest
        users = self._users if asked is None else asked
        random = np.random.RandomState(model.seed)
        trained = self._trainer.train(Task(ratings, self._items, model.depth, random))
        codes = ratings.user_ids.get_indexer(users).astype(np.int32)
        lists = trained.ranker.recommend(codes, model.depth, usable_cpus())
        return _as_matrix(lists, len(users), model.depth), trained.measures


def train_models(job: dict[str, Any], folder: Path) -> None:
    """Train every model of a job, and write its lists to ``{name}.npy`` and all measures to `MEASURES`.

    Args:
        job: ``columns``, ``sides`` (the settings of each side's model by the name of its folder), ``models``, and their
            ``purpose``, in lines of progress.
        folder: has a folder for each side and, for backtests, `HELD_OUT`: columns of users and items.

    Raises:
        TooLargeError: the data do not fit into memory, or take longer than ``most_minutes`` of a side allows.
    """
    columns, models = Columns(**job["columns"]), [Model(**model) for model in job["models"]]
    held_out = pd.DataFrame(columns=[columns.user, columns.item])
    if any(model.is_backtest for model in models):
        held_out = pq.read_table(folder / HELD_OUT).to_pandas()
    asked = pd.Index(held_out[columns.user].unique())
    progress = Progress("Trained", len(models), f"models {job['purpose']}")
    tell(f"Training {len(models)} models {job['purpose']}")
    measures = {}
    for name, how in job["sides"].items():
        of_side = [model for model in models if model.side == name]
        trainer = trainer_of(how)
        _require_room(folder / name, of_side, how, trainer.factors)
        side = Side(folder / name, columns, trainer)
        rest = side.rest(held_out) if any(model.is_backtest for model in of_side) else None
        for model in of_side:
            backtest = (rest, asked) if model.is_backtest else (None, None)
            lists, measured = side.train(model, *backtest)
            np.save(folder / f"{model.name}.npy", lists)
            measures[model.name] = dict(measured)
            progress.advance()
        del side, rest  # large, before those of the next side are read
    (folder / MEASURES).write_text(json.dumps(measures), encoding="utf-8")


def _require_room(folder: Path, models: Iterable[Model], how: Mapping[str, Any], factors: int) -> None:
    rows = {name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in ("interactions", "users", "items")}
    depth = max((model.depth for model in models if not model.is_backtest), default=0)
    size = Size(rows["interactions"], rows["users"], rows["items"], factors, depth)
    kind = {"svd": "exact"}.get(how.get("recipe", "svd"), how.get("recipe", ""))
    require_time(size, kind, how.get("most_minutes", math.inf))
    tell(require_memory(size, kind))


def _read_ids(path: Path, column: str) -> pd.Index[Any]:
    ids: pd.Index[Any] = pd.Index(pq.read_table(path, columns=[column]).column(0).to_pandas())
    return ids


def _as_matrix(lists: Lists, users: int, depth: int) -> NDArray[np.int32]:
    """Return a row per user and a column per rank."""
    matrix = np.full((users, depth), -1, np.int32)
    ranks = np.arange(len(lists.users)) - np.searchsorted(lists.users, lists.users)
    matrix[lists.users, ranks] = lists.items
    return matrix
