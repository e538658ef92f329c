"""Shops that live on in the tests of the steps: each release finds the shop one week later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from shops import make_shop

from simulation.files import read_shop
from simulation.generated import end_of_week, generate_shop
from simulation.shops import SECOND, WEEK, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.shops import Table

MOVIELENS = Path(__file__).parents[3] / "shared/data/ml-100k"
SIZE = 700  # users of the generated store; the gates need 500


@dataclass(frozen=True)
class ShopWeeks:
    """A shop at the ends of successive weeks, the last of which ends today.

    Attributes:
        shop: its whole life.
        ends: of the weeks, in microseconds since 1970, UTC.
    """

    shop: Shop
    ends: tuple[int, ...]

    def write(self, file: Path, week: int) -> None:
        """Replace the shop's database by that of a week, with times as if the last week ended today."""
        file.unlink(missing_ok=True)
        then, late = self.shop.until(self.ends[week]), _midnight() - self.ends[-1]
        products = [(*row, "things") for row in _rows(then.items)]
        users = _rows(then.users)
        make_shop(file, interactions=_orders(then, late), users=users, products=products, kind="TEXT")


def movielens(weeks: int) -> ShopWeeks:
    """Return the latest weeks of MovieLens-100k."""
    shop = read_shop(MOVIELENS)
    return ShopWeeks(shop, tuple(shop.newest - back * WEEK for back in reversed(range(weeks))))


def generated_store(weeks: int) -> ShopWeeks:
    """Return the first weeks of a small store of the demo's kind."""
    first_day = (datetime.now(UTC) - timedelta(weeks=weeks - 1)).date()
    return ShopWeeks(generate_shop(first_day, size=SIZE), tuple(end_of_week(first_day, week) for week in range(weeks)))


def _midnight() -> int:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(today.timestamp()) * SECOND


def _rows(table: Table) -> Iterator[tuple[str, str]]:
    return zip(table.ids.to_pylist(), table.names.to_pylist(), strict=True)


def _orders(shop: Shop, late: int) -> Iterator[tuple[str, str, float, str]]:
    own = shop.interactions
    sides = (side.ids.take(pa.array(side.codes)).to_pylist() for side in (own.users, own.items))
    moments = (datetime.fromtimestamp((int(time) + late) // SECOND, UTC) for time in shop.times)
    texts = (moment.isoformat(sep=" ", timespec="seconds") for moment in moments)
    return zip(*sides, own.ratings.tolist(), texts, strict=True)
