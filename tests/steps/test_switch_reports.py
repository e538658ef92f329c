"""Every error while production is being switched says which state production is in."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from steps.factories import reopen

from recdeploy_ops.domain.errors import PromotionFailedError, RecdeployError, SwitchInterruptedError
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.production_reports import reporting_production
from recdeploy_ops.steps import close_release, promote, roll_back

pytestmark = [pytest.mark.more, pytest.mark.usefixtures("no_retries")]

STEPS = {"promote": promote, "roll_back": roll_back}
STATUSES = (401, 404, 409, 429, 503)
FIRST_TRY = Tries(1, 3, timedelta(seconds=30), "close_release goes on")
LAST_TRY = Tries(3, 3, timedelta(seconds=30), "close_release goes on")
SWITCHING = "Production is being switched and is not verified: "
SAYS = re.compile(
    SWITCHING + r".*"
    r"(configured for (v\d|the model)|its configuration is not known).*"
    r"it (answers with version|does not answer)",
    re.DOTALL,
)


@pytest.fixture(params=STEPS)
def step(request):
    return request.param


@pytest.fixture
def switching_run(request, run, step):
    """v1 serves and v2 is approved, or v2 serves and a rollback is rehearsed."""
    if step == "promote":
        return request.getfixturevalue("approved")
    request.getfixturevalue("two_versions")
    back = run("back")
    back.rehearse_rollback()
    return back


def take(emulator, context, step, tries=LAST_TRY):
    """Take a step to its end as its task does, where every wait is over at once."""
    own = replace(context, tries=tries)
    while isinstance(outcome := step.advance(own), Waiting):
        emulator.wait_until_idle()
    return outcome


def calls_after_the_intent(emulator, context, step):
    """Return each operation that is called after the intent, and how often it was called before."""
    emulator.clear_calls()
    intents = []
    record = context.record

    def noting(event):
        if event.type == "switch_started":
            intents.append(len(emulator.calls()))
        return record(event)

    own = replace(context)
    object.__setattr__(own, "record", noting)
    while isinstance(STEPS[step].advance(own), Waiting):
        emulator.wait_until_idle()
    operations = [call["operation"] for call in emulator.calls()]
    [intent] = intents
    return {name: operations[:intent].count(name) for name in dict.fromkeys(operations[intent:])}


@pytest.mark.timeout(1800)
def test_a_lasting_fault_at_any_call_after_the_intent_is_reported(emulator, switching_run, step, keep_start):
    run_id = switching_run.run_id
    begin_again = keep_start()
    wrong = []
    operations = calls_after_the_intent(emulator, begin_again(run_id), step)
    assert {"GetModelDeployment", "ListWorkRequests", "UpdateModelDeployment", "Predict"} <= set(operations)
    for (operation, before), status in product(operations.items(), STATUSES):
        context = begin_again(run_id)
        emulator.fail_next(operation, status=status, times=None, after=before)
        for name, module in ((step, STEPS[step]), ("close_release", close_release)):
            try:
                take(emulator, context, module)
            except RecdeployError as err:
                text = str(err)
                if context.refresh().releases[run_id].open_switch is None:
                    continue  # production is at rest, and the error says so
                if not text.startswith("PRODUCTION NEEDS A PERSON. ") or not SAYS.search(text):
                    wrong.append(f"{operation} {status}, {name}: {text}")
        emulator.clear_faults()
        context = reopen(context, run_id, session=OciSession(context.catalog._session.profile))
        take(emulator, context, close_release)
        serving = context.refresh().production.version
        if context.state.holder or serving not in (1, 2):
            wrong.append(f"{operation} {status}: afterwards v{serving}, held by {context.state.holder}")
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
def test_the_error_says_who_tries_again_and_when(emulator, approved, tries, begins, says):
    emulator.fail_next("UpdateModelDeployment", status=503, times=None)

    with pytest.raises(SwitchInterruptedError, match=says) as raised:
        take(emulator, approved.context, promote, tries)
    assert str(raised.value).startswith(begins)
    assert "configured for v1, and it answers with version 1" in str(raised.value)


def test_a_refusal_of_the_switch_restores_the_champion_at_once(emulator, approved):
    emulator.fail_next("UpdateModelDeployment", status=400, code="LimitExceeded")

    with pytest.raises(PromotionFailedError, match=r"v2 was not promoted: v1 serves at .*, verified.*LimitExceeded"):
        take(emulator, approved.context, promote)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_of_another_library_is_reported_too(emulator, switching_run, step, monkeypatch, caplog):
    context = switching_run.context
    with monkeypatch.context() as patched:
        patched.setattr(STEPS[step], "make_current", full_disk)
        patched.setattr(rehearsals, "find_or_restore", full_disk)
        for module in (STEPS[step], close_release):
            with pytest.raises(PromotionFailedError, match=r"Why: OSError: .*No space left on device\.") as raised:
                take(emulator, context, module)
            assert str(raised.value).startswith(f"PRODUCTION NEEDS A PERSON. {SWITCHING}")
            assert isinstance(raised.value.__cause__, OSError)
            assert "in full_disk" in caplog.text  # the traceback
            caplog.clear()

    take(emulator, context, close_release)
    assert context.state.holder is None


def test_an_error_of_another_library_is_unchanged_where_production_is_at_rest(context):
    context.refresh()

    with pytest.raises(OSError, match="No space left"), reporting_production(context):
        full_disk()
