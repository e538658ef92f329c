"""The targets of a rollback, what a run may do once, and the state after rollbacks, restorations and adoptions."""

import re
from dataclasses import replace

import pytest
from events import (
    RETRAIN,
    ROLLBACK,
    adopted,
    answered,
    asked,
    chain,
    champion_restored,
    closed,
    complete,
    model_restored,
    of,
    opened,
    opened_rollback,
    production_failed,
    production_lost,
    promoted,
    registered,
    rehearsal_started,
    rehearsed,
    rejected,
    rolled_back,
    serving,
    switch_failed,
    switch_started,
    validated,
    version_of,
)

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CloudRefusedError,
    GateFailedError,
    IllegalTransitionError,
    IntegrityError,
    LockHeldError,
    MissingInputError,
    SettingsError,
    SwitchUnderWayError,
)
from recdeploy_ops.domain.events import RehearsalStarted
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.ledger_state import require_lock
from recdeploy_ops.domain.release_plan import choose_target, require_unused
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import describe_trust

FIRST = complete(1)
TWICE = (*FIRST, *complete(2))
REJECTED = of("run-3", opened(3), registered(3), rejected(3), closed(Outcome.REJECTED, 3))
VALIDATED = of("run-3", opened(3), registered(3), validated())
ROLLED_BACK = of("run-3", opened_rollback(1), rolled_back(1))


@pytest.mark.parametrize("wanted", ["previous", 1])
def test_a_rollback_goes_to_a_version_that_served(wanted):
    assert choose_target(replay(chain(*TWICE)), wanted).number == 1


@pytest.mark.parametrize(
    ("history", "wanted", "error", "says"),
    [
        ((), "previous", SettingsError, "Nothing is in production"),
        (FIRST, "previous", SettingsError, "v1 is the first that ever served"),
        (FIRST, 7, SettingsError, "Version 7 does not exist. Versions that served before: none."),
        (TWICE, 7, SettingsError, "Versions that served before: v1."),
        (TWICE, "v1", SettingsError, "Version 'v1' does not exist"),
        (TWICE, 2, IllegalTransitionError, "from champion to champion"),
        ((*TWICE, *REJECTED), 3, IllegalTransitionError, "from rejected to champion"),
        ((*FIRST, *VALIDATED), 3, IllegalTransitionError, "from validated to champion"),
    ],
)
def test_a_rollback_to_any_other_version_is_rejected(history, wanted, error, says):
    with pytest.raises(error, match=says):
        choose_target(replay(chain(*history)), wanted)


TAGGED = version_of(5, Stage.RETIRED, known_by_tags=True)
OLD_BACKUP = version_of(5, Stage.RETIRED, digest="", unverified_backup="backups/v5_x")
ADOPTED = (adopted(versions=(version_of(), TAGGED), highest_version=5),)


def test_a_version_known_only_by_tags_is_never_the_previous_one():
    state = replay(chain(*ADOPTED))

    with pytest.raises(SettingsError, match=r"served before v1\. Only tags.* v5 did.* name one by its number"):
        choose_target(state, "previous")
    assert choose_target(state, 5) == TAGGED


def test_a_version_that_only_a_backup_of_another_manager_has_is_never_the_previous_one():
    back = of("back", opened_rollback(5), switch_started(5), rolled_back(5), closed(Outcome.ROLLED_BACK, 5))
    imported = (adopted(versions=(version_of(), OLD_BACKUP), highest_version=5),)
    state = replay(chain(*imported))

    with pytest.raises(SettingsError, match=r"Only backups of another manager say that v5 did.*name one by its number"):
        choose_target(state, "previous")
    assert choose_target(state, 5) == OLD_BACKUP
    assert replay(chain(*imported, *back)).versions[5].unverified_backup == ""


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (version_of(5), ""),
        (TAGGED, "Only tags in the Model Catalog say that v5 ever served."),
        (OLD_BACKUP, "Only backups/v5_x, a backup of another manager, says that v5 ever served."),
    ],
)
def test_a_doubt_that_a_version_ever_served_is_said(version, says):
    assert version.doubt == says
    assert version.verified().doubt == ""


