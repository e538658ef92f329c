"""A web page of somebody else, in a browser on the machine where the emulator runs: it changes nothing there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import oci
import pytest
from browser.pages import open_browser
from web_servers import EmptyPage, serving

from oci_emulator.testing import running_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from oci_emulator.testing import RunningEmulator

pytestmark = pytest.mark.more

EVIL = "evil.example"
# What a page can try; each gives the status that it was allowed to read, or why it could not.
TRIES = """async (url) => {
    const order = JSON.stringify({operation: "*", kind: "status"});
    const tries = {
        reset: [`${url}/_emulator/reset`, {method: "POST"}],
        opaque: [`${url}/_emulator/reset`, {method: "POST", mode: "no-cors"}],
        text: [`${url}/_emulator/faults`, {method: "POST", body: order}],
        json: [`${url}/_emulator/faults`, {method: "POST", body: order, headers: {"content-type": "application/json"}}],
        token: [`${url}/_emulator/reset`, {method: "POST", headers: {"x-emulator-token": "guessed"}}],
        calls: [`${url}/_emulator/calls`, {}],
        projects: [`${url}/20190101/projects?compartmentId=c`, {}],
    };
    const found = {};
    for (const [name, [address, how]] of Object.entries(tries)) {
        try {
            found[name] = (await fetch(address, how)).status;
        } catch (error) {
            found[name] = String(error);
        }
    }
    return found;
}"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[RunningEmulator]:
    with running_emulator(tmp_path) as emulator:
        yield emulator


@pytest.fixture
def science(emulator: RunningEmulator) -> oci.data_science.DataScienceClient:
    """A client, with one project in the tenancy."""
    client = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
    details = oci.data_science.models.CreateProjectDetails(compartment_id=emulator.compartment_id)
    client.create_project(details)
    emulator.clear_calls()
    return client


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page of another origin."""
    with serving(EmptyPage) as port:
        yield f"http://{EVIL}:{port}"


@pytest.fixture
def victim(chromium: str) -> Iterator[Page]:
    """A page of a browser whose resolver finds the attacker's name at this machine, as after DNS rebinding."""
    with open_browser(chromium, EVIL) as browser:
        yield browser.new_page()


def require_unchanged(emulator: RunningEmulator, science: oci.data_science.DataScienceClient) -> None:
    assert emulator.faults() == []
    assert emulator.calls() == []
    assert len(science.list_projects(emulator.compartment_id).data) == 1


def test_a_page_of_another_origin_changes_nothing(
    emulator: RunningEmulator, science: oci.data_science.DataScienceClient, elsewhere: str, victim: Page
) -> None:
    victim.goto(elsewhere)

    found = victim.evaluate(TRIES, emulator.url)

    assert found.pop("opaque") == 0  # sent, and refused; the page cannot see that
    assert set(found.values()) == {"TypeError: Failed to fetch"}
    require_unchanged(emulator, science)


def test_a_page_whose_name_was_made_to_point_to_this_machine_changes_and_reads_nothing(
    emulator: RunningEmulator, science: oci.data_science.DataScienceClient, victim: Page
) -> None:
    own = f"http://{EVIL}:{urlsplit(emulator.url).port}"
    answer = victim.goto(f"{own}/_emulator/health")
    assert answer is not None
    assert answer.status == 403

    found = victim.evaluate(TRIES, own)

    assert set(found.values()) == {403}
    require_unchanged(emulator, science)
