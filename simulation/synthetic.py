"""A shop made for trials of the gates: tastes, popularity that drifts, users who come back, and low agreement.

Two trainings on it agree less than on real ratings: it shows which bounds are too tight where chance is strong.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from simulation.shops import WEEK, Shop, Table, first_times, make_interactions

TASTES = 6
BEGINNING = 1_700_000_000_000_000  # microseconds since 1970: any moment will do


def make_synthetic_shop(
    *, users: int = 4_000, items: int = 1_200, rows: int = 150_000, weeks: int = 30, seed: int = 0
) -> Shop:
    """Make a shop.

    In each week visitors come by their activity, which is Pareto distributed, and each takes an item that suits their
    taste and is popular. Every item's popularity drifts. 40 % of the users and 20 % of the items arrive over time. Of
    a user's repeated ratings of an item the first one counts.

    Args:
        users: how many.
        items: how many.
        rows: interactions before repeated ones are left out.
        weeks: over which they are spread.
        seed: another one gives another shop.
    """
    random = np.random.default_rng(seed)
    tastes, traits = random.normal(size=(users, TASTES)), random.normal(size=(items, TASTES))
    first_week = np.where(random.random(users) < 0.6, 0, random.integers(0, weeks, users))
    launch_week = np.where(random.random(items) < 0.8, 0, random.integers(0, weeks, items))
    activity = random.pareto(1.6, users) + 0.3
    appeal, drift = random.normal(0, 1.1, items), random.normal(0, 0.05, items)
    quality = random.normal(0, 0.35, items)
    parts = []
    for week in range(weeks):
        weights = activity * (first_week <= week)
        who = random.choice(users, rows // weeks, p=weights / weights.sum())
        visitors, rows_of = np.unique(who, return_inverse=True)
        utility = 0.55 * tastes[visitors] @ traits.T + appeal + drift * week
        utility[:, launch_week > week] = -np.inf
        what = (utility[rows_of] + random.gumbel(size=(len(who), items))).argmax(axis=1)
        liked = 3.6 + quality[what] + np.einsum("ij,ij->i", tastes[who], traits[what]) / 3
        stars = np.clip(np.round(liked + random.normal(0, 0.8, len(who))), 1, 5)
        times = BEGINNING + np.sort(((week + random.random(len(who))) * WEEK).astype(np.int64))
        parts.append((who, what, stars, times))
    who, what, stars, times = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = np.sort(np.unique(who * np.int64(items) + what, return_index=True)[1])
    who, what, stars, times = who[first], what[first], stars[first], times[first]
    ids = pa.array([f"u{n:05}" for n in range(users)]), pa.array([f"{n:06}" for n in range(items)])
    names = pa.array([""] * users), pa.array([f"Product {n}" for n in range(items)])
    return Shop(
        make_interactions(who, what, stars, times, ids),
        Table(pa.table({"id": ids[0], "name": names[0]}), first_times(who, times, users)),
        Table(pa.table({"id": ids[1], "name": names[1]}), first_times(what, times, items)),
    )
