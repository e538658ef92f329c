"""Random histories of retrain, promote, reject, roll back, freeze, crash, adopt and housekeeping keep the invariants.

`make test` takes two short ones, `make test-chaos` many long ones (CHAOS_HISTORIES, CHAOS_STEPS); their events are
printed.
"""

import os
import random
import tempfile
from collections import Counter
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
from steps.factories import USERS, Run, adopt, lose_ledger, reopen, tidy_up

from recdeploy_ops.domain.errors import AnswerRefusedError, PromotionFailedError, SettingsError
from recdeploy_ops.domain.records import Decision, Role
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.oci_clients.tags import PROJECT_TAG, ROLE_TAG
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.switches import patient_asker
from recdeploy_ops.steps import promote, roll_back

pytestmark = pytest.mark.usefixtures("neighbours")
HISTORIES = int(os.environ.get("CHAOS_HISTORIES", "2"))
STEPS = int(os.environ.get("CHAOS_STEPS", "8"))
SHOP = "shop-"  # begins the name of each history's project
# Events that are repeated only after another event.
SEEN = frozenset({"keep house", "adopt", "roll back", "deactivate", "throttle", "freeze"})
EVENTS = {
    "retrain",
    "promote",
    "promote, which fails",
    "reject",
    "crash before the approval",
    "crash while production is switched",
    "crash while production is rolled back",
    "roll back",
    "roll back without a previous version",
    "freeze",
    "promote, which is refused while frozen",
    "keep house",
    "keep house after a crash",
    "adopt",
    "adopt a lost ledger",
    "a person deactivates every model",
    "predict is throttled",
}


