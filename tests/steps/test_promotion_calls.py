"""What the page says that *Promote* will do, against the requests that OCI receives."""

import re
from itertools import groupby

import pytest

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.promotions import CREATE, CallState, list_calls
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.live_deployments import observe_calls

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
    closed, _ = planned(context, "run-new")
    observed = observe_calls(context, closed)
    done = list_calls(context.history(), "run-new", answers=ANSWERS, observed=observed)
    assert [call.what for call in done] == [call.what for call in calls]
    assert {call.state for call in done} == {CallState.DONE}


def test_of_a_failed_promotion_it_is_listed_what_was_sent(context, approved, emulator):
    emulator.clear_calls()
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="out of capacity")
    with pytest.raises(PromotionFailedError):
        approved.promote()
    approved.close()

    calls, _ = planned(context, "run-2")
    assert [str(call.state) for call in calls] == ["not recorded", "failed", *["not sent"] * 4, "done"]
    assert "out of capacity" in calls[1].note
    assert calls[-1].what == "restore the champion: serving v1"
