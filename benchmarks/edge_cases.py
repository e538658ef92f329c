"""Edge cases: small data for which the exact engine must give the same bytes as the stock engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from include.training.factors import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("user", "item", "rating")


@dataclass(frozen=True)
class Data:
    """The input of the operator."""

    interactions: pd.DataFrame
    users: Sequence[Any]
    items: Sequence[Any]
    top_k: int = 5
    seed: int = 42
    parameters: Hyperparameters = field(default_factory=Hyperparameters)


def make_data(raters: Any, rated: Any, ratings: Any, **more: Any) -> Data:
    """Return interactions with these columns; by default both tables have the ids in them."""
    interactions = pd.DataFrame(dict(zip(COLUMNS, (raters, rated, ratings), strict=True)))
    tables = {"users": interactions["user"].unique().tolist(), "items": interactions["item"].unique().tolist()}
    return Data(interactions, **(tables | more))


def draw(count: int, users: int, items: int, ratings: Any, seed: int = 3, **more: Any) -> Data:
    """Return ``count`` interactions of random users with random items, popular items more often."""
    random = np.random.default_rng(seed)
    raters = [f"u{number}" for number in random.integers(0, users, count)]
    rated = [f"i{number}" for number in (items * random.random(count) ** 2).astype(int)]
    return make_data(raters, rated, ratings(random, count), **more)


def _stars(random: np.random.Generator, count: int) -> Any:
    return random.integers(1, 6, count)


def _uuids(data: Data) -> Data:
    names = {name: f"{number:08x}-1111-4222-8333-{number:012x}" for number, name in enumerate(data.items)}
    return dataclasses.replace(
        data,
        interactions=data.interactions.assign(item=data.interactions["item"].map(names)),
        items=list(names.values()),
    )


def numbers(data: Data) -> Data:
    """Return data with integers as ids, which the report's heat map needs."""
    columns = {name: data.interactions[name].str[1:].astype(int) for name in ("user", "item")}
    users, items = ([int(name[1:]) for name in names] for names in (data.users, data.items))
    return dataclasses.replace(data, interactions=data.interactions.assign(**columns), users=users, items=items)


SMALL = draw(400, 40, 30, _stars)
DENSE = [(f"u{u}", f"i{i}", 1.0 + (u * i) % 5) for u in range(12) for i in range(15) if (u, i) != (3, 4)]
EDGE_CASES = {
    "texts": SMALL,
    "uuids": _uuids(SMALL),
    "integers": numbers(SMALL),
    "texts of digits": make_data(
        SMALL.interactions["user"].str[1:].str.zfill(4),
        SMALL.interactions["item"].str[1:],
        SMALL.interactions["rating"],
    ),
    "half stars": draw(400, 40, 30, lambda random, count: random.integers(1, 11, count) / 2),
    "continuous": draw(400, 40, 30, lambda random, count: random.normal(0, 3, count)),
    "all ones": draw(400, 40, 30, lambda _, count: np.ones(count, np.int64)),
    "all ones as floats": draw(400, 40, 30, lambda _, count: np.ones(count)),
    "counts": draw(400, 40, 30, lambda random, count: random.poisson(2, count) + 1),
    "counts without end": draw(400, 40, 30, lambda random, count: random.pareto(1, count) * 50),  # SGD diverges
    "saturated": draw(400, 40, 30, lambda random, count: np.where(random.random(count) < 0.97, 5, 1)),
    "saturated below": draw(400, 40, 30, lambda random, count: np.where(random.random(count) < 0.97, 1, 5)),
    "dense": make_data(*zip(*DENSE, strict=True)),
    "sparse": draw(60, 500, 400, _stars),
    "more recommendations than items": draw(200, 20, 12, _stars, top_k=100),
    "one recommendation": draw(200, 20, 12, _stars, top_k=1),
    "duplicate items": dataclasses.replace(SMALL, items=[*SMALL.items, *SMALL.items[5:9]]),
    "unknown users": dataclasses.replace(SMALL, users=["first", *SMALL.users, "last"]),
    "users left out": dataclasses.replace(SMALL, users=SMALL.users[10:20]),
    "items missing from the interactions": dataclasses.replace(SMALL, items=["new", *SMALL.items[::-1], "newer"]),
    "items missing from the catalogue": dataclasses.replace(SMALL, items=SMALL.items[:12]),
    "a user named like someone new": make_data(
        SMALL.interactions["user"].replace("u1", "__new_user__"),
        SMALL.interactions["item"],
        SMALL.interactions["rating"],
    ),
}
