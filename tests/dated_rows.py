"""Some weeks of interactions, the extract that they give, and ways to damage them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from shops import settings_with

from recdeploy_ops.domain.gates.newest import GATES
from recdeploy_ops.domain.gates.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = settings_with().source
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WEEKS, PER_WEEK, USERS, ITEMS = 12, 200, 60, 50
WEEK = 7 * 86_400_000_000  # microseconds


@dataclass
class Rows:
    """Interactions as arrays, with ids as text."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    times: np.ndarray

    def take(self, rows: Any) -> Rows:
        return Rows(self.users[rows], self.items[rows], self.ratings[rows], self.times[rows])

    @property
    def newest(self) -> Any:
        """Which rows are of the newest week."""
        return self.times > START.timestamp() * 1e6 + (WEEKS - 1) * WEEK

    def until(self, weeks: int) -> Rows:
        return self.take(self.times <= START.timestamp() * 1e6 + weeks * WEEK)


def make_rows() -> Rows:
    """Some weeks in which better items are rated higher, and more often."""
    random = np.random.default_rng(1)
    count = WEEKS * PER_WEEK
    quality = np.linspace(1, 5, ITEMS)
    items = random.choice(ITEMS, count, p=quality / quality.sum())
    ratings = np.clip(np.round(quality[items] + random.normal(0, 0.7, count)), 1, 5)
    times = START.timestamp() * 1e6 + np.sort(random.uniform(0, WEEKS * WEEK, count))
    users = random.integers(0, USERS, count)
    return Rows(
        np.array([f"u{n:03}" for n in users]), np.array([f"{n:04}" for n in items]), ratings, times.astype(np.int64)
    )


def write(folder: Path, rows: Rows, titles: dict[str, str] | None = None, *, has_times: bool = True) -> Path:
    """Write an extract; ``titles`` of the whole catalogue."""
    folder.mkdir(parents=True)
    columns = {"user_id": rows.users, "product_id": rows.items, "rating": rows.ratings}
    if has_times:
        columns["ordered_at"] = pa.array(rows.times).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    pq.write_table(pa.table({"user_id": np.unique(rows.users)}), folder / "users.parquet")
    titles = titles or {f"{n:04}": f"title {n}" for n in range(ITEMS)}
    pq.write_table(pa.table({"product_id": list(titles), "title": list(titles.values())}), folder / "items.parquet")
    return folder


def drop_users(rows: Rows) -> Rows:
    return rows.take(rows.users > "u005")


def permute(rows: Rows) -> Rows:
    return replace(rows, items=np.array([f"{ITEMS - 1 - int(item):04}" for item in rows.items]))


def in_newest_week(change: Callable[[Rows], Rows]) -> Callable[[Rows], Rows]:
    def changed(rows: Rows) -> Rows:
        old, new = rows.take(~rows.newest), change(rows.take(rows.newest))
        return Rows(*(np.concatenate(pair) for pair in zip(vars(old).values(), vars(new).values(), strict=True)))

    return changed


def give_to_one_user(rows: Rows) -> Rows:
    return replace(rows, users=np.where(np.arange(len(rows.users)) % 2, "robot", rows.users))


FAIL, HOLD = Verdict.FAIL, Verdict.HOLD
DAMAGE: list[tuple[str, Callable[[Rows], Rows], dict[str, Verdict]]] = [
    ("a tenth of the users dropped", drop_users, {"history_lost": FAIL}),
    ("ids permuted", permute, {"history_lost": FAIL, "history_late": FAIL}),
    ("ratings turned round", lambda rows: replace(rows, ratings=6 - rows.ratings), {"history_lost": FAIL}),
    ("ratings times ten", lambda rows: replace(rows, ratings=rows.ratings * 10), {"newest_range": FAIL}),
    ("an hour later", lambda rows: replace(rows, times=rows.times + 3_600_000_000), {"history_lost": FAIL}),
    ("only the last month", lambda rows: rows.take(rows.times > rows.times.max() - 4 * WEEK), {"history_lost": FAIL}),
    ("leading zeros lost", lambda rows: replace(rows, items=np.char.lstrip(rows.items, "0")), {"history_lost": FAIL}),
    (
        "newest week turned round",
        in_newest_week(lambda rows: replace(rows, ratings=6 - rows.ratings)),
        {"newest_correlation": FAIL},
    ),
    ("newest week permuted", in_newest_week(permute), {"newest_correlation": FAIL}),
    (
        "newest week without zeros",
        in_newest_week(lambda rows: replace(rows, items=np.char.lstrip(rows.items, "0"))),
        {"newest_unknown_items": HOLD},
    ),
    ("a robot in the newest week", in_newest_week(give_to_one_user), {"newest_user": HOLD}),
    ("newest week empty", lambda rows: rows.take(~rows.newest), dict.fromkeys(GATES, HOLD)),
    (
        "newest week five times",
        in_newest_week(lambda rows: rows.take(np.tile(np.arange(len(rows.users)), 5))),
        {"newest_rows": HOLD},
    ),
    ("every row twice", lambda rows: rows.take(np.repeat(np.arange(len(rows.users)), 2)), {"history_late": FAIL}),
    (
        "a tenth of the rows twice",
        lambda rows: rows.take(np.append(np.arange(len(rows.users)), np.arange(0, len(rows.users), 10))),
        {"history_late": HOLD},
    ),
]