class Shop(RuleBasedStateMachine):
    """One shop; at most one run is in progress."""

    make_context = None  # set by the test
    emulator = None
    events = None

    @initialize(served=st.sampled_from([2, 1, 0]))
    def open_shop(self, served):
        """Begin with this number of versions that have served: a shop without any cannot be rolled back."""
        self.context = type(self).make_context()
        self.folder = Path(tempfile.mkdtemp(prefix="recdeploy-test-"))
        self.number = 0
        self.run = None
        self.verified = set()
        self.highest = 0
        self.dead = set()
        self.unseen = set(SEEN)
        for _ in range(served):
            self.begin()
            self.end_promoted()

    def note(self, event):
        """Count an event; after it housekeeping and adoption are worth repeating."""
        self.events[event] += 1
        self.unseen |= SEEN

    def begin(self):
        self.run = self.next_run()
        version = self.run.plan(has_ended=self.has_ended)["version"]
        assert version > self.highest  # also after a crash, a rejection, and a ledger that was lost
        self.run.extract()
        self.run.validate()

    def end_promoted(self):
        self.answer_promote()
        self.run.promote()
        self.run.close()
        self.verified.add(self.context.ledger.read().production.version)
        self.run = None

    def next_run(self):
        self.number += 1
        return Run(self.context, f"run-{self.number}", self.folder, shift=random.Random(self.number).randrange(4))

    def has_ended(self, holder):
        return holder.run_id in self.dead

    @precondition(lambda self: self.run is None)
    @rule()
    def retrain(self):
        self.note("retrain")
        self.begin()

    def answer_promote(self):
        """Let a person promote; while promotions are frozen, that is refused first."""
        self.run.ask(attempt=1)
        if self.context.refresh().freezes:
            self.note("promote, which is refused while frozen")
            with pytest.raises(AnswerRefusedError):
                self.run.record_answer(Decision.PROMOTE)
            self.next_run().resume()
        self.run.record_answer(Decision.PROMOTE)

    @precondition(lambda self: "freeze" in self.unseen and self.context.refresh().production is not None)
    @rule()
    def freeze(self):
        self.note("freeze")
        self.unseen.remove("freeze")
        self.next_run().freeze()

    @precondition(lambda self: self.run is not None)
    @rule(failing=st.booleans())
    def promote(self, failing):
        self.note("promote, which fails" if failing else "promote")
        if not failing:
            self.end_promoted()
            return
        self.answer_promote()
        self.emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
        with pytest.raises(PromotionFailedError):
            self.run.promote()
        self.run.close()
        self.run = None

    @precondition(lambda self: self.run is not None)
    @rule()
    def reject(self):
        self.note("reject")
        self.run.reject_fully()
        self.run = None

    @precondition(lambda self: self.run is not None)
    @rule(switching=st.booleans())
    def crash(self, switching):
        """The run dies: before its approval, or just after it requested the switch."""
        self.note("crash while production is switched" if switching else "crash before the approval")
        if switching:
            self.answer_promote()
            promote.advance(self.run.context)
        self.dead.add(self.run.run_id)
        self.run = None

    @precondition(lambda self: self.run is None and "roll back" in self.unseen)
    @rule(crashing=st.booleans())
    def roll_back(self, crashing):
        state = self.context.ledger.read()
        previous, back = state.previous_champion, self.next_run()
        if previous is None or previous.version > state.production.version:  # or it was rolled back
            self.note("roll back without a previous version")
            self.unseen.remove("roll back")
            with pytest.raises(SettingsError):
                back.roll_back(has_ended=self.has_ended)
        elif crashing:
            self.note("crash while production is rolled back")
            back.rehearse_rollback(has_ended=self.has_ended)
            roll_back.advance(back.context)
            self.dead.add(back.run_id)
        else:
            self.note("roll back")
            back.roll_back(has_ended=self.has_ended)
            state = self.context.ledger.read()
            assert state.production.version == previous.version
            assert state.freezes, "promotions hold"

    @precondition(lambda self: "keep house" in self.unseen)
    @rule()
    def housekeeping(self):
        crashed = self.context.ledger.read().holder in self.dead
        self.events["keep house after a crash" if crashed else "keep house"] += 1
        self.unseen.remove("keep house")
        self.tidy_up()

    def tidy_up(self):
        """Let housekeeping run: only production is left then, and the test deployment of a live run."""
        tidy_up(self.context, ended=self.context.refresh().holder in self.dead)
        state = self.context.ledger.read()
        assert state.holder == (self.run.run_id if self.run else None)
        expected = [Role.PRODUCTION] * bool(state.production) + [Role.TEST] * bool(self.run)
        assert sorted(d.tags.get(ROLE_TAG) for d in self.living()) == expected

    def living(self):
        """Return every deployment of this shop that is not deleted, in any role."""
        shop = self.context.settings.project_name
        return [
            d
            for d in self.context.deployments.all()
            if d.lifecycle_state != "DELETED" and d.tags.get(PROJECT_TAG) == shop
        ]

    @precondition(lambda self: "deactivate" in self.unseen)
    @rule()
    def deactivate_models(self):
        """A person tidies the catalog, which does not show the models that a rollback needs."""
        self.note("a person deactivates every model")
        self.unseen.remove("deactivate")
        for model in list_models(self.context):
            if model.is_usable:
                self.context.catalog._client.deactivate_model(model.model_id)

    @precondition(lambda self: "throttle" in self.unseen)
    @rule()
    def throttle(self):
        """The next three requests to an endpoint of the tenancy are throttled."""
        self.note("predict is throttled")
        self.unseen.remove("throttle")
        self.emulator.clear_faults()  # an earlier one may wait: more in a row than a probe is repeated are an outage
        self.emulator.fail_next("Predict", status=429, times=3)

    @precondition(lambda self: self.run is None and "adopt" in self.unseen)
    @rule(losing=st.booleans())
    def adopt(self, losing):
        self.events["adopt a lost ledger" if losing else "adopt"] += 1
        self.unseen.remove("adopt")
        self.tidy_up()
        before = self.context.ledger.read()
        if losing:
            self.context = lose_ledger(self.context)
        adopt(self.context)
        after = self.context.ledger.read()
        assert (after.production and after.production.version) == (before.production and before.production.version)

    @invariant()
    def there_is_one_production_and_it_answers_as_the_ledger_says(self):
        if not hasattr(self, "context"):
            return
        state = self.context.ledger.read()
        living = [d for d in self.living() if d.tags.get(ROLE_TAG) != Role.TEST]
        assert len(living) <= 1
        if state.production is None or (state.holder in self.dead):
            return
        assert [d.deployment_id for d in living] == [state.production.deployment_id]
        ask = patient_asker(self.context, living[0].url)
        assert ask({"user_id": USERS[0]}).body["model_version"] == state.production.version
        champions = [v.number for v in state.versions.values() if v.stage is Stage.CHAMPION]
        assert champions == [state.production.version]

    @invariant()
    def versions_only_grow_and_the_previous_champion_was_verified(self):
        if not hasattr(self, "context"):
            return
        state = self.context.ledger.read()
        assert state.highest_version >= self.highest
        self.highest = max(self.highest, max(state.versions, default=0))
        if state.previous_champion:
            assert state.previous_champion.version in self.verified


