"""The plan of the command `rollback`: begin a rollback, continue an interrupted one, or stop because it is done."""

from dataclasses import replace

import pytest
from events import (
    ROLLBACK,
    adopted,
    asked,
    chain,
    closed,
    complete,
    of,
    opened,
    opened_rollback,
    registered,
    rejected,
    rolled_back,
    switch_started,
    validated,
)

from recdeploy_ops.domain.errors import IllegalTransitionError, SettingsError
from recdeploy_ops.domain.events import TERMINAL
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.terminal_rollbacks import RollbackRequest, plan_rollback

TWICE = (*complete(1), *complete(2))
REJECTED = of("run-3", opened(3), registered(3), rejected(3), closed(Outcome.REJECTED, 3))
REASON = "it looks odd"


def begun(version="previous", *, run_id="terminal-1", target=1):
    params = replace(ROLLBACK, version=version, reason=REASON)
    return of(run_id, opened_rollback(target, dag_id=TERMINAL, params=params, triggered_by="ann"))


def plan(*events, version="previous", reason=REASON, ended_run=None):
    return plan_rollback(replay(chain(*events)), RollbackRequest(version, reason, ended_run))


DONE = of("terminal-1", rolled_back(1), closed(Outcome.ROLLED_BACK, 1))


@pytest.mark.parametrize("version", ["previous", 1])
def test_the_plan_of_a_new_rollback_has_both_versions_and_the_reason(version):
    planned = plan(*TWICE, version=version)

    assert (planned.version, planned.begun, planned.is_done) == (1, None, False)
    assert planned.summary == (
        "Production serves v2 at http://production.",
        "It goes back to v1 at the same URL. Reason: it looks odd",
    )


def test_the_plan_of_a_rollback_to_a_newer_version_does_not_go_back():
    rolled = of("back", opened_rollback(1), rolled_back(1), closed(Outcome.ROLLED_BACK, 1))

    planned = plan(*TWICE, *rolled, version=2)

    assert planned.version == 2
    assert planned.summary == (
        "Production serves v1 at http://production.",
        "It goes forward to v2, which served before, at the same URL. Reason: it looks odd",
    )


@pytest.mark.parametrize(
    ("history", "version", "error"),
    [
        ((), "previous", SettingsError),
        (complete(1), "previous", SettingsError),
        (TWICE, 9, SettingsError),
        ((*TWICE, *REJECTED), 3, IllegalTransitionError),
    ],
)
def test_a_version_that_cannot_be_rolled_back_to_is_rejected_by_the_plan(history, version, error):
    with pytest.raises(error):
        plan(*history, version=version)


@pytest.mark.parametrize("begun_with", ["previous", 1])
@pytest.mark.parametrize("version", ["previous", 1])
@pytest.mark.parametrize("reason", [REASON, "another text"])
@pytest.mark.parametrize("events", [(), of("terminal-1", switch_started(1))])
def test_an_interrupted_rollback_to_the_same_version_is_continued(begun_with, version, reason, events):
    planned = plan(*TWICE, *begun(begun_with), *events, version=version, reason=reason)

    assert planned.begun is not None
    assert (planned.version, planned.begun.run_id, planned.is_done) == (1, "terminal-1", False)
    assert planned.summary[-1] == "The rollback to v1 that ann began (it looks odd) continues."


@pytest.mark.parametrize(("begun_with", "version"), [("previous", "previous"), ("previous", 1), (1, 1)])
def test_a_verified_rollback_that_is_still_open_is_only_closed(begun_with, version):
    planned = plan(*TWICE, *begun(begun_with), *of("terminal-1", rolled_back(1)), version=version)

    assert planned.begun is not None
    assert (planned.version, planned.begun.run_id, planned.is_done) == (1, "terminal-1", True)


def test_a_plan_without_production_does_not_say_what_serves():
    planned = plan(*TWICE, *begun(1), *of("adopt", adopted(production=None)), version=1)

    assert [line for line in planned.summary if "serve" in line] == []


