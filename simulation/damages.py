"""What goes wrong between a shop and its extract, planted on purpose: wrong joins, broken imports, robots, lost rows.

Each damage changes what the three queries return for a week. Preflight counts which gates see it, and the demo shows a
gate stop it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recdeploy_ops.evaluation.interactions import Codes, Interactions
from simulation.shops import DAY, SECOND, Shop, make_interactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    # Gets the shop of today, the time of the champion's newest interaction and a source of random numbers.
    Change = Callable[[Shop, int, Generator], Shop]

BEST, WORST = 5.0, 1.0


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        what: in words.
        plant: returns the damaged shop.
        is_missed: whether the gates may miss it, where weeks vary as much.
    """

    what: str
    plant: Change
    is_missed: bool = False


def _lose_users(share: float) -> Change:
    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        users = np.unique(shop.interactions.users.codes)
        lost = random.choice(users, int(share * len(users)), replace=False)
        return shop.keep(~np.isin(shop.interactions.users.codes, lost))

    return plant


def _permute_items(share: float) -> Change:
    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        items = shop.interactions.items
        present = np.unique(items.codes)
        hit = random.choice(present, int(share * len(present)), replace=False)
        to = np.arange(len(items.ids))
        to[hit] = hit[random.permutation(len(hit))]
        return replace(shop, interactions=replace(shop.interactions, items=Codes(to[items.codes], items.ids)))

    return plant


def _lose_zeros(shop: Shop, cut: int, random: Generator) -> Shop:
    """Every id of an item in the interactions is another text than in the table of items."""
    items = shop.interactions.items
    texts = [text.lstrip("0") if text.startswith("0") else f"0{text}" for text in items.ids.to_pylist()]
    ids = pa.concat_arrays([items.ids, pa.array(texts, pa.string())])
    return replace(shop, interactions=replace(shop.interactions, items=Codes(items.codes + len(items.ids), ids)))


