"""The demo's shop: its orders have what a recommender looks for, and it lives on week after week.

Few products sell much, few users buy much, and there are tastes that a matrix factorisation can find. Its whole life is
decided by a seed and its first day: the shop of a later week is that of an earlier one with another week of orders.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulation.shops import DAY, SECOND, WEEK, Shop, Table, first_times, make_interactions

if TYPE_CHECKING:
    from numpy.typing import NDArray

# On the first day.
USERS, PRODUCTS, ORDERS_PER_USER = 2_500, 800, 61
FEWEST_ORDERS, MOST_ORDERS = 8, 600
# Before and after the first day.
HISTORY_DAYS, WEEKS = 540, 60
# That arrive in a week, as a share of those on the first day; and those of the first day that arrived over time.
NEW_USERS, NEW_PRODUCTS = 0.005, 0.0025
RECENT = 0.3
TASTES = 6

CATEGORIES = ("Kitchen", "Garden", "Books", "Games", "Sport", "Music", "Office", "Travel")
THINGS = ("Kettle", "Lamp", "Notebook", "Racket", "Chair", "Speaker", "Puzzle", "Backpack", "Planter", "Clock")
LOOKS = ("Oak", "Steel", "Blue", "Compact", "Classic", "Folding", "Linen", "Bright", "Quiet", "Nordic")
SEGMENTS = ("consumer", "business", "student")
COUNTRIES = ("AT", "BR", "CA", "DE", "ES", "FR", "IN", "JP", "US")

# Ids that careless code changes: read as numbers, as a missing value, or normalised.
AWKWARD_USERS = ("00420", "420", "1e5", "NaN", "null", "ユーザー7", "Zoë", "A39HTATAQ9V7YF")
AWKWARD_PRODUCTS = ("0205616461", "205616461", "1E3", "商品-12", "B00004TKVY")


def generate_shop(first_day: date, *, seed: int = 7, size: int = USERS) -> Shop:
    """Return the whole life of a shop: `Shop.until` gives a week of it.

    Args:
        first_day: its newest orders are of the day before when it has the size that is asked for.
        seed: another one gives another shop.
        size: number of users on the first day.
    """
    random = np.random.default_rng(seed)
    today = _midnight(first_day)
    beginning, end = today - HISTORY_DAYS * DAY, today + WEEKS * WEEK
    joined = _arrivals(random, size, NEW_USERS, beginning, today)
    launched = _arrivals(random, PRODUCTS, NEW_PRODUCTS, beginning, today)
    users = pa.array(_make_ids(random, len(joined), AWKWARD_USERS, "U"))
    products = pa.array(_make_ids(random, len(launched), AWKWARD_PRODUCTS, "P"))
    owners, chosen, ratings = _order(random, _count_orders(random, joined, today, end), len(launched))
    earliest = np.maximum(joined[owners], launched[chosen])
    times = earliest + (random.random(len(owners)) * (end - earliest)).astype(np.int64) // SECOND * SECOND
    first = _first_of_each(owners, launched[chosen])
    times[first] = earliest[first]
    return Shop(
        make_interactions(owners, chosen, ratings, times, (users, products)),
        Table(_describe_users(random, users, joined), first_times(owners, times, len(joined))),
        Table(_describe_products(random, products), launched),
    )


def end_of_week(first_day: date, weeks: int) -> int:
    """Return the moment at which the shop is so many weeks older than on its first day."""
    return _midnight(first_day) + weeks * WEEK


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * SECOND


def _arrivals(random: np.random.Generator, size: int, weekly: float, beginning: int, today: int) -> NDArray[np.int64]:
    """Return when users or products arrive: most at the beginning, some until today, and some every week after."""
    recent, later = int(RECENT * size), round(weekly * size * WEEKS)
    spans = (
        (beginning, beginning + 1, size - recent),
        (beginning, today, recent),
        (today + SECOND, today + WEEKS * WEEK, later),
    )
    times = [np.sort(random.integers(start, end, count)) for start, end, count in spans]
    return np.concatenate(times) // SECOND * SECOND


def _count_orders(random: np.random.Generator, joined: NDArray[np.int64], today: int, end: int) -> NDArray[np.int64]:
    """Return each user's orders until the end: log-normal rates, so that there are enough of them today."""
    rates = random.lognormal(0, 0.9, len(joined))
    until_today = np.maximum(today - joined, 0)
    rates *= ORDERS_PER_USER * np.count_nonzero(until_today) / (rates * until_today).sum()
    return np.clip(np.rint(rates * (end - joined)), FEWEST_ORDERS, MOST_ORDERS).astype(np.int64)