@pytest.mark.parametrize(("version", "reason"), [("previous", REASON), (1, REASON), (1, "another text")])
def test_the_same_command_does_not_roll_back_twice(version, reason):
    planned = plan(*TWICE, *begun(), *DONE, version=version, reason=reason)

    assert (planned.version, planned.is_done) == (1, True)
    assert planned.begun is not None
    assert "v1 serves already: it is verified" in planned.summary[-1]


@pytest.mark.parametrize(
    ("history", "request_", "is_done"),
    [
        pytest.param((), {"version": 2}, True, id="a rollback to the version that serves is done"),
        pytest.param((*begun(), *DONE), {"version": 2}, False, id="a number is another rollback"),
    ],
)
def test_a_rollback_to_version_2_does_not_continue_one_to_version_1(history, request_, is_done):
    planned = plan(*TWICE, *history, **request_)

    assert (planned.version, planned.begun, planned.is_done) == (2, None, is_done)


@pytest.mark.parametrize(
    ("since", "reason"),
    [(DONE, "another reason"), ((*DONE, *of("run-3", opened(3))), REASON), (of("terminal-1", rolled_back(1)), REASON)],
)
def test_previous_never_goes_forward_to_a_version_that_was_rolled_back(since, reason):
    with pytest.raises(SettingsError, match=r"'previous' never goes forward\..*Name a version by its number"):
        plan(*TWICE, *begun(1), *since, reason=reason)


@pytest.mark.parametrize("since", [of("terminal-1", closed(Outcome.FAILED, 1)), (*DONE, *complete(3))])
def test_a_rollback_that_failed_or_has_a_later_release_is_not_done(since):
    planned = plan(*TWICE, *begun(), *since)

    assert (planned.begun, planned.is_done) == (None, False)


@pytest.mark.parametrize(
    ("holder", "ended_run", "says"),
    [
        (of("run-3", opened(3), registered(3), validated(), asked(3)), None, "The rollback preempts it."),
        (of("run-3", opened(3)), None, "is refused, unless its lease is over"),
        (of("run-3", opened(3)), "run-3", "as --ended-run says: it is closed first"),
        (begun(2, run_id="terminal-0", target=2), None, "is refused, unless its lease is over"),
        (begun(run_id="terminal-0"), "terminal-0", "as --ended-run says: it is closed first"),
    ],
)
def test_the_plan_says_what_happens_to_the_release_that_holds_the_lock(holder, ended_run, says):
    planned = plan(*TWICE, *holder, version=1, ended_run=ended_run)

    assert planned.begun is None
    assert says in planned.summary[-1]


@pytest.mark.parametrize(
    ("history", "holder"), [(TWICE, "no run holds"), ((*TWICE, *begun()), "the run terminal-1 holds")]
)
def test_an_unknown_run_cannot_have_ended(history, holder):
    with pytest.raises(SettingsError, match=f"--ended-run is 'run-9', which the ledger does not know: {holder}"):
        plan(*history, ended_run="run-9")


@pytest.mark.parametrize("ended_run", [None, "run-3"])
@pytest.mark.parametrize(
    "holder",
    [
        of("run-3", opened(3), registered(3), switch_started(3)),
        (*begun(1, run_id="run-3"), *of("run-3", switch_started(1))),
    ],
)
def test_the_champion_that_another_run_is_replacing_is_restored(holder, ended_run):
    planned = plan(*TWICE, *holder, version=2, ended_run=ended_run)

    assert (planned.version, planned.begun, planned.is_done, planned.is_restored) == (2, None, False, True)
    assert planned.summary[:2] == (
        "The run run-3 is switching production, which served v2 at http://production.",
        "v2 was verified last: it is restored.",
    )
    assert ("closed first" if ended_run else "is refused") in planned.summary[2]
