"""Whatever fails while production is being switched, the error says what state production is in."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import oci
import oci.retry.retry
import pytest
from steps.factories import Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import PromotionFailedError, RecdeployError, SwitchInterruptedError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.production_reports import reporting_production
from recdeploy_ops.steps import close_release, promote, roll_back
from recdeploy_ops.storage.roots import open_store

pytestmark = pytest.mark.more

STEPS = {"promote": promote, "roll_back": roll_back}
STATUSES = (401, 404, 409, 429, 503)
FIRST_TRY = Tries(1, 3, timedelta(seconds=30), "close_release goes on")
LAST_TRY = Tries(3, 3, timedelta(seconds=30), "close_release goes on")
SWITCHING = "Production is being switched and is not verified: "
SAYS = re.compile(
    SWITCHING + r".*"
    r"(configured for (v\d|the model)|what it is configured for is not known).*"
    r"it (answers with version|does not answer)",
    re.DOTALL,
)


@pytest.fixture(autouse=True)
def no_retries(monkeypatch):
    """Let no fault be met by the SDK, which reads further pages with retries of its own all the same."""
    monkeypatch.setattr(sessions, "_retry_strategy", oci.retry.NoneRetryStrategy)
    monkeypatch.setattr(oci.retry.retry, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))


class Shop:
    """A shop in which v1 serves and v2 is approved, or v2 serves and a rollback is rehearsed: as often as wanted."""

    def __init__(self, context, emulator, folder):
        self.context, self.emulator, self.folder = context, emulator, folder
        self.root = Path(urlsplit(context.settings.storage).path)

    def begin(self, step):
        Run(self.context, "run-1", self.folder).release_fully()
        second = Run(self.context, "run-2", self.folder, shift=1)
        second.validate()
        second.answer(Decision.PROMOTE)
        if step == "roll_back":
            second.promote()
            second.close()
            Run(self.context, "back", self.folder).rehearse_rollback()
        self.emulator.snapshot("begun")
        shutil.copytree(self.root, self.folder / "begun")

    def again(self):
        """Return the context of the run that switches production, everything being as it was."""
        self.emulator.restore("begun")
        shutil.rmtree(self.root)
        shutil.copytree(self.folder / "begun", self.root)
        return self.fresh("test")

    def fresh(self, run_id):
        """Return a context whose circuit breakers remember no fault."""
        session, settings = OciSession(self.context.catalog._session.profile), self.context.settings
        return open_context(settings, open_store(settings.storage, session), session, run_id)

    def run(self, step):
        return Run(self.again(), "back" if step == "roll_back" else "run-2", self.folder)


def take(shop, run, step, tries=LAST_TRY):
    """Take a step to its end as its task does, where what it waits for is over at once."""
    context = replace(run.context, tries=tries)
    while isinstance(outcome := step.advance(context), Waiting):
        shop.emulator.wait_until_idle()
    return outcome


def calls_after_the_intent(shop, step):
    """Return each operation that is called after the intent, and how often it was called before."""
    run = shop.run(step)
    shop.emulator.clear_calls()
    intents = []
    record = run.context.record

    def noting(event):
        if event.type == "switch_started":
            intents.append(len(shop.emulator.calls()))
        return record(event)

    context = replace(run.context)
    object.__setattr__(context, "record", noting)
    run.context = context
    while isinstance(STEPS[step].advance(context), Waiting):
        shop.emulator.wait_until_idle()
    operations = [call["operation"] for call in shop.emulator.calls()]
    [intent] = intents
    return {name: operations[:intent].count(name) for name in dict.fromkeys(operations[intent:])}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("step", ["promote", "roll_back"])
def test_a_lasting_fault_at_any_call_after_the_intent_is_reported_and_passes(context, emulator, tmp_path, step):
    shop = Shop(context, emulator, tmp_path)
    shop.begin(step)
    champion = 2 if step == "roll_back" else 1
    wrong = []
    operations = calls_after_the_intent(shop, step)
    assert {"GetModelDeployment", "ListWorkRequests", "UpdateModelDeployment", "Predict"} <= set(operations)
    for operation, before in operations.items():
        for status in STATUSES:
            run = shop.run(step)
            emulator.fail_next(operation, status=status, times=None, after=before)
            for name, module in ((step, STEPS[step]), ("close_release", close_release)):
                try:
                    take(shop, run, module)
                except RecdeployError as err:
                    text = str(err)
                    if run.context.refresh().releases[run.run_id].open_switch is None:
                        continue  # production is at rest, and the error says so
                    if not text.startswith("PRODUCTION NEEDS A PERSON. ") or not SAYS.search(text):
                        wrong.append(f"{operation} {status}, {name}: {text}")
            emulator.clear_faults()
            run.context = shop.fresh(run.run_id)
            take(shop, run, close_release)
            serving = run.context.refresh().production.version
            if run.context.state.holder or serving not in (champion, 3 - champion):
                wrong.append(f"{operation} {status}: afterwards v{serving}, held by {run.context.state.holder}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize(
    ("tries", "begins", "says"),
    [
        (
            FIRST_TRY,
            "Production is being switched",
            r"Why: OCI refused to switch .*It is tried again in 30 s \(try 2 of 3\)\.",
        ),
        (LAST_TRY, "PRODUCTION NEEDS A PERSON. Production is being switched", r"close_release goes on\."),
        (
            Tries(),
            "PRODUCTION NEEDS A PERSON. Production is being switched",
            r"See that OCI and the storage answer, then",
        ),
    ],
    ids=["the first try", "the last try", "nobody tries again"],
)
def test_who_tries_again_and_when_is_said(context, emulator, tmp_path, tries, begins, says):
    shop = Shop(context, emulator, tmp_path)
    shop.begin("promote")
    release = shop.run("promote")
    emulator.fail_next("UpdateModelDeployment", status=503, times=None)

    with pytest.raises(SwitchInterruptedError, match=says) as raised:
        take(shop, release, promote, tries)
    assert str(raised.value).startswith(begins)
    assert "configured for v1, and it answers with version 1" in str(raised.value)


def test_a_refusal_of_the_switch_restores_the_champion_at_once(context, emulator, tmp_path):
    shop = Shop(context, emulator, tmp_path)
    shop.begin("promote")
    release = shop.run("promote")
    emulator.fail_next("UpdateModelDeployment", status=400, code="LimitExceeded")

    with pytest.raises(PromotionFailedError, match=r"v2 was not promoted: v1 serves at .*, verified.*LimitExceeded"):
        take(shop, release, promote)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", STEPS)
def test_an_error_that_is_not_ours_is_reported_too(context, emulator, tmp_path, monkeypatch, caplog, step):
    shop = Shop(context, emulator, tmp_path)
    shop.begin(step)
    run = shop.run(step)
    with monkeypatch.context() as patched:
        patched.setattr(STEPS[step], "make_current", full_disk)
        patched.setattr(rehearsals, "find_or_restore", full_disk)
        for module in (STEPS[step], close_release):
            with pytest.raises(PromotionFailedError, match=r"Why: OSError: .*No space left on device\.") as raised:
                take(shop, run, module)
            assert str(raised.value).startswith(f"PRODUCTION NEEDS A PERSON. {SWITCHING}")
            assert isinstance(raised.value.__cause__, OSError)
            assert "in full_disk" in caplog.text  # the traceback
            caplog.clear()

    take(shop, run, close_release)
    assert run.context.state.holder is None


def test_an_error_that_is_not_ours_is_left_alone_where_production_is_at_rest(context, monkeypatch):
    context.refresh()

    with pytest.raises(OSError, match="No space left"), reporting_production(context):
        full_disk()
