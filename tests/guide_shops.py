"""A shop like the one of the guide's authors: a table of orders and nothing else, in any database of SQLAlchemy's.

Customers buy the same article again, most lines have no stars, and each line repeats the profile of its customer, also
the device, which changes. It has neither a table of customers nor one of articles.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy
from sqlalchemy import Column, DateTime, Integer, String

from recdeploy_ops.settings import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CUSTOMERS, ARTICLES, LINES = 240, 40, 12  # lines of each customer
NEVER_RATES = range(220, CUSTOMERS)  # these customers never give stars
RATED_SHARE = 0.3
COUNTRIES, DEVICES = ("AT", "DE", "JP"), ("phone", "desk")
SHIPPED = DEFAULT_PATH.parent / "sql"

ORDERS = sqlalchemy.Table(
    "orders",
    sqlalchemy.MetaData(),
    Column("line", Integer, primary_key=True),
    Column("customer_no", Integer, nullable=False),
    Column("name", String(40)),
    Column("country", String(2)),
    Column("device", String(10)),
    Column("article_no", String(10), nullable=False),
    Column("article", String(40)),
    Column("stars", Integer),
    Column("ordered_at", DateTime, nullable=False),
)


def fill_orders(url: str) -> None:
    """Write the table of orders; the rows are the same in each database, and the newest are of yesterday."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    ORDERS.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(ORDERS.insert(), make_lines())


def make_lines() -> list[dict[str, Any]]:
    """Return the rows: even customers mostly buy even articles and like them, odd customers odd ones."""
    random = np.random.default_rng(12)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    lines = []
    for number in range(CUSTOMERS * LINES):
        customer = number % CUSTOMERS
        is_liked = random.random() < 0.7
        article = 2 * int(random.integers(ARTICLES // 2)) + (customer + (not is_liked)) % 2
        is_rated = customer not in NEVER_RATES and random.random() < RATED_SHARE
        stars = int(random.integers(4, 6) if is_liked else random.integers(1, 4))
        lines.append(
            {
                "customer_no": customer,
                "name": f"name {customer}",
                "country": COUNTRIES[customer % len(COUNTRIES)],
                "device": DEVICES[int(random.integers(len(DEVICES)))],
                "article_no": f"0{article:03}",
                "article": f"Article {article}",
                "stars": stars if is_rated else None,
                "ordered_at": today - timedelta(minutes=30 * (CUSTOMERS * LINES - number)),
            }
        )
    return lines


def edit_queries(folder: Path, *, with_profile: bool = False) -> Path:
    """Write the queries as README says for such a shop: the shipped ones, edited; return their folder.

    Args:
        folder: for the queries; those that it has are replaced.
        with_profile: whether users and items are read from the order lines, for slices and titles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(SHIPPED.glob("*.sql")):
        if path.stem == "interactions" or with_profile:
            (folder / path.name).write_text(find_example(path.read_text(encoding="utf-8").splitlines()))
        else:
            (folder / path.name).unlink(missing_ok=True)
    return folder


def find_example(lines: Iterable[str]) -> str:
    """Return the first query in the comments of a file, without the comments' dashes."""
    query: list[str] = []
    for line in lines:
        if line.startswith("-- SELECT") or (query and line.startswith("-- ")):
            query.append(line.removeprefix("-- "))
        elif query:
            break
    return "\n".join(query)


def release(manager: Any, url: str) -> dict[str, Any]:
    """Release the shop from a notebook, cell by cell, with real training; return the rows that were extracted."""
    manager.backup_current_artifacts(manager.current_version)
    rows: dict[str, Any] = manager.extract_data({"url": url})
    manager.train_model(top_k=5)
    model, version = manager.build_artifact(), manager.get_next_version()
    model_id = manager.save_new_model(model, version, rows["users"], rows["items"])
    test = manager.deploy_model(model, model_id, version)
    manager.validate_test()
    manager.promote_to_production(test.model_deployment_id)
    return rows
