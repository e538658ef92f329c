"""Checks of a release from outside: the production endpoint, the tenancy, the shop, the ledger."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.errors import DemoError
from recdeploy_ops.approvals.pages import find_page_key
from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.events import ModelTrained
from recdeploy_ops.evaluation.release_report import RUNS
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.ledger.opening import open_ledger
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.bundles import open_bundle
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from demo.cloud import Cloud, Endpoint
    from demo.homes import Home
    from demo.options import Decision
    from recdeploy_ops.domain.ledger_state import LedgerState

UNKNOWN_USER = "somebody-whom-this-shop-has-never-seen"
UNKNOWN_MESSAGE = "Recommendations for new user (popular items)"
SAMPLE = 25


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what must hold.
        passed: whether it holds.
        seen: what was observed.
    """

    name: str
    passed: bool
    seen: str


class Inspector:
    """Checks what a release left behind.

    Args:
        cloud: the tenancy.
        home: the demo's folder.
    """

    def __init__(self, cloud: Cloud, home: Home) -> None:
        self._cloud = cloud
        self._home = home
        self._settings = load_settings(home.settings)
        self._objects = open_store(self._settings.storage, None)

    def state(self) -> LedgerState:
        """Return the state of the ledger."""
        return open_ledger(self._settings, self._objects, utc_now).read()

    def production(self) -> Endpoint | None:
        """Return the production deployment, if there is one."""
        return self._cloud.production()

    def version(self, run_id: str) -> int | None:
        """Return the version of a run's release, if it was planned."""
        release = self.state().releases.get(run_id)
        return release.version if release else None

    def findings(self, run_id: str) -> list[dict[str, Any]]:
        """Return the findings of all gates that a run has run, as they are stored, with ``run``, the name of theirs."""
        release = self.state().releases.get(run_id)
        judged = {name: event for name, kind in RUNS.items() if release and (event := release.get(kind))}
        return [
            {"run": name, **finding}
            for name, event in judged.items()
            for finding in read_report(self._objects, event)["findings"]
        ]

    def page(self, run_id: str) -> Path | None:
        """Return the file of a run's newest report; None if it has none."""
        release = self.state().releases.get(run_id)
        key = find_page_key(release) if release else None
        return self._home.storage / key if key else None

    def inspect(self, run_id: str, decision: Decision, before: Endpoint | None) -> list[Check]:
        """Check that a run ended as decided.

        Args:
            run_id: the DAG run.
            decision: how its approval was answered.
            before: production before the run.
        """
        if decision == "promote":
            return [*self._at_rest(), *self._promoted(run_id, before, self._cloud.production())]
        return [*self.inspect_unchanged(before), self._outcome(run_id)]

    def inspect_unchanged(self, before: Endpoint | None) -> list[Check]:
        """Check that a run that a gate has stopped left production alone.

        Args:
            before: production before the run.
        """
        after = self._cloud.production()
        checks = [*self._at_rest(), Check("production is unchanged", after == before, _describe(after))]
        return [*checks, self._serves(after, after.version)] if after is not None else checks

    def _at_rest(self) -> list[Check]:
        return [self._lock(), self._no_test_deployment()]

    def _promoted(self, run_id: str, before: Endpoint | None, after: Endpoint | None) -> list[Check]:
        if after is None:
            return [Check("there is a production deployment", False, "none")]
        version = self.version(run_id)
        checks = [
            Check("production is ACTIVE", after.state == "ACTIVE", after.state),
            Check("production has this run's version", after.version == str(version), f"{after.version}"),
            self._serves(after, str(version)),
            self._unknown_user(after),
            self._same_lists(run_id, after),
        ]
        if before is not None:
            checks.append(Check("production keeps its URL", after.url == before.url, after.url))
        return checks

    def _lock(self) -> Check:
        holder = self.state().holder
        return Check("the release lock is free", holder is None, holder or "free")

    def _no_test_deployment(self) -> Check:
        left = self._cloud.endpoints("test")
        return Check("no test deployment is left", not left, ", ".join(e.ocid for e in left) or "none")

    def _outcome(self, run_id: str) -> Check:
        release = self.state().releases.get(run_id)
        outcome = release.outcome if release else None
        return Check("the ledger says rejected", outcome == "rejected", f"{outcome}")

    def _serves(self, endpoint: Endpoint, version: str | None) -> Check:
        user = self._users()[0]
        answer = self._cloud.recommend(endpoint, user, self._settings.training.top_k)
        passed = str(answer.get("model_version")) == version and answer.get("digest") == endpoint.digest
        seen = f"model_version {answer.get('model_version')}, digest {answer.get('digest')}"
        return Check("production answers with its version and digest", passed, seen)

    def _unknown_user(self, endpoint: Endpoint) -> Check:
        answer = self._cloud.recommend(endpoint, UNKNOWN_USER, self._settings.training.top_k)
        length = min(self._settings.training.top_k, self._count_items())
        passed = answer.get("message") == UNKNOWN_MESSAGE and answer.get("count") == length
        seen = f"{answer.get('message')} ({answer.get('count')} of {length})"
        return Check("an unknown user gets the fallback", passed, seen)

    def _same_lists(self, run_id: str, endpoint: Endpoint) -> Check:
        name = "known users get this run's recommendations.csv, nothing that they rated"
        lists = self._recommendations(run_id)
        for user in self._users():
            answer = self._cloud.recommend(endpoint, user, self._settings.training.top_k)
            served = [item["product_id"] for item in answer.get("recommendations", [])]
            if served != lists.get(user):
                return Check(name, False, f"user {user!r} gets {served}, the file says {lists.get(user)}")
            if not served:
                return Check(name, False, f"user {user!r} gets nothing")
            rated = sorted(set(served) & self._rated(user))
            if rated:
                return Check(name, False, f"user {user!r} gets {rated}, which they rated")
        users = self._users()
        return Check(name, True, f"{len(users)} users; {users[0]!r} gets {', '.join(lists[users[0]])}")

    def _recommendations(self, run_id: str) -> dict[str, list[str]]:
        trained = self.state().releases[run_id].get(ModelTrained)
        if trained is None:
            raise DemoError(f"The ledger has no trained model of the run {run_id}.")
        bundle = open_bundle(self._objects, trained.prefix, digest=trained.digest, made_by="run_ads_operator")
        key = next((name for name in bundle.files if name.endswith("recommendations.csv")), None)
        if key is None:
            raise DemoError(f"{trained.prefix} holds no recommendations.csv, only {', '.join(bundle.files)}.")
        text = self._objects.read(bundle.key(key)).decode("utf-8")
        lists: dict[str, list[str]] = {}
        source = self._settings.source
        for row in csv.DictReader(io.StringIO(text, newline="")):
            lists.setdefault(row[source.user_column], []).append(row[source.item_column])
        return lists

    def _users(self) -> list[str]:
        """Return some of the shop's users, spread evenly over the table, the first included."""
        with closing(sqlite3.connect(self._home.store)) as shop:
            users = [user for (user,) in shop.execute("SELECT user_id FROM users ORDER BY rowid")]
        return users[:: max(1, len(users) // SAMPLE)]

    def _count_items(self) -> int:
        with closing(sqlite3.connect(self._home.store)) as shop:
            return int(shop.execute("SELECT count(*) FROM products").fetchone()[0])

    def _rated(self, user: str) -> set[str]:
        with closing(sqlite3.connect(self._home.store)) as shop:
            rows = shop.execute("SELECT product_id FROM interactions WHERE user_id = ?", (user,))
            return {item for (item,) in rows}


def _describe(endpoint: Endpoint | None) -> str:
    return f"version {endpoint.version} at {endpoint.url}" if endpoint else "none"