def test_a_version_known_by_tags_is_known_fully_once_it_was_verified_in_production():
    back = of("back", opened_rollback(5), switch_started(5), rolled_back(5), closed(Outcome.ROLLED_BACK, 5))
    onward = of("run-6", opened(6), registered(6), validated(), promoted(6), closed(version=6))

    state = replay(chain(*ADOPTED, *back))
    assert state.versions[5].known_by_tags is False
    assert choose_target(replay(chain(*ADOPTED, *back, *onward)), "previous").number == 5


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (version_of(5, Stage.CHAMPION), "Production answers with it"),
        (version_of(5, Stage.REJECTED), "It never served"),
        (version_of(5, Stage.REJECTED, known_by_tags=True), "It never served"),
        (version_of(5, Stage.RETIRED), "A backup in storage holds the same artifact"),
        (TAGGED, "Its tags alone say that it served.*'previous' never goes to it"),
        (OLD_BACKUP, r"backups/v5_x is a backup of another manager.*'previous' never goes to it"),
        (version_of(5, Stage.CHAMPION, digest=""), r"m5 \(digest unknown\)"),
    ],
)
def test_the_trust_in_a_version_is_described_with_its_reason(version, says):
    assert re.search(says, describe_trust(version))


def test_a_trial_counts_for_the_opening_in_which_it_was_started():
    back = of("back", opened_rollback(1), rehearsal_started(1), rehearsed(1))
    again = of("back", closed(Outcome.FAILED, 1), opened_rollback(1, opening=2))

    assert replay(chain(*TWICE, *back)).releases["back"].get(RehearsalStarted) is not None
    assert replay(chain(*TWICE, *back, *again)).releases["back"].get(RehearsalStarted) is None


@pytest.mark.parametrize(
    ("history", "run_id", "says"),
    [
        ([opened()], "run-1", None),
        (TWICE, "run-2", None),
        (TWICE, "run-1", "This run promoted v1 before, and production now serves v2.*'request_approval'"),
        ((*TWICE, *ROLLED_BACK), "run-3", None),
        (
            (*TWICE, *ROLLED_BACK, *of("run-3", closed()), *complete(4)),
            "run-3",
            "This run rolled back to v1 before, and production now serves v4.*Trigger a new rollback",
        ),
    ],
)
def test_a_run_promotes_or_rolls_back_once(history, run_id, says):
    state = replay(chain(*history))

    if says is None:
        require_unused(state, state.releases[run_id])
    else:
        with pytest.raises(ApprovalError, match=says):
            require_unused(state, state.releases[run_id])


def test_a_run_promotes_once_even_when_nothing_serves_any_more():
    state = replace(replay(chain(*FIRST)), production=None)

    with pytest.raises(ApprovalError, match=r"production now serves nothing"):
        require_unused(state, state.releases["run-1"])


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        ([], False),
        ([asked(3)], True),
        ([asked(3), answered(version=3)], False),
        ([asked(3), switch_started(3)], False),
    ],
)
def test_a_release_waits_only_between_question_and_answer(events, waits):
    state = replay(chain(*VALIDATED, *of("run-3", *events)))

    assert state.releases["run-3"].is_waiting_for_approval is waits


def test_a_restored_champion_serves_its_model_if_there_is_production():
    restored = champion_restored(1, model_id="m1-again")

    state = replay(chain(*FIRST, *of("run-3", opened(3), switch_started(3), restored)))
    assert (state.production.version, state.production.model_id) == (1, "m1-again")
    assert state.releases["run-3"].open_switch is None
    assert replay(chain(opened(3), restored)).production is None


@pytest.mark.parametrize(
    ("event", "is_open"),
    [
        (switch_failed(), True),
        (validated(), True),
        (production_lost(), False),
        (production_failed(), False),
        (closed(Outcome.INTERRUPTED, 3), False),
        (opened(3, opening=2), True),
    ],
)
def test_a_switch_stays_open_until_it_is_restored_lost_failed_or_closed(event, is_open):
    state = replay(chain(*VALIDATED, *of("run-3", switch_started(3), event)))

    assert state.releases["run-3"].open_switch == (switch_started(3) if is_open else None)


