"""The report of a release in a browser: harmless whatever the data says, in light and dark, on a phone and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from browser.pages import sign_in
from playwright.sync_api import ViewportSize, expect
from rest import APPROVAL
from weeks import HOSTILE

from demo.homes import DAG_ID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page
    from weeks import Judged, Weeks

pytestmark = [pytest.mark.more, pytest.mark.timeout(1800)]  # the first test waits for the releases

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PHONE, DESKTOP = ViewportSize(width=360, height=780), ViewportSize(width=1400, height=1000)
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"


@pytest.fixture
def alarms(page: Page) -> list[str]:
    """What a page must not do: open a dialog, raise an error, ask for a picture, or violate its policy."""
    seen: list[str] = []
    page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("console", lambda message: seen.append(f"console: {message.text}") if message.type == "error" else None)
    return seen


@pytest.fixture
def open_report(page: Page, weeks: Weeks) -> Callable[[Judged], list[str]]:
    """Sign in; returns a function that opens a report and returns the URLs of all requests for it."""

    def open_it(judged: Judged) -> list[str]:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        address = f"{weeks.installation.running.airflow_url}/recdeploy/report/{DAG_ID}/{judged.seen.run_id}"
        answer = page.goto(address)
        assert answer
        assert answer.status == 200
        return requests

    sign_in(page, weeks.installation.running.airflow_url)
    page.goto("about:blank")  # Airflow's own page would go on loading, among the requests and alarms of the report
    return open_it


def test_hostile_titles_are_shown_and_nothing_runs(
    weeks: Weeks, page: Page, open_report: Callable[[Judged], list[str]], alarms: list[str], tmp_path: Path
) -> None:
    accepted = weeks.accepted
    alarms.clear()  # of Airflow's own pages

    assert len(open_report(accepted)) == 1
    for title in HOSTILE[:2]:
        assert page.get_by_text(title, exact=True).count() > 0
    assert page.locator("script, img, a, iframe, link, b:text-is('evil')").count() == 0
    assert "49" not in page.locator(".movers").inner_text()  # of {{ 7*7 }}
    for user in page.locator("summary").all()[1:3]:
        user.click()
    page.screenshot(path=tmp_path / "accepted.png", full_page=True)
    assert alarms == []


@pytest.mark.parametrize("name", ["first", "failed", "accepted", "normal"])
def test_the_report_fits_a_phone_and_a_desktop_in_light_and_dark(
    weeks: Weeks, page: Page, open_report: Callable[[Judged], list[str]], name: str, tmp_path: Path
) -> None:
    judged, backgrounds = getattr(weeks, name), set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        open_report(judged)
        backgrounds.add(page.evaluate(BACKGROUND))
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)
            page.screenshot(path=tmp_path / f"{name}-{scheme}-{size['width']}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert page.evaluate(WIDER) == []
            expect(page.get_by_role("heading", name=judged.report["headline"])).to_be_visible()
    assert len(backgrounds) == 2


# The elements that a person would have to scroll sideways to read.
WIDER = """[...document.querySelectorAll("body *")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible" && e.clientWidth > 0
                 && !e.matches(".label"))
    .map(e => e.outerHTML.slice(0, 100))"""


def test_the_report_prints_with_the_lists_that_are_folded(
    weeks: Weeks, page: Page, open_report: Callable[[Judged], list[str]]
) -> None:
    page.emulate_media(color_scheme="dark")
    open_report(weeks.accepted)
    folded = page.locator("details:not([open]) ol").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.card h3')).color") == "rgb(24, 33, 44)"
    assert page.pdf(format="A4").startswith(b"%PDF-")


@pytest.mark.parametrize(("name", "task"), [("failed", "check_data"), ("accepted", APPROVAL)])
def test_the_button_among_the_details_of_a_task_opens_the_report(
    weeks: Weeks, page: Page, name: str, task: str, tmp_path: Path
) -> None:
    judged, url = getattr(weeks, name), weeks.installation.running.airflow_url
    sign_in(page, url)
    page.goto(f"{url}/dags/{DAG_ID}/runs/{judged.seen.run_id}/tasks/{task}/details")
    button = page.get_by_role("link", name="Report", exact=True)
    expect(button).to_be_visible()
    page.screenshot(path=tmp_path / f"button-{task}.png")
    button.click()
    expect(page.get_by_role("heading", name=judged.report["headline"])).to_be_visible()


def test_without_an_account_there_is_no_report(weeks: Weeks, page: Page) -> None:
    accepted = weeks.accepted
    answer = page.goto(f"{weeks.installation.running.airflow_url}/recdeploy/report/{DAG_ID}/{accepted.seen.run_id}")

    assert answer
    assert answer.status == 401
    assert accepted.report["headline"] not in page.content()
