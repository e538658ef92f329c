"""How every visit to Airflow's pages begins, and how a page asks Airflow for a change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import expect, sync_playwright

from demo.airflow_api import TRIES, is_locked
from demo.homes import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page, Response

# Airflow's pages are one program, which a busy machine loads slowly the first time.
PATIENCE_MS = 60_000
USER = "approver"
# No sandbox, so that it can run as root in a container.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What a button of these pages sends, besides reading.
CHANGES = ("POST", "PATCH")


@contextmanager
def open_browser(chromium: str, *names: str) -> Iterator[Browser]:
    """Run a browser, which can send requests only to 127.0.0.1, while the block lasts.

    The browser itself refuses the other hosts. A route of Playwright's would hold every request until the test calls
    Playwright again: a test that clicks, and then waits for Airflow, would wait for ever.

    Args:
        chromium: the program.
        names: host names that the browser finds at 127.0.0.1.
    """
    rules = [*(f"MAP {name} 127.0.0.1" for name in names), "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"]
    options = [*OPTIONS, f"--host-resolver-rules={', '.join(rules)}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=options)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, url: str, user: str = USER) -> None:
    """Open Airflow and sign in, by default as the approver."""
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(url)
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Browse")).to_be_visible()


def send(button: Locator) -> None:
    """Click a button; return when Airflow has done what the page asked for.

    Clicks again, as a person would, while Airflow's database is locked.
    """
    for _ in range(TRIES):
        answer = _click(button)
        if not is_locked(answer.status, answer.text()):
            break
    assert answer.ok, f"{answer.request.method} {answer.url}: {answer.status} {answer.text()}"


def _click(button: Locator) -> Response:
    page, milliseconds = button.page, 1000 * ANSWER_SECONDS
    with page.expect_response(lambda answer: answer.request.method in CHANGES, timeout=milliseconds) as answered:
        button.click()
    return answered.value
