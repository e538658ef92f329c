"""A shop that has orders only, with the edits that README names: released from SQLite, then moved to PostgreSQL.

Its connection to OCI is in OCI Vault. Nothing secret is left by its releases: logs, database, storage, OCI, and what
its tasks start are searched.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import guide_shops
import pytest
import sqlalchemy
import yaml
from databases import running_postgres
from scheduler.planted_secrets import plant_secrets
from services import started

from recdeploy_ops.domain.events import DataExtracted, Promoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scheduler.planted_secrets import PlantedSecrets
    from services import EndedRun, Installation

pytestmark = pytest.mark.more

COMMENT = "there is little to compare with yet"
CONNECTION = "orders_in_postgres"


@dataclass(frozen=True)
class Moved:
    """The releases of the shop before and after its database was moved, and its secrets."""

    installation: Installation
    planted: PlantedSecrets
    from_sqlite: EndedRun
    from_postgres: EndedRun


def release(installation: Installation, name: str) -> EndedRun:
    before = installation.cloud.production()
    run_id = installation.trigger(name)
    outcome = installation.follow(run_id, "promote", COMMENT)
    return installation.inspect_run(run_id, outcome, before)


def read_from(installation: Installation, connection: str) -> None:
    """Let the settings name a connection, and fewer probes than those of a real production."""
    file = installation.home.settings
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values["connections"]["database"] = connection
    values["probes"] |= {"known_users": 20, "unknown_users": 5, "latency_requests": 5, "consecutive_answers": 10}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")


def fill_store(path: Path) -> None:
    guide_shops.fill_orders(f"sqlite:///{path}")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp("guide-shop")
    queries = guide_shops.edit_queries(folder / "sql")
    with ExitStack() as stack:
        planted = plant_secrets(stack.enter_context(pytest.MonkeyPatch.context()))
        url = stack.enter_context(running_postgres())
        installation = stack.enter_context(started(folder / "home", fill_store, queries=queries))
        guide_shops.fill_orders(url)
        address = sqlalchemy.make_url(url)
        installation.admin.add_connection(
            connection_id=CONNECTION,
            conn_type="postgres",
            host=address.query["host"],
            login=address.username,
            schema=address.database,
        )
        read_from(installation, "recommender_db")
        with planted.watching(installation):
            first = release(installation, "sqlite")
        read_from(installation, CONNECTION)
        yield Moved(installation, planted, first, release(installation, "postgres"))


def test_both_releases_are_promoted_at_one_url(moved: Moved) -> None:
    first, second = moved.from_sqlite, moved.from_postgres

    assert (first.outcome.state, second.outcome.state) == ("success", "success")
    assert [seen.event(Promoted).version for seen in (first, second)] == [1, 2]
    assert first.after is not None
    assert second.after is not None
    assert first.after.url == second.after.url
    assert (second.tests, second.holder) == ([], None)


def test_both_databases_give_the_same_extract(moved: Moved) -> None:
    first, second = (seen.event(DataExtracted) for seen in (moved.from_sqlite, moved.from_postgres))

    assert first.rows == second.rows
    assert first.rows["items"] == guide_shops.ARTICLES
    assert first.digest == second.digest


def test_customers_with_stars_get_a_list_of_their_own_and_others_the_popular_items(moved: Moved) -> None:
    production = moved.installation.production()
    known, unknown = (
        moved.installation.cloud.recommend(production, str(user), 5) for user in (7, guide_shops.NEVER_RATES[0])
    )

    assert (known["message"], known["count"], known["model_version"]) == ("Recommendations for known user", 5, 2)
    assert unknown["message"].startswith("Recommendations for new user")


def test_no_secret_is_left_anywhere(moved: Moved) -> None:
    logs = moved.installation.home.task_logs.rglob("*.log")

    assert any("run_operator.py" in command for command in moved.planted.children)
    assert moved.planted.leaks(moved.installation.home.path) == []
    assert any("is in production" in path.read_text(errors="replace") for path in logs)
