"""A shop of a few users and products whose ids careless code damages, and that rank predictably."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from demo.store import write_store

if TYPE_CHECKING:
    from pathlib import Path


# Ids that careless code reads as numbers, a missing value, HTML, Markdown or a table cell. The approver sees the lists
# of the first three in byte order.
SPECIAL_USERS = (
    "0205616461",
    "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "<img src=x onerror=alert(1)>",
    "A39HTATAQ9V7YF",
    "NaN",
    "[x](javascript:alert(1))",
    "a|b",
    "ユーザー7",
)
SPECIAL_PRODUCTS = (
    "0205616462",
    "<img src=y onerror=alert(2)>",
    "[y](javascript:alert(2))",
    "c|d",
    "`code`",
    "**NaN**",
    "商品-12",
    "https://example.com/?<b>x</b>",
)
USERS = (*SPECIAL_USERS, *(f"user-{number:02d}" for number in range(22)))
PRODUCTS = (*SPECIAL_PRODUCTS, *(f"product-{number:02d}" for number in range(24)))
UNKNOWN_USER = "205616461"  # the first special user without the leading zero


def fill_store(path: Path) -> None:
    """Write a shop in which all but the special users like the special products, which those have not bought."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    interactions = []
    for number, user in enumerate(USERS):
        liked = SPECIAL_PRODUCTS if user not in SPECIAL_USERS else ()
        others = [PRODUCTS[len(SPECIAL_PRODUCTS) + (5 * number + 7 * step) % 24] for step in range(8)]
        for step, product in enumerate((*liked, *dict.fromkeys(others))):
            rating = 5.0 if product in SPECIAL_PRODUCTS else 1.0 + (number + 3 * step) % 4
            moment = (day - timedelta(hours=number + 24 * step)).isoformat()
            interactions.append((user, product, rating, moment))
    write_store(
        path,
        users=[(user, "consumer", "JP", "2026-01-01") for user in USERS],
        products=[(product, f"Title of {product}", "Books", 9.5) for product in PRODUCTS],
        interactions=interactions,
    )
