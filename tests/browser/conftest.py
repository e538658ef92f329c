"""A real browser in front of a real Airflow."""

from __future__ import annotations

import gc
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser.pages import open_browser
from services import installation, order_by_installation
from weeks import weeks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

__all__ = ["installation", "weeks"]

HERE = Path(__file__).parent

REQUIRED = "RECDEPLOY_REQUIRE_BROWSER"
MISSING = "This test needs a browser: install one with apt-get install chromium"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order_by_installation(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Collect what Playwright leaves of its driver once nothing refers to it: Python 3.13 warns of open pipes.

    pytest calls this for the tests of every folder. After theirs it would cost a second or two each.
    """
    result = yield
    if item.path.parent == HERE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return result


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; without one the tests are skipped, or fail if `REQUIRED` is set."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None and os.environ.get(REQUIRED):
        pytest.fail(f"{MISSING}, and {REQUIRED} is set.", pytrace=False)
    if program is None:
        pytest.skip(f"{MISSING}. Airflow's pages are not tested.")
    return program


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """An empty page that can send requests only to 127.0.0.1."""
    with open_browser(chromium) as browser:
        yield browser.new_page(viewport={"width": 1400, "height": 1000}, locale="en-US")
