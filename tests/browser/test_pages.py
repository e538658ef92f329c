"""The browser of the tests: what it asks for, and what it cannot ask for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from browser.pages import open_browser
from playwright.sync_api import Error
from web_servers import EmptyPage, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.more

ASKED = threading.Event()
# The page sends this request when the call that ordered it has returned.
SEND_LATER = "setTimeout(() => fetch('/later'), 300)"
PATIENCE_SECONDS = 60.0


class _Page(EmptyPage):
    """Tells when the later request arrives."""

    def do_GET(self) -> None:
        if self.path == "/later":
            ASKED.set()
        super().do_GET()


@pytest.fixture
def port() -> Iterator[int]:
    ASKED.clear()
    with serving(_Page) as port:
        yield port


def test_a_request_is_sent_while_the_test_waits_for_something_else(page: Page, port: int) -> None:
    page.goto(f"http://127.0.0.1:{port}")

    page.evaluate(SEND_LATER)

    assert ASKED.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("host", ["example.com", "localhost", "127.0.0.2", "192.0.2.1", "[::1]"])
def test_no_other_host_is_found(page: Page, port: int, host: str) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto(f"http://{host}:{port}")


def test_a_name_that_the_test_gives_is_found_at_this_machine(chromium: str, port: int) -> None:
    with open_browser(chromium, "evil.example") as browser:
        answer = browser.new_page().goto(f"http://evil.example:{port}")

    assert answer
    assert answer.ok