def _order(
    random: np.random.Generator, amounts: NDArray[np.int64], products: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return who orders what, and the ratings: products that sell well or suit a user's taste, rated by taste."""
    tastes, traits = random.normal(0, 1, (len(amounts), TASTES)), random.normal(0, 1, (products, TASTES))
    popularity = random.permutation(-0.9 * np.log(np.arange(1, products + 1)))
    quality, generosity = random.normal(0, 0.35, products), random.normal(0, 0.4, len(amounts))
    affinity = tastes @ traits.T / np.sqrt(TASTES)
    # Gumbel noise on the log weights draws without replacement, in proportion to the weights.
    drawn = popularity + 0.8 * affinity + random.gumbel(0, 1, affinity.shape)
    ranked = np.argsort(-drawn, axis=1)
    owners = np.repeat(np.arange(len(amounts)), amounts)
    chosen = ranked[np.arange(products) < amounts[:, None]]
    liked = 3.4 + quality[chosen] + generosity[owners] + 0.8 * affinity[owners, chosen]
    return owners, chosen, np.clip(np.rint(liked + random.normal(0, 0.5, len(owners))), 1, 5)


def _first_of_each(owners: NDArray[np.int64], launched: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each owner with the product that was launched first: it can be ordered at once."""
    order = np.lexsort((launched, owners))
    return order[np.unique(owners[order], return_index=True)[1]]


def _make_ids(random: np.random.Generator, count: int, awkward: tuple[str, ...], letter: str) -> list[str]:
    """Return distinct ids of several kinds, in an order without meaning."""
    ids = dict.fromkeys(awkward)
    while len(ids) < count:
        number = int(random.integers(0, 10**9))
        kind = len(ids) % 4
        if kind == 0:
            ids[f"{number:010d}"] = None
        elif kind == 1:
            ids[str(uuid.UUID(bytes=random.bytes(16), version=4))] = None
        elif kind == 2:
            ids[f"{letter}-{number}"] = None
        else:
            ids[f"{letter}{np.base_repr(number + 36**12, 36)}"] = None
    return list(ids)


def _describe_users(random: np.random.Generator, ids: pa.Array, joined: NDArray[np.int64]) -> pa.Table:
    days = pa.array(joined, pa.timestamp("us")).cast(pa.date32()).cast(pa.string())
    return pa.table(
        {
            "user_id": ids,
            "segment": random.choice(SEGMENTS, len(ids), p=(0.7, 0.2, 0.1)).tolist(),
            "country": random.choice(COUNTRIES, len(ids)).tolist(),
            "signed_up_at": days,
        }
    )


def _describe_products(random: np.random.Generator, ids: pa.Array) -> pa.Table:
    numbers = range(len(ids))
    looks = [LOOKS[number // len(THINGS) % len(LOOKS)] for number in numbers]
    kinds = len(THINGS) * len(LOOKS)
    return pa.table(
        {
            "product_id": ids,
            "title": [f"{look} {THINGS[number % len(THINGS)]}" for number, look in zip(numbers, looks, strict=True)],
            "category": [CATEGORIES[number // kinds % len(CATEGORIES)] for number in numbers],
            "price": np.round(np.exp(random.normal(3, 0.8, len(ids))), 2),
        }
    )
