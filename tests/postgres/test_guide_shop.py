"""A shop that has orders only, with the edits that README names; from PostgreSQL, and the same from SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import guide_shops
import pytest
import sqlalchemy
from databases import running_postgres
from shops import extract
from shops import source_of as open_file
from steps.conftest import (
    emulator,
    emulator_process,
    make_manager,
    no_pace,
    profile_fields,
    project_id,
    settings,
)
from steps.factories import answer_of

from recdeploy_ops.extraction import CursorSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "emulator",
    "emulator_process",
    "make_manager",
    "no_pace",
    "profile_fields",
    "project_id",
    "settings",
]

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_postgres() as url:
        guide_shops.fill_orders(url)
        yield url


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_the_same_orders_give_the_same_bytes_as_from_sqlite(url: str, driver: str, tmp_path: Path) -> None:
    guide_shops.fill_orders(f"sqlite:///{tmp_path / 'shop.db'}")
    folder = guide_shops.edit_queries(tmp_path / "sql", with_profile=True)
    address = url.replace("postgresql://", f"postgresql+{driver}://")
    postgres = CursorSource(
        lambda: sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool), "the postgres database"
    )

    facts = [
        extract(tmp_path / name, source, sql_folder=folder, segment_column="country")
        for name, source in (("sqlite", open_file(tmp_path / "shop.db")), ("postgres", postgres))
    ]

    assert facts[0] == facts[1]
    assert facts[0]["interactions"]["merged"] > 0
    for file in sorted((tmp_path / "sqlite").iterdir()):
        assert (tmp_path / "postgres" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_shop_is_released_from_a_notebook(url: str, make_manager: Callable[[], Any]) -> None:
    manager = make_manager()
    guide_shops.edit_queries(manager.settings.sql_folder)

    guide_shops.release(manager, url)

    state = manager.context.refresh()
    assert (state.production.version, state.holder) == (1, None)
    assert answer_of(manager.context, "7")["message"] == "Recommendations for known user"
