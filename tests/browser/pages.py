"""How every visit to Airflow's pages begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Airflow's pages are one program, which a busy machine loads slowly the first time.
PATIENCE_MS = 60_000
USER = "approver"


def sign_in(page: Page, url: str, user: str = USER) -> None:
    """Open Airflow and sign in, by default as the approver."""
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(url)
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Browse")).to_be_visible()