@pytest.fixture
def shop(context, emulator, tmp_path):
    """A state machine that opens a new shop each time, and counts the events in all of them."""
    numbers = count(1)

    def make_context():
        for deployment in context.deployments.all():
            is_of_a_history = deployment.tags.get(PROJECT_TAG, "").startswith(SHOP)
            if deployment.lifecycle_state == "ACTIVE" and is_of_a_history:
                context.deployments.delete(context.deployments.get(deployment.deployment_id))
        # A name of its own for each history: the tenancy is shared, and nothing of another history is seen.
        name = f"{SHOP}{next(numbers)}"
        return reopen(context, project_name=name, storage=(tmp_path / name).as_uri())

    parts = {"make_context": staticmethod(make_context), "emulator": emulator, "events": Counter()}
    return type("ThisShop", (Shop,), parts)


TOUR = (
    lambda shop: shop.open_shop(served=0),
    lambda shop: shop.roll_back(crashing=False),  # a previous version is missing
    lambda shop: shop.retrain(),
    lambda shop: shop.promote(failing=True),
    lambda shop: shop.retrain(),
    lambda shop: shop.promote(failing=False),
    lambda shop: shop.retrain(),
    lambda shop: shop.crash(switching=False),
    lambda shop: shop.housekeeping(),
    lambda shop: shop.retrain(),
    lambda shop: shop.promote(failing=False),
    lambda shop: shop.roll_back(crashing=True),
    lambda shop: shop.adopt(losing=False),
    lambda shop: shop.retrain(),
    lambda shop: shop.crash(switching=True),
    lambda shop: shop.roll_back(crashing=False),
    lambda shop: shop.retrain(),
    lambda shop: shop.promote(failing=False),
    lambda shop: shop.freeze(),
    lambda shop: shop.adopt(losing=True),
    lambda shop: shop.retrain(),
    lambda shop: shop.deactivate_models(),
    lambda shop: shop.throttle(),
    lambda shop: shop.promote(failing=True),
    lambda shop: shop.retrain(),
    lambda shop: shop.reject(),
    lambda shop: shop.housekeeping(),
)


def test_every_event_keeps_the_invariants(shop):
    """A few random histories do not contain every event."""
    state = shop()
    for step in TOUR:
        step(state)
        state.there_is_one_production_and_it_answers_as_the_ledger_says()
        state.versions_only_grow_and_the_previous_champion_was_verified()

    assert set(shop.events) == EVENTS


@pytest.mark.timeout(600 + 10 * HISTORIES * STEPS)
def test_random_histories_keep_the_invariants(shop, tell):
    run_state_machine_as_test(
        shop,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=HISTORIES <= 2,
            database=None,
        ),
    )
    counts = ", ".join(f"{name} {number}" for name, number in sorted(shop.events.items()))
    tell(f"histories: {shop.events.total()} steps: {counts}")
    assert shop.events
    assert set(shop.events) <= EVENTS