def _rate(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Change:
    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        return replace(shop, interactions=replace(shop.interactions, ratings=change(shop.interactions.ratings)))

    return plant


def _flip(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    return WORST + BEST - ratings


def _multiply(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratings * 10


def _keep_last(days: int) -> Change:
    return lambda shop, cut, random: shop.keep(shop.times > shop.newest - days * DAY)


def _lose_last(days: int) -> Change:
    return lambda shop, cut, random: shop.keep(shop.times <= shop.newest - days * DAY)


def _repeat(share: float) -> Change:
    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        rows = np.arange(len(shop.interactions))
        hit = rows[random.random(len(rows)) < share]
        return shop.keep(np.sort(np.concatenate([rows, np.repeat(hit, 9)])))

    return plant


def _add(shop: Shop, users: NDArray[np.int64], items: NDArray[np.int64], random: Generator, cut: int) -> Shop:
    """Add interactions of the newest week: best ratings for one item in thirty, worst for all others."""
    own = shop.interactions
    ratings = np.where(items % 30 == 0, BEST, WORST)
    times = random.integers(cut + 1, shop.newest, len(users), endpoint=True) // SECOND * SECOND
    return replace(
        shop,
        interactions=make_interactions(
            np.concatenate([own.users.codes, users]),
            np.concatenate([own.items.codes, items]),
            np.concatenate([own.ratings, ratings]),
            np.concatenate([shop.times, times]),
            (own.users.ids, own.items.ids),
        ),
    )


def _robot(share: float) -> Change:
    """One account of the newest week rates items at random, again and again."""

    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        new = shop.interactions.users.codes[shop.times > cut]
        count = int(share / (1 - share) * len(shop.interactions))
        items = random.choice(np.unique(shop.interactions.items.codes), count)
        return _add(shop, np.full(count, new[0]), items, random, cut)

    return plant


def _careful_robot(shop: Shop, cut: int, random: Generator) -> Shop:
    """One account of the newest week rates every item once."""
    new = int(shop.interactions.users.codes[shop.times > cut][0])
    others = shop.keep(shop.interactions.users.codes != new)
    items = np.unique(shop.interactions.items.codes)
    return _add(others, np.full(len(items), new), items, random, cut)


def _default_item(shop: Shop, cut: int, random: Generator) -> Shop:
    """An importer writes one item instead of unknown ones, in a third of the newest interactions."""
    own = shop.interactions
    hit = (shop.times > cut) & (random.random(len(own)) < 1 / 3)
    items = np.where(hit, int(np.unique(own.items.codes)[0]), own.items.codes)
    return replace(shop, interactions=replace(own, items=Codes(items, own.items.ids)))


def _halve_catalogue(shop: Shop, cut: int, random: Generator) -> Shop:
    own = shop.interactions
    kept = random.permutation(len(shop.items)) < len(shop.items) // 2
    items = shop.items.take(kept)
    there = pc.is_in(own.items.ids, value_set=items.ids).to_numpy(zero_copy_only=False)
    return replace(shop.keep(there[own.items.codes]), items=items)


def _only_new(change: Change) -> Change:
    """Return a change of the interactions since the champion's newest one."""

    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        old, new = shop.keep(shop.times <= cut), change(shop.keep(shop.times > cut), cut, random)
        return replace(shop, interactions=_join(old.interactions, new.interactions))

    return plant


def _join(one: Interactions, other: Interactions) -> Interactions:
    """Return the rows of both; ``other`` may have more items."""
    times = [part.times for part in (one, other) if part.times is not None]
    return make_interactions(
        np.concatenate([one.users.codes, other.users.codes]),
        np.concatenate([one.items.codes, other.items.codes]),
        np.concatenate([one.ratings, other.ratings]),
        np.concatenate(times),
        (one.users.ids, other.items.ids),
    )


def _thin(share: float) -> Change:
    return lambda shop, cut, random: shop.keep(random.random(len(shop.interactions)) < share)


def _shuffle_titles(share: float) -> Change:
    def plant(shop: Shop, cut: int, random: Generator) -> Shop:
        hit = np.flatnonzero(random.random(len(shop.items)) < share)
        where = np.arange(len(shop.items))
        where[hit] = hit[random.permutation(len(hit))]
        return replace(shop, items=shop.items.rename(shop.items.names.take(pa.array(where))))

    return plant


DAMAGES = {
    "users-10": Damage("a segment of 10 % of the users is missing", _lose_users(0.10)),
    "users-2": Damage("a segment of 2 % of the users is missing", _lose_users(0.02)),
    "items-permuted": Damage("a wrong join gives every interaction another item", _permute_items(1.0)),
    "items-permuted-10": Damage("a wrong join permutes the ids of 10 % of the items", _permute_items(0.10)),
    "zeros": Damage("item ids of interactions lost or gained a leading zero", _lose_zeros),
    "flipped": Damage("ratings are turned round", _rate(_flip)),
    "tenfold": Damage("ratings are multiplied by ten", _rate(_multiply)),
    "last-day": Damage("the extract has the last day only", _keep_last(1)),
    "last-30-days": Damage("the extract has the last 30 days only", _keep_last(30)),
    "old": Damage("the extract is eight weeks old", _lose_last(56)),
    "repeated": Damage("every interaction is there ten times", _repeat(1.0)),
    "repeated-10": Damage("10 % of the interactions are there ten times", _repeat(0.10)),
    "robot-20": Damage("a robot makes 20 % of all interactions, with repeats", _robot(0.20)),
    "robot-5": Damage("a robot makes 5 % of all interactions, with repeats", _robot(0.05)),
    "robot-once": Damage("a robot rates every item once", _careful_robot, is_missed=True),
    "default-item": Damage("a third of the newest interactions have one default item", _default_item),
    "half-catalogue": Damage("half of the catalogue is missing", _halve_catalogue),
    "titles": Damage("all titles are permuted", _shuffle_titles(1.0)),
    "titles-10": Damage("the titles of 10 % of the items are permuted", _shuffle_titles(0.10)),
    "week-permuted": Damage("newest week: a wrong join permutes the items", _only_new(_permute_items(1.0))),
    "week-zeros": Damage("newest week: item ids lost or gained a leading zero", _only_new(_lose_zeros)),
    "week-flipped": Damage("newest week: ratings are turned round", _only_new(_rate(_flip))),
    "week-tenfold": Damage("newest week: ratings are multiplied by ten", _only_new(_rate(_multiply))),
    "week-half": Damage("newest week: half of the interactions are missing", _only_new(_thin(0.5)), is_missed=True),
    "week-tenth": Damage("newest week: 90 % of the interactions are missing", _only_new(_thin(0.1)), is_missed=True),
}
