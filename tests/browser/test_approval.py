"""A person approves a release in Airflow's own page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browser.pages import USER, send, sign_in
from playwright.sync_api import expect
from rest import APPROVAL
from special_shop import SPECIAL_USERS

from demo.homes import DAG_ID
from recdeploy_ops.domain.events import EventType

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Dialog, Page, Request
    from services import Installation

pytestmark = pytest.mark.more

COMMENT = "looks good to me"
# A whole cell: what a gate needs names verdicts too.
VERDICT = re.compile(r"^\W*(FAIL|HOLD)$")
# Tall enough for the whole evidence, which scrolls within the page.
TALL = {"width": 1400, "height": 3200}


@pytest.fixture
def release(installation: Installation) -> str:
    """The run of a release that waits for its approval."""
    run_id = installation.trigger("browser", seed=11)
    installation.wait_until_asked(run_id)
    return run_id


def test_a_person_reads_the_evidence_promotes_and_sees_the_run_end(
    chromium: str, installation: Installation, release: str, page: Page, tmp_path: Path
) -> None:
    before = installation.cloud.production()
    alarms = watch(page)

    sign_in(page, installation.running.airflow_url)
    open_required_action(page, release)
    read_evidence(page, installation, release, tmp_path / "evidence.png")
    read_report(page, release, tmp_path)
    answer(page)
    see_it_end(page, installation, release, tmp_path / "run.png")

    assert alarms == []
    production = installation.production()
    assert installation.inspector.version(release) == int(production.version)
    assert before is None or production.url == before.url
    assert installation.cloud.endpoints("test") == []
    lists = installation.recommendations(installation.inspect_run(release, installation.follow(release), before))
    for user in SPECIAL_USERS:
        answered = installation.cloud.recommend(production, user, 10)["recommendations"]
        assert [(item["product_id"], item["rating"]) for item in answered] == lists[user]


def watch(page: Page) -> list[str]:
    """Collect what a page must not do: dialogs, errors, and requests to URLs in the data."""
    alarms: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        alarms.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_request(request: Request) -> None:
        if re.search(r"/[xy]$|example\.com", request.url):
            alarms.append(f"request: {request.url}")

    page.on("dialog", on_dialog)
    page.on("request", on_request)
    page.on("pageerror", lambda error: alarms.append(f"error: {error}"))
    return alarms


def open_required_action(page: Page, release: str) -> None:
    """Go from the front page to the question by the menu and a link."""
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Required Actions").click()
    row = page.get_by_role("row").filter(has_text=release)
    row.get_by_role("link", name=re.compile(r"^Promote v\d+ of product-recommender")).click()
    page.wait_for_url(f"**/dags/{DAG_ID}/runs/{release}/tasks/{APPROVAL}/required_actions*")
    expect(page.get_by_role("button", name="Promote", exact=True)).to_be_visible()


def read_evidence(page: Page, installation: Installation, release: str, picture: Path) -> None:
    page.set_viewport_size(TALL)
    tables = page.get_by_role("table")
    expect(tables.filter(has_text="recommendations, best first")).to_be_visible()
    page.screenshot(path=picture)
    text = "\n".join(tables.all_inner_texts())
    digest = next(e.event.digest for e in installation.entries(release) if e.type is EventType.APPROVAL_REQUESTED)

    expect(page.get_by_role("heading", name=re.compile("A person must look before v"))).to_be_visible()
    assert tables.count() == 5
    headers = page.get_by_role("columnheader").all_inner_texts()
    assert headers[headers.index("verdict") :][:5] == ["verdict", "gate", "value", "needs", "what was seen"]
    expect(page.get_by_role("cell", name=digest, exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"PASS: \d+ checks; the report lists them"))).to_be_visible()
    assert {cell.split()[-1] for cell in page.get_by_role("cell", name=VERDICT).all_inner_texts()} == {"HOLD"}
    assert_hostile_names_are_text(page, text, installation.admin.question(release)["body"])


def read_report(page: Page, release: str, folder: Path) -> None:
    """Open the report as its link does, in light and in dark, and come back."""
    question, address = page.url, page.get_by_role("link", name="Open the report").get_attribute("href")
    assert address
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
        answer = page.goto(address)
        assert answer
        assert answer.status == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        expect(page.get_by_role("heading", name=re.compile("A person must look before v"))).to_be_visible()
        expect(page.get_by_text(release).first).to_be_visible()
        assert page.locator("script, img, a, iframe").count() == 0
        page.screenshot(path=folder / f"report-{scheme}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.goto(question)
    expect(page.get_by_role("button", name="Promote", exact=True)).to_be_visible()


def assert_hostile_names_are_text(page: Page, text: str, body: str) -> None:
    spans = body.split("`")[1::2]  # a backtick in a name is escaped
    hostile = {span for span in spans if re.search(r"<|\]\(|\*\*|://", span)}
    assert hostile, "the evidence has no hostile name, so this test checks nothing"
    for name in hostile:
        assert name in text
    cells = page.locator("table")
    for element in ("img", "a", "script", "iframe", "b", "svg"):
        assert cells.locator(element).count() == 0, f"<{element}> in the evidence"


def answer(page: Page) -> None:
    page.locator("[name=element_comment]").fill(COMMENT)
    send(page.get_by_role("button", name="Promote", exact=True))


def see_it_end(page: Page, installation: Installation, release: str, picture: Path) -> None:
    installation.wait_for_state(release, APPROVAL, "success")
    decision = installation.admin.xcom(release, APPROVAL, "decision")
    assert (decision["decision"], decision["by"], decision["comment"]) == ("Promote", USER, COMMENT)
    installation.wait_for_end(release)
    page.goto(f"{installation.running.airflow_url}/dags/{DAG_ID}/runs/{release}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    page.screenshot(path=picture)
    assert page.get_by_text("Failed", exact=True).count() == 0
    assert installation.admin.run_state(release) == "success"
