"""A person triggers a rollback in Airflow's own page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser.pages import send, sign_in
from playwright.sync_api import expect
from scheduler.rollbacks import ROLLBACK

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from services import Installation

pytestmark = pytest.mark.more

UNKNOWN_VERSION = 12345


def test_the_form_of_a_rollback_accepts_a_version_number(chromium: str, installation: Installation, page: Page) -> None:
    installation = installation.of(ROLLBACK)
    rollbacks = installation.admin
    before = rollbacks.runs()
    sign_in(page, installation.running.airflow_url)
    page.goto(f"{installation.running.airflow_url}/dags/{ROLLBACK}")
    page.get_by_role("button", name="Trigger Dag").click()
    version = page.locator("input[name=element_version]")
    expect(version).to_have_value("previous")
    version.fill(str(UNKNOWN_VERSION))
    send(page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True))

    [run_id] = installation.wait_for("the new run", lambda: set(rollbacks.runs()) - set(before))
    installation.wait_for_end(run_id)
    error = rollbacks.error_of(run_id, "plan_rollback")
    assert f"Version {UNKNOWN_VERSION} does not exist" in error or "Nothing is in production" in error
    assert installation.entries(run_id) == []