def test_a_model_that_was_registered_again_has_its_new_id():
    again = of("run-3", opened_rollback(1), model_restored(1, model_id="m1-again"))

    assert replay(chain(*FIRST, *again)).versions[1].model_id == "m1-again"


@pytest.mark.parametrize("serves", [True, False])
def test_an_adoption_replaces_the_known_versions_and_production(serves):
    known = replay(chain(*TWICE))
    event = adopted(
        versions=(known.versions[1],),
        highest_version=1,
        production=known.production if serves else None,
        previous_champion=known.previous_champion if serves else None,
    )

    state = replay(chain(*TWICE, *of("adopt-1", event)))

    assert state.versions == {1: known.versions[1]}
    assert state.versions[1].stage is Stage.RETIRED
    assert state.highest_version == 2, "a number is never used twice"
    assert state.production == (known.production if serves else None)
    assert state.previous_champion == (known.previous_champion if serves else None)
    assert "adopt-1" not in state.releases


def test_an_adopted_version_may_have_a_higher_number_than_any_known():
    event = adopted(versions=(version_of(9),), highest_version=9, production=serving(9))

    assert replay(chain(*FIRST, *of("adopt-1", event))).highest_version == 9


def test_an_entry_about_a_release_that_was_never_opened_is_an_error():
    with pytest.raises(IntegrityError, match=r"Ledger entry 2 names 'run-1', which no earlier entry has"):
        replay(chain(closed()))


@pytest.mark.parametrize(
    ("history", "run_id", "error", "says"),
    [
        ((), "run-1", MissingInputError, "The run run-1 has no release. .*'plan_release'"),
        (FIRST, "run-1", MissingInputError, "The release of the run run-1 is closed. .*'plan_release'"),
        ((*FIRST, *VALIDATED), "run-1", LockHeldError, "The run run-3 has taken over the release lock; the run run-1"),
        (
            (*VALIDATED, *of("run-3", asked(3), closed(Outcome.PREEMPTED, 3)), *complete(1)),
            "run-3",
            ApprovalError,
            r"v3 \(run run-3\) only waited for an approval when a rollback preempted it. .*Trigger a new run",
        ),
    ],
)
def test_a_run_without_the_lock_is_rejected(history, run_id, error, says):
    with pytest.raises(error, match=says):
        require_lock(replay(chain(*history)), run_id)


def test_the_run_that_holds_the_lock_gets_its_release():
    state = replay(chain(*FIRST, *VALIDATED))

    assert require_lock(state, "run-3") is state.releases["run-3"] is state.holding_release


def test_the_params_of_a_release_are_those_of_its_purpose():
    retrain = replay(chain(opened(3))).releases["run-1"]
    rollback = replay(chain(opened_rollback(1))).releases["run-1"]

    assert (retrain.retrain_params, rollback.rollback_params) == (RETRAIN, ROLLBACK)
    with pytest.raises(TypeError, match="The run run-1 is not a rollback"):
        _ = retrain.rollback_params
    with pytest.raises(TypeError, match="The run run-1 is a rollback"):
        _ = rollback.retrain_params


def test_a_gate_error_lists_the_failed_gates_or_says_that_none_returned_a_finding():
    failed = Finding("user_coverage", Verdict.FAIL, 0.9, ">= 0.999", "19 users got no list.")
    report = GateReport((failed, Finding("freshness", Verdict.PASS, 3, "<= 336", "fine")))

    error = GateFailedError(report)
    assert str(error) == "user_coverage: 19 users got no list."
    assert error.report is report
    assert "No gate returned a finding" in str(GateFailedError(GateReport(())))


def test_errors_have_the_status_the_code_and_the_switch():
    refused = CloudRefusedError("Cannot read the model", status=404, code="NotAuthorizedOrNotFound")

    assert (refused.status, refused.code) == (404, "NotAuthorizedOrNotFound")
    assert "the goal (serving v2) is not verified yet" in str(SwitchUnderWayError("serving v2", task="promote"))
