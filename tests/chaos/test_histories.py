"""Random histories of retrain, promote, reject, roll back, crash and adopt keep what must always hold."""

import os
import random
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from steps.factories import USERS, Run

from recdeploy_ops.domain.errors import PromotionFailedError, SettingsError
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.steps import adopt, keep_house, promote
from recdeploy_ops.steps.waits import finish

HISTORIES = int(os.environ.get("CHAOS_HISTORIES", "2"))
STEPS = int(os.environ.get("CHAOS_STEPS", "8"))


class Shop(RuleBasedStateMachine):
    """One shop; at most one run is under way."""

    make_releases = None  # set by the test
    emulator = None

    @initialize()
    def open_shop(self):
        self.releases = type(self).make_releases()
        self.folder = Path(tempfile.mkdtemp(prefix="recdeploy-test-"))
        self.number = 0
        self.run = None
        self.verified = set()
        self.highest = 0
        self.dead = set()

    def next_run(self):
        self.number += 1
        return Run(self.releases, f"run-{self.number}", self.folder, shift=random.Random(self.number).randrange(4))

    def has_ended(self, dag_id, run_id):
        return run_id in self.dead

    @precondition(lambda self: self.run is None)
    @rule()
    def retrain(self):
        self.run = self.next_run()
        self.run.plan(has_ended=self.has_ended)
        self.run.extract()
        self.run.validate()

    @precondition(lambda self: self.run is not None)
    @rule(failing=st.booleans())
    def promote(self, failing):
        self.run.answer(Decision.PROMOTE)
        if failing:
            self.emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
            with pytest.raises(PromotionFailedError):
                self.run.promote()
        else:
            self.run.promote()
            self.verified.add(self.releases.ledger.book().production.version)
        self.run.close()
        self.run = None

    @precondition(lambda self: self.run is not None)
    @rule()
    def reject(self):
        self.run.answer(Decision.REJECT)
        self.run.reject()
        self.run.close()
        self.run = None

    @precondition(lambda self: self.run is not None)
    @rule(switching=st.booleans())
    def crash(self, switching):
        """The run dies: before its approval, or just after OCI was asked to switch."""
        if switching:
            self.run.answer(Decision.PROMOTE)
            promote.advance(self.releases, self.run.run_id)
        self.dead.add(self.run.run_id)
        self.run = None

    @precondition(lambda self: self.run is None)
    @rule()
    def roll_back(self):
        previous = self.releases.ledger.book().previous_champion
        if previous is None:
            with pytest.raises(SettingsError):
                self.next_run().roll_back(has_ended=self.has_ended)
        else:
            self.next_run().roll_back(has_ended=self.has_ended)
            assert self.releases.ledger.book().production.version == previous.version

    @rule()
    def keep_house(self):
        finish(self.releases, lambda: keep_house.advance(self.releases, has_ended=self.has_ended))
        living = [d for d in self.releases.deployments_of(Role.TEST) if d.lifecycle_state != "DELETED"]
        assert len(living) == (1 if self.run else 0)

    @precondition(lambda self: self.run is None)
    @rule(losing=st.booleans())
    def adopt(self, losing):
        finish(self.releases, lambda: keep_house.advance(self.releases, has_ended=self.has_ended))
        before = self.releases.ledger.book()
        if losing:
            for found in list(self.releases.store.list("ledger/")):
                self.releases.store.delete(found.key)
            self.releases = type(self).make_releases(self.releases)
        advance = lambda: adopt.advance(self.releases, "adopt", deployment_id=None, apply=True)  # noqa: E731
        finish(self.releases, advance)
        after = self.releases.ledger.book()
        assert (after.production and after.production.version) == (before.production and before.production.version)

    @invariant()
    def there_is_one_production_and_it_answers_as_the_ledger_says(self):
        if not hasattr(self, "releases"):
            return
        book = self.releases.ledger.book()
        if book.production is None or (book.holder in self.dead):
            return
        living = [d for d in self.releases.deployments_of(Role.PRODUCTION) if d.lifecycle_state != "DELETED"]
        assert len(living) == 1
        ask = self.releases.deployments.asker(living[0], timeout_seconds=10)
        assert ask({"user_id": USERS[0]}).body["model_version"] == book.production.version
        champions = [v.number for v in book.versions.values() if v.stage is Stage.CHAMPION]
        assert champions == [book.production.version]

    @invariant()
    def versions_only_grow_and_the_previous_champion_was_verified(self):
        if not hasattr(self, "releases"):
            return
        book = self.releases.ledger.book()
        assert book.highest_version >= self.highest
        self.highest = max(self.highest, max(book.versions, default=0))
        if book.previous_champion:
            assert book.previous_champion.version in self.verified


def test_whatever_happens_the_invariants_hold(releases, emulator, tmp_path):
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.storage.stores import open_store

    numbers = count(1)

    def make_releases(same=None):
        session = releases.catalog._session
        if same is not None:
            return Releases(same.settings, same.store, session)
        for deployment in releases.deployments.all():
            if deployment.lifecycle_state == "ACTIVE":
                releases.deployments.delete(releases.deployments.get(deployment.deployment_id))
        # A name of its own for each history: the tenancy is shared, and nothing of another history is seen.
        name = f"shop-{next(numbers)}"
        settings = releases.settings.model_copy(update={"project_name": name, "storage": (tmp_path / name).as_uri()})
        return Releases(settings, open_store(settings.storage, session), session)

    run_state_machine_as_test(
        type("ThisShop", (Shop,), {"make_releases": staticmethod(make_releases), "emulator": emulator}),
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=HISTORIES <= 2,
            database=None,
        ),
    )
