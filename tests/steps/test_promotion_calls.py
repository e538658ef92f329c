"""What the page says that *Promote* will do, against the requests that OCI receives."""

import re
from itertools import groupby

import pytest

from recdeploy_ops.domain.promotions import CREATE, CallState, list_calls
from recdeploy_ops.domain.records import Decision

ANSWERS = 5  # as the settings of these tests have it
OCID = re.compile(r"ocid1\.[\w.-]+")


def planned(context, run_id):
    """Return the calls that are listed, as the emulator would count them."""
    calls = list_calls(context.history(), run_id, answers=ANSWERS)
    return calls, [(call.operation, call.target) for call in calls]


def received(emulator):
    """Return the requests that changed something, and the rows of probes, in order."""
    calls = [call for call in emulator.calls() if call["method"] != "GET" and "ListModel" not in call["operation"]]
    assert {call["status"] // 100 for call in calls} == {2}
    named = [(call["operation"], (OCID.findall(call["path"]) or [""])[-1]) for call in calls]
    return [name for name, _ in groupby(named)]


@pytest.mark.parametrize(
    ("served", "params"),
    [
        (False, {}),
        (False, {"skip_test_deployment": True}),
        (True, {}),
        (True, {"skip_test_deployment": True}),
        (True, {"ocpus": 4, "instance_count": 3}),
    ],
    ids=["first", "first, without test", "second", "second, without test", "second, resized"],
)
def test_the_listed_calls_are_those_that_a_promotion_sends(context, run, released, emulator, served, params):
    if served:
        released()
    release = run("run-new", shift=1, **params)
    release.validate()
    release.ask()
    calls, listed = planned(context, "run-new")
    assert {call.state for call in calls} == {CallState.PLANNED}

    emulator.clear_calls()
    release.record_answer(Decision.PROMOTE)
    release.promote()
    release.close()

    created = context.refresh().production.deployment_id
    expected = [(name, target or ("" if name == CREATE else created)) for name, target in listed]
    assert expected == received(emulator)
