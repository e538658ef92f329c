"""A shop with enough evidence for every gate: its first release, and three runs of its next week."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from rest import APPROVAL
from services import EndedRun, Installation, started
from shared_services import keep_running

from demo.homes import DAG_ID
from demo.store import generate_store
from recdeploy_ops.approvals.pages import find_page
from recdeploy_ops.context import utc_now
from recdeploy_ops.ledger.opening import open_ledger
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.keys import run_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from demo.cloud import Endpoint

SIZE = 700  # users; the gates need 500
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202eevil\u202c", "{{ 7*7 }}")
HOSTILE_PRODUCTS = 12
REASON = "all products were renamed <b>on purpose</b>"
COMMENT = "nothing to compare with yet"


@dataclass(frozen=True)
class Judged:
    """A run that the gates have judged.

    Attributes:
        seen: at its end.
        page: its report as a page.
        report: the same as plain values.
    """

    seen: EndedRun
    page: str
    report: dict[str, Any]

    def select(self, verdict: str) -> dict[str, str]:
        """Return the messages of the gates with this verdict, by their names."""
        return {
            finding["gate"]: finding["message"] for finding in self.report["findings"] if finding["verdict"] == verdict
        }


@dataclass(frozen=True)
class Held(Judged):
    """A run on HOLD that is promoted without a comment first, which is refused.

    Attributes:
        asked: the first question.
        asked_again: the question after the refusal.
        kinds: types of the ledger's events at that time.
    """

    asked: dict[str, Any]
    asked_again: dict[str, Any]
    kinds: list[str]


class Weeks:
    """The runs, each made when it is first looked at.

    All runs of the next week have the first release as their champion: only the last of them is promoted.

    Args:
        installation: with an empty tenancy.
    """

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._first_day = (datetime.now(UTC) - timedelta(days=7)).date()

    @cached_property
    def first(self) -> Held:
        """The first release, on HOLD: promoted without a comment, which is refused, and then with one."""
        self._fill(0)
        run_id = self.installation.trigger("first")
        asked = self._wait_until_asked(run_id, 1)
        self.installation.approver.respond(run_id, "Promote", " ").raise_for_status()
        asked_again = self._wait_until_asked(run_id, 2)
        kinds = [str(entry.type) for entry in self.installation.entries(run_id)]
        outcome = self.installation.follow(run_id, "promote", COMMENT)
        judged = self._look(run_id, self.installation.inspect_run(run_id, outcome, None))
        return Held(judged.seen, judged.page, judged.report, asked, asked_again, kinds)

    @cached_property
    def failed(self) -> Judged:
        """A week in which all products have other titles, some of them hostile."""
        self._fill(1, "titles", self._most_listed(self.first))
        return self._release("failed")

    @cached_property
    def accepted(self) -> Judged:
        """The same week, triggered with the reason for it; rejected without a comment."""
        assert self.failed
        self._fill(1, "titles", self._most_listed(self.first))
        return self._release("accepted", "reject", "", accept_change=REASON)

    @cached_property
    def normal(self) -> Judged:
        """An honest week, promoted without a comment."""
        assert self.accepted
        self._fill(1)
        return self._release("normal", "promote", "")

    def _fill(self, weeks: int, damage: str | None = None, hostile: Sequence[str] = ()) -> None:
        shop = self.installation.home.store
        generate_store(shop, first_day=self._first_day, weeks=weeks, size=SIZE, damage=damage)
        with closing(sqlite3.connect(shop)) as database, database:
            titles = [(HOSTILE[number % len(HOSTILE)], product) for number, product in enumerate(hostile)]
            database.executemany("UPDATE products SET title = ? WHERE product_id = ?", titles)

    def _most_listed(self, judged: Judged) -> list[str]:
        lists = self.installation.recommendations(judged.seen).values()
        counts = Counter(item for chosen in lists for item, _ in chosen)
        return [item for item, _ in counts.most_common(HOSTILE_PRODUCTS)]

    def _release(self, name: str, decision: Any = None, comment: str = "", **params: Any) -> Judged:
        before: Endpoint | None = self.installation.cloud.production()
        run_id = self.installation.trigger(name, **params)
        outcome = self.installation.follow(run_id, decision, comment)
        return self._look(run_id, self.installation.inspect_run(run_id, outcome, before))

    def _wait_until_asked(self, run_id: str, times: int) -> dict[str, Any]:
        """Wait until a question was stored so many times, and return it."""
        self.installation.wait_for_state(run_id, APPROVAL, "awaiting_input", "running", "queued", "scheduled", "none")
        what = f"{run_id} is asked {times} times"
        self.installation.wait_for(what, lambda: self.installation.count_parkings(run_id) >= times)
        return self.installation.admin.question(run_id)

    def _look(self, run_id: str, seen: EndedRun) -> Judged:
        """Return the report of a run beside what is visible of it."""
        store = self.installation.objects
        settings = load_settings(self.installation.home.settings)
        page = find_page(store, open_ledger(settings, store, utc_now), DAG_ID, run_id)
        keys = [stored.key for stored in store.list(f"{run_prefix(run_id, 'report')}/") if stored.key.endswith(".html")]
        [key] = [key for key in keys if store.read(key) == page]
        report = json.loads(store.read(f"{key.removesuffix('.html')}.json"))
        return Judged(seen, page.decode(), report)


WEEKS = pytest.StashKey[Weeks]()


def fill_store(path: Path) -> None:
    generate_store(path, first_day=datetime.now(UTC).date(), size=SIZE)


@pytest.fixture(scope="session")
def weeks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Weeks:
    """The `Weeks` that all folders share whose ``conftest.py`` imports this, on an installation of their own."""
    stash = request.config.stash
    if WEEKS not in stash:
        stash[WEEKS] = Weeks(keep_running(request.config, started(tmp_path_factory.mktemp("weeks"), fill_store)))
    return stash[WEEKS]
