"""The page *Recommender* in Airflow's own UI: what it shows, the way to the approval, and a rollback from it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest
from browser.pages import USER, send, sign_in
from playwright.sync_api import ViewportSize, expect
from rest import APPROVAL
from scheduler.rollbacks import ROLLBACK
from weeks import COMMENT

from demo.homes import DAG_ID

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from weeks import Weeks

pytestmark = [pytest.mark.more, pytest.mark.timeout(1800)]  # the first test waits for the releases

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
REASON = "the lists look <b>odd</b> & old"
PHONE, DESKTOP = ViewportSize(width=390, height=800), ViewportSize(width=1400, height=1100)
TALL = ViewportSize(width=1400, height=5600)
# What a promotion that keeps the size requests from OCI.
CALLS = (
    "UpdateModel",
    "UpdateModelDeployment",
    "Predict",
    "DeleteModelDeployment",
    "UpdateModel",
    "UpdateModelDeployment",
)
COLOUR = "getComputedStyle(document.querySelector('h1')).color"


def open_page(page: Page, weeks: Weeks, user: str = "approver") -> None:
    """Sign in, and follow the entry of Airflow's navigation."""
    sign_in(page, weeks.installation.running.airflow_url, user)
    page.get_by_role("link", name="Recommender", exact=True).click()
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
        expect(section(page, "Versions side by side").get_by_role("table").first).to_be_visible()
        for size in (PHONE, DESKTOP, TALL):
            page.set_viewport_size(size)
            page.screenshot(path=tmp_path / f"page-{scheme}-{size['width']}-{size['height']}.png")
        colours.add(page.evaluate(COLOUR))
        page.context.clear_cookies()
    assert len(colours) == 2

    open_page(page, weeks)
    expect(section(page, "In production")).to_contain_text(f"v{version}")
    expect(section(page, "In production")).to_contain_text(normal.seen.after.url)
    expect(section(page, "In production")).to_contain_text("healthy")
    expect(section(page, "In production")).to_contain_text("1 x VM.Standard.E4.Flex (1 OCPU, 16 GB)")
    expect(section(page, "In progress")).to_contain_text(f"No release is in progress; v{version} serves.")
    history = section(page, "History")
    for run in (weeks.first, weeks.failed, weeks.accepted, normal):
        row = history.get_by_role("row", name=re.compile(run.seen.run_id))
        expect(row.get_by_role("link", name=f"Report of {run.seen.run_id}")).to_be_visible()
    expect(history.get_by_role("row", name=re.compile(weeks.first.seen.run_id))).to_contain_text(COMMENT)
    times = section(page, "What was in production when")
    expect(times.get_by_role("row").nth(1)).to_contain_text(f"v{version}")
    times.get_by_label("At (UTC)").fill("2001-01-01T00:00")
    expect(times.get_by_role("status")).to_have_text("Nothing was known to be in production then.")
    times.get_by_label("At (UTC)").fill("2999-01-01T00:00")
    expect(times.get_by_role("status")).to_contain_text(f"v{version}")
    expect(section(page, "Versions").get_by_role("row", name=re.compile(f"^v{before} "))).to_be_visible()


def test_it_shows_what_oci_runs_and_measures_and_what_the_last_promotion_did(weeks: Weeks, page: Page) -> None:
    normal = weeks.normal
    version = int(normal.seen.after.version)
    open_page(page, weeks)

    live = section(page, "What OCI runs")
    expect(live.get_by_role("status")).to_contain_text("OCI runs what the ledger says.")
    expect(live.get_by_role("status")).to_contain_text(f"it answers with v{version}")
    live.get_by_role("button", name="Check what OCI runs again").press("Enter")
    expect(live.get_by_role("row", name=re.compile("^product-recommender-production "))).to_contain_text("ACTIVE")
    measured = section(page, "Latency and errors of production")
    expect(measured.get_by_role("img")).to_be_visible()
    expect(measured).to_contain_text("0 (0 %)")
    calls = section(page, "What the last promotion did").get_by_role("row")
    expect(calls).to_have_count(1 + len(CALLS))
    for number, name in enumerate(CALLS, start=1):
        expect(calls.nth(number)).to_contain_text(name)
        expect(calls.nth(number)).to_contain_text("done")
    expect(section(page, "Backups").get_by_role("row").nth(1)).to_contain_text("backups/v")


