"""The page *Recommender* in Airflow's own UI: what it shows, and a rollback from it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest
from browser.pages import sign_in
from playwright.sync_api import ViewportSize, expect
from scheduler.rollbacks import ROLLBACK
from weeks import COMMENT

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from weeks import Weeks

pytestmark = [pytest.mark.more, pytest.mark.timeout(1800)]  # the first test waits for the releases

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
REASON = "the lists look <b>odd</b> & old"
PHONE, DESKTOP = ViewportSize(width=390, height=800), ViewportSize(width=1400, height=1100)
COLOUR = "getComputedStyle(document.querySelector('h1')).color"


def open_page(page: Page, weeks: Weeks, user: str = "approver") -> None:
    """Sign in, and follow the entry of Airflow's navigation."""
    sign_in(page, weeks.installation.running.airflow_url, user)
    page.get_by_role("link", name="Recommender").click()
    expect(page.get_by_role("heading", name="product-recommender")).to_be_visible()


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_it_shows_what_is_in_production_and_what_was(weeks: Weeks, page: Page, tmp_path: Path) -> None:
    normal = weeks.normal
    version, before = int(normal.seen.after.version), int(normal.seen.before.version)
    colours = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        open_page(page, weeks)
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)
            page.screenshot(path=tmp_path / f"page-{scheme}-{size['width']}.png")
        colours.add(page.evaluate(COLOUR))
        page.context.clear_cookies()
    assert len(colours) == 2

    open_page(page, weeks)
    expect(section(page, "In production")).to_contain_text(f"v{version}")
    expect(section(page, "In production")).to_contain_text(normal.seen.after.url)
    expect(section(page, "In progress")).to_contain_text(f"No release is in progress; v{version} serves.")
    history = section(page, "History")
    for run in (weeks.first, weeks.failed, weeks.accepted, normal):
        expect(history.get_by_role("row", name=re.compile(run.seen.run_id))).to_be_visible()
    expect(history.get_by_role("row", name=re.compile(weeks.first.seen.run_id))).to_contain_text(COMMENT)
    times = section(page, "What was in production when")
    expect(times.get_by_role("row").nth(1)).to_contain_text(f"v{version}")
    times.get_by_label("At (UTC)").fill("2001-01-01T00:00")
    expect(times.get_by_role("status")).to_have_text("Nothing was known to be in production then.")
    times.get_by_label("At (UTC)").fill("2999-01-01T00:00")
    expect(times.get_by_role("status")).to_contain_text(f"v{version}")
    expect(section(page, "Versions side by side").get_by_role("row", name=re.compile(f"^v{before} "))).to_be_visible()


def test_a_viewer_sees_it_and_cannot_roll_back(weeks: Weeks, page: Page) -> None:
    before = weeks.normal.seen.before
    open_page(page, weeks, "viewer")
    form = section(page, "Roll back")
    form.get_by_label("Version").select_option(before.version)
    form.get_by_label("Reason").fill(REASON)
    form.get_by_role("button").click()

    expect(form.get_by_role("status")).to_contain_text("Nothing was changed. 403")
    assert weeks.installation.of(ROLLBACK).admin.runs() == []


def test_production_is_rolled_back_from_it_with_a_reason(weeks: Weeks, page: Page, tmp_path: Path) -> None:
    before = weeks.normal.seen.before
    rollbacks = weeks.installation.of(ROLLBACK)
    open_page(page, weeks)
    form = section(page, "Roll back")
    button = form.get_by_role("button")
    form.get_by_label("Version").select_option(before.version)
    expect(button).to_be_disabled()  # without a reason
    form.get_by_label("Reason").fill(REASON)
    expect(button).to_have_text(f"Roll production back to v{before.version}")
    button.focus()
    page.keyboard.press("Enter")

    expect(form.get_by_role("status")).to_contain_text("The rollback has begun")
    [run_id] = rollbacks.admin.runs()
    rollbacks.wait_for_end(run_id)
    assert weeks.installation.production().version == before.version
    row = section(page, "History").get_by_role("row", name=re.compile(re.escape(run_id)))
    expect(row).to_contain_text("rolled back")
    expect(row).to_contain_text(REASON)
    expect(section(page, "In production")).to_contain_text(f"v{before.version}")
    page.screenshot(path=tmp_path / "rolled-back.png", full_page=True)
