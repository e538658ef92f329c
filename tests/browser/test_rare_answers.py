"""The page *Recommender* when the server answers as it rarely does: the answers are made by the test."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from browser.pages import sign_in
from playwright.sync_api import expect

from demo.homes import DAG_ID

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route
    from services import Installation

pytestmark = pytest.mark.more

FREEZE = "recommender_freeze"
LOST = f"Airflow did not answer: the run may have begun. Look at the runs of {FREEZE} before you try again. "
NOTEBOOK_RUN = "notebook-20260302T030000-ann-1a2b"
CALL = {"operation": "UpdateModelDeployment", "target": "ocid-production", "what": "let production serve v2"}
AT = "2026-03-02T03:00:00+00:00"
OPEN = {
    "run_id": NOTEBOOK_RUN,
    "dag_id": "notebook",
    "version": 2,
    "is_rollback": False,
    "opened_at": AT,
    "triggered_by": "ann",
    "progress": "waits for an approval",
    "is_waiting": True,
    "has_report": False,
    "test": None,
}
PROMOTED = {
    "run_id": NOTEBOOK_RUN,
    "dag_id": "notebook",
    "purpose": "retrain",
    "version": 2,
    "opened_at": AT,
    "closed_at": AT,
    "outcome": "promoted",
    "triggered_by": "ann",
    "decided_by": "ann",
    "reason": "",
}


def open_page(page: Page, installation: Installation) -> None:
    """Sign in, and open the page of Airflow's navigation."""
    sign_in(page, installation.running.airflow_url)
    page.get_by_role("link", name="Recommender", exact=True).click()
    expect(page.get_by_role("heading", name="product-recommender")).to_be_visible()


# In an order in which each answer is shown in other words than the one before it.
ANSWERS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "no answer": (None, LOST),
    "bad gateway": ({"status": 502, "body": "<h1>Bad Gateway</h1>"}, f"{LOST}502: Bad Gateway"),
    "gateway timeout": ({"status": 504, "json": {"detail": "too late"}}, f"{LOST}504: too late"),
    "forbidden": ({"status": 403, "json": {"detail": "Forbidden"}}, "Nothing was changed. 403: Forbidden"),
    "a cut answer": ({"status": 200, "body": '{"dag_run_id'}, LOST),
    "conflict": ({"status": 409, "json": {"detail": "It exists"}}, "Nothing was changed. 409: It exists"),
}


def reply(answer: dict[str, Any] | None, route: Route) -> None:
    route.fulfill(**answer) if answer else route.abort("connectionreset")


def test_only_a_refused_trigger_has_changed_nothing(installation: Installation, page: Page) -> None:
    open_page(page, installation)
    form = page.get_by_role("region", name="Freeze promotions")
    form.get_by_label("Reason").fill("the network is being repaired")
    for answer, shown in ANSWERS.values():
        page.route(f"**/api/v2/dags/{FREEZE}/dagRuns", partial(reply, answer))
        form.get_by_role("button").click()
        expect(form.get_by_role("status")).to_have_text(re.compile(f"^{re.escape(shown)}"))
        assert (form.get_by_role("link", name=FREEZE).count() == 1) is shown.startswith(LOST)
        page.unroute(f"**/api/v2/dags/{FREEZE}/dagRuns")


@pytest.mark.parametrize(
    ("parts", "title"),
    [
        ({"release": OPEN}, "What Promote will do"),
        ({"releases": [PROMOTED]}, "What the last promotion did"),
    ],
    ids=["in progress", "promoted"],
)
def test_the_promotion_of_a_notebook_is_shown(
    installation: Installation, page: Page, parts: dict[str, Any], title: str
) -> None:
    call = {**CALL, "task": "promote", "state": "planned" if "release" in parts else "done", "at": AT, "note": ""}
    requested = []

    def reply(route: Route) -> None:
        requested.append(route.request.url)
        route.fulfill(json={**PROMOTED, "is_open": "release" in parts, "problem": "", "calls": [call]})

    page.route("**/recdeploy/api/release/**", reply)
    page.route("**/recdeploy/api/overview/*", lambda route: route.fulfill(json={**route.fetch().json(), **parts}))
    open_page(page, installation)

    promotion = page.get_by_role("region", name=title)
    expect(promotion.get_by_role("row", name=re.compile("let production serve v2"))).to_contain_text(call["state"])
    assert {url.partition("/recdeploy")[2] for url in requested} == {f"/api/release/{DAG_ID}/{NOTEBOOK_RUN}"}
    expect(promotion).to_contain_text(NOTEBOOK_RUN)
    expect(page.locator("main").get_by_role("link", name=NOTEBOOK_RUN)).to_have_count(0)  # it has no page in Airflow
    expect(page.get_by_role("link", name="Answer the approval")).to_have_count(0)
    if "release" in parts:
        progress = page.get_by_role("region", name="In progress")
        expect(progress).to_contain_text("Answer the approval in the notebook")