def test_it_compares_versions_and_draws_one_measure(weeks: Weeks, page: Page) -> None:
    normal = weeks.normal
    version, before = int(normal.seen.after.version), int(normal.seen.before.version)
    open_page(page, weeks)

    plot = section(page, "One measure over all versions")
    plot.get_by_label("Measure").select_option("rmse")
    expect(plot.get_by_role("img", name=re.compile("^rmse of each version"))).to_be_visible()
    plot.get_by_text("The same numbers as a table").press("Enter")
    expect(plot.get_by_role("row", name=re.compile(f"^v{version} "))).to_contain_text("in production from")
    beside = section(page, "Versions side by side")
    beside.get_by_label("Version").select_option(str(before))
    beside.get_by_label("Beside").select_option(str(version))
    data = beside.get_by_role("group", name=re.compile("^Data that differ: "))
    expect(data.get_by_role("row", name=re.compile("^interactions "))).to_be_visible()
    for name in ("Gates", "Metrics", "Data", "Settings", "Lists"):
        expect(beside.get_by_role("heading", name=name)).to_be_visible()


def test_the_tab_of_a_run_shows_this_release(weeks: Weeks, page: Page, tmp_path: Path) -> None:
    normal = weeks.normal
    url = weeks.installation.running.airflow_url
    open_page(page, weeks)  # the same script, which runs once
    page.goto(f"{url}/dags/{DAG_ID}/runs/{normal.seen.run_id}")
    page.get_by_role("link", name="Recommender release").click()

    this = section(page, "This release")
    expect(this).to_contain_text("promoted")
    expect(this.get_by_role("link", name=f"Report of {normal.seen.run_id}")).to_be_visible()
    expect(section(page, "What Promote did").get_by_role("row")).to_have_count(1 + len(CALLS))
    page.screenshot(path=tmp_path / "tab.png")
    this.get_by_role("link", name="Recommender", exact=True).click()
    expect(page.get_by_role("heading", name="product-recommender")).to_be_visible()


def test_a_viewer_sees_it_and_cannot_roll_back(weeks: Weeks, page: Page) -> None:
    before = weeks.normal.seen.before
    open_page(page, weeks, "viewer")
    form = section(page, "Roll back")
    form.get_by_label("Version").select_option(before.version)
    form.get_by_label("Reason").fill(REASON)
    form.get_by_role("button").click()

    expect(form.get_by_role("status")).to_contain_text("Nothing was changed. 403")
    assert weeks.installation.of(ROLLBACK).admin.runs() == []


def test_it_leads_to_the_approval_and_shows_the_new_champion(weeks: Weeks, page: Page, tmp_path: Path) -> None:
    assert weeks.normal
    installation = weeks.installation
    run_id = installation.trigger("page")
    installation.wait_until_asked(run_id)
    open_page(page, weeks)

    progress, calls = section(page, "In progress"), section(page, "What Promote will do").get_by_role("row")
    expect(progress).to_contain_text("waits for an approval")
    expect(calls).to_have_count(1 + len(CALLS))
    for number, name in enumerate(CALLS, start=1):
        expect(calls.nth(number)).to_contain_text(name)
        expect(calls.nth(number)).to_contain_text("planned")
    expect(progress).to_contain_text("healthy")
    page.screenshot(path=tmp_path / "waiting.png")
    progress.get_by_role("link", name="Answer the approval").press("Enter")
    page.locator("[name=element_comment]").fill(COMMENT)
    send(page.get_by_role("button", name="Promote", exact=True))
    installation.wait_for_state(run_id, APPROVAL, "success")
    installation.wait_for_end(run_id)

    version = installation.inspector.version(run_id)
    assert int(installation.production().version) == version
    page.get_by_role("link", name="Recommender", exact=True).click()
    expect(section(page, "In production")).to_contain_text(f"v{version}")
    row = section(page, "History").get_by_role("row", name=re.compile(run_id))
    expect(row).to_contain_text("promoted")
    expect(row).to_contain_text(USER)


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
    section(page, "What OCI runs").get_by_role("button").click()
    expect(section(page, "What OCI runs").get_by_role("status")).to_contain_text(f"it answers with v{before.version}")
    page.screenshot(path=tmp_path / "rolled-back.png", full_page=True)
