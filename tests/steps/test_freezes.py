"""While promotions are frozen nothing is promoted, by no path, and a rollback always is possible; evidence expires."""

import json
import logging
from contextlib import suppress
from datetime import timedelta

import pytest
from steps.factories import Run, event_types, living_tests, reopen, served, tidy_up

from recdeploy_ops.__main__ import main
from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import (
    AnswerRefusedError,
    ApprovalError,
    PromotionsFrozenError,
    RecdeployError,
    SettingsError,
)
from recdeploy_ops.domain.events import SwitchStarted
from recdeploy_ops.domain.freezes import FreezeCause, FreezeWindow
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout import tagging
from recdeploy_ops.settings import SETTINGS_VARIABLE

REFUSED = "Refusing to promote v{}: promotions are frozen since"


def freeze_by_person(run):
    run("freeze").freeze()


def freeze_by_rollback(run):
    run("back").roll_back(1)


@pytest.fixture
def with_release_settings(settings, monkeypatch):
    """Changes settings of a release, as a deployed file would while a run is in progress."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setitem(settings.release.__dict__, name, value)

    return change


@pytest.fixture
def window(with_release_settings):
    """Opens a window of the settings that lasts two hours."""

    def open_window():
        start = utc_now().replace(tzinfo=None) - timedelta(hours=1)
        planned = FreezeWindow(start, start + timedelta(hours=2), "Black Friday")
        with_release_settings(freeze_windows=(planned,))

    return open_window


@pytest.fixture(params=["a person", "a window of the settings"])
def freeze(request, run, window):
    """Freezes promotions in each of the ways that leave production alone."""
    return {
        "a person": lambda: freeze_by_person(run),
        "a window of the settings": window,
    }[request.param]


# --- every path is refused, and the evidence stays ---


def test_a_frozen_question_is_shown_and_takes_every_answer_but_promote(context, validated, freeze):
    second = validated(2)
    freeze()
    question = second.ask()

    assert "When this was asked, promotions were frozen since" in question.body
    assert "Black Friday" in question.body
    with pytest.raises(AnswerRefusedError, match=REFUSED.format(2)):
        second.record_answer(Decision.PROMOTE)
    assert context.refresh().releases["run-2"].is_waiting_for_approval, "a rollback can preempt it"
    assert living_tests(context), "the evidence stays"
    second.record_answer(Decision.REJECT)
    second.reject()
    second.close()
    assert (served(context), context.refresh().releases["run-2"].outcome) == (1, "rejected")


def test_a_question_without_a_freeze_does_not_speak_of_one(validated):
    assert "frozen" not in validated(2).ask().body


def test_an_approved_version_is_not_promoted_once_promotions_are_frozen(context, approved, freeze, emulator):
    freeze()
    before = len(emulator.calls("UpdateModelDeployment"))

    with pytest.raises(PromotionsFrozenError, match=REFUSED.format(2)):
        approved.promote()
    assert served(context) == 1
    assert len(emulator.calls("UpdateModelDeployment")) == before
    assert "switch_started" not in event_types(context, "run-2")


@pytest.mark.parametrize("skip", [False, True])
def test_a_first_production_is_not_made_while_promotions_are_frozen(context, run, freeze, skip):
    first = run("run-1", skip_test_deployment=skip)
    first.validate()
    first.answer(Decision.PROMOTE)
    freeze()

    with pytest.raises(PromotionsFrozenError):
        first.promote()
    first.close()
    assert context.refresh().production is None
    assert context.refresh().holder is None, "the lock is free"


@pytest.mark.parametrize("cell", [10, 12])
def test_a_notebook_is_refused_and_continues_in_the_same_cell_once_promotions_are_resumed(
    context, manager, cells, run, freeze, cell, with_release_settings
):
    cells.until_saved() if cell == 10 else cells.until_test()
    freeze()
    promote_in_cell = {10: lambda: cells.deploy(is_test=False), 12: manager.promote_to_production}[cell]

    with pytest.raises(AnswerRefusedError, match=REFUSED.format(1)) as refused:
        promote_in_cell()
    assert "then run this cell again." in str(refused.value)
    assert manager.current_version == 0
    run("resume").resume()
    with_release_settings(freeze_windows=())
    promote_in_cell()
    assert manager.current_version == 1


def test_a_freeze_that_comes_while_the_approval_is_being_verified_still_counts(context, approved, run, monkeypatch):
    verify = fingerprints.require_whole

    def freeze_meanwhile(own):
        verify(own)
        freeze_by_person(run)

    monkeypatch.setattr(fingerprints, "require_whole", freeze_meanwhile)
    with pytest.raises(PromotionsFrozenError, match="by bo, until a person resumes them: Black Friday"):
        approved.promote()
    assert served(context) == 1
    assert approved.context.release.get(SwitchStarted) is None


def test_a_switch_that_has_begun_is_finished_although_promotions_are_frozen_then(context, switching, freeze):
    freeze()
    switching.promote()
    switching.close()

    assert served(context) == 2


# --- resuming ---


def test_a_refused_answer_can_be_given_again_once_promotions_are_resumed(context, validated, run):
    second = validated(2)
    freeze_by_person(run)
    second.ask()
    with suppress(AnswerRefusedError):
        second.record_answer(Decision.PROMOTE)
    run("resume").resume()
    second.record_answer(Decision.PROMOTE)
    second.promote()
    second.close()

    assert served(context) == 2


def test_a_release_that_was_refused_at_its_switch_keeps_its_evidence_and_can_be_promoted_later(
    context, approved_here, run
):
    freeze_by_person(run)
    with pytest.raises(PromotionsFrozenError, match="then clear the task 'promote' of this run"):
        approved_here.promote()
    approved_here.close()
    assert context.refresh().holder is None, "the lock does not wait with it"

    run("resume").resume()
    approved_here.plan()  # reopens the release; nothing else is made again
    approved_here.promote()
    approved_here.close()
    assert served(context) == 2
    assert event_types(context, "run-2").count("model_trained") == 1


def test_a_run_counts_once_so_that_a_late_retry_does_not_undo_a_later_decision(context, two_versions, run):
    freeze_by_person(run)
    freeze_by_person(run)
    run("resume").resume()
    freeze_by_person(run)  # a retry of a run that had done its work

    assert context.refresh().freezes == ()
    run("freeze-2").freeze()
    run("resume").resume()
    assert len(context.refresh().freezes) == 1
    assert [event_types(context, own) for own in ("freeze", "resume")] == [
        ["promotions_frozen"],
        ["promotions_resumed"],
    ]


def test_the_same_person_with_the_same_reason_freezes_once(context, two_versions, run):
    run("freeze").freeze()
    run("freeze-2").freeze()
    run("freeze-3").freeze("another reason")

    assert [freeze.reason for freeze in context.refresh().freezes] == ["Black Friday", "another reason"]


def test_a_person_does_not_end_a_hold_that_they_cannot_have_known(context, two_versions, run):
    freeze_by_person(run)
    asked_at = context.now()
    freeze_by_rollback(run)

    with pytest.raises(PromotionsFrozenError, match=r"after you asked to resume them.*production went from v2 to v1"):
        run("resume").resume(asked_at=asked_at)
    assert [freeze.cause for freeze in context.refresh().freezes] == [FreezeCause.PERSON, FreezeCause.ROLLBACK]
    run("resume").resume()
    assert context.refresh().freezes == ()


def test_resuming_does_not_end_a_window_of_the_settings(two_versions, run, window):
    window()
    freeze_by_person(run)

    [left] = run("resume").resume()["frozen"]
    assert "by release.freeze_windows" in left


@pytest.mark.parametrize("act", [Run.freeze, Run.resume])
def test_a_storage_without_a_ledger_is_not_given_one(context, run, act):
    with pytest.raises(SettingsError, match="no ledger yet"):
        act(run("own"))
    assert context.refresh().seq == 0


@pytest.mark.parametrize("act", [Run.freeze, Run.resume])
def test_a_reason_is_required(two_versions, run, act):
    with pytest.raises(SettingsError, match="The reason is empty"):
        act(run("own"), " ")


def test_only_a_person_resumes_promotions(context, two_versions, run):
    run("freeze").freeze(by=None)

    with pytest.raises(SettingsError, match="only a person resumes promotions"):
        run("resume").resume(by=None)
    assert [freeze.by for freeze in context.refresh().freezes] == ["somebody unknown"]


def test_a_freeze_is_anchored_in_oci_and_counts_where_oci_does_not_answer(
    context, two_versions, run, emulator, no_retries, caplog
):
    freeze_by_person(run)
    state = context.refresh()
    assert context.catalog.get(state.production.model_id).tags[LEDGER_TAG] == f"{state.seq}:{state.head}"

    emulator.fail_next("UpdateModel", status=503, times=None)
    with caplog.at_level(logging.WARNING):
        run("freeze-2").freeze("the network is down")
    assert "does not name the newest entry" in caplog.text
    assert len(reopen(context).refresh().freezes) == 2


def test_a_freeze_that_was_killed_after_its_entry_is_completed_by_the_next_try(context, two_versions, run, monkeypatch):
    class KilledError(Exception):
        pass

    def kill(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(tagging, "tag_with_head", kill)
        with pytest.raises(KilledError):
            freeze_by_person(run)
    assert len(reopen(context).refresh().freezes) == 1
    freeze_by_person(run)

    state = context.refresh()
    assert len(state.freezes) == 1
    assert context.catalog.get(state.production.model_id).tags[LEDGER_TAG] == f"{state.seq}:{state.head}"


# --- rollbacks ---


def test_a_rollback_is_possible_while_promotions_are_frozen_also_from_a_question(context, validated, run, freeze):
    third = validated(3)
    freeze()
    third.ask()
    with suppress(AnswerRefusedError):
        third.record_answer(Decision.PROMOTE)
    run("back").roll_back()

    assert (served(context), context.refresh().releases["run-3"].outcome) == (1, "pre-empted")


def roll_back_from_terminal(monkeypatch, settings, profile_fields, run, manager):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings.folder / "recommender.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
    assert main(["rollback", "--version", "1", "--reason", "it looks odd", "--yes"]) == 0


BY_PATH = {
    "airflow": lambda *how: freeze_by_rollback(how[3]),
    "terminal": roll_back_from_terminal,
    "notebook": lambda *how: how[4].roll_back_production(1, "it looks odd"),
}


@pytest.mark.parametrize("path", BY_PATH)
def test_promotions_hold_after_a_rollback_by_any_path_until_a_person_resumes_them(
    context, run, two_versions, path, monkeypatch, settings, profile_fields, manager
):
    freeze_by_person(run)
    BY_PATH[path](monkeypatch, settings, profile_fields, run, manager)
    assert served(context) == 1
    third = run("run-3", shift=2)
    third.validate()  # a release trains and validates
    third.ask()

    with pytest.raises(AnswerRefusedError, match="production went from v2 to v1: it looks odd"):
        third.record_answer(Decision.PROMOTE)
    tidy_up(context)  # nothing but a person ends it
    assert [freeze.cause for freeze in context.refresh().freezes] == [FreezeCause.PERSON, FreezeCause.ROLLBACK]
    run("resume").resume()
    third.promote_fully()
    assert served(context) == 3


@pytest.mark.parametrize("resumed", [False, True])
def test_a_version_that_was_rolled_back_is_not_offered_again_by_itself(context, run, two_versions, resumed):
    freeze_by_rollback(run)
    if resumed:
        run("resume").resume()
    tidy_up(context)

    with pytest.raises(SettingsError, match="'previous' never goes forward"):
        run("back-2").roll_back()
    second = run("run-2", shift=1)
    second.close()
    with suppress(RecdeployError):  # its tasks, tried again by nobody's decision
        second.promote()
    assert served(context) == 1
    second.plan()
    second.back_up()
    assert "v2 was in production and was rolled back" in second.ask(attempt=2).body
    second.record_answer(Decision.REJECT, attempt=2)


def test_a_version_that_was_rolled_back_can_be_named(context, run, two_versions):
    freeze_by_rollback(run)
    run("back-2").roll_back(2)
    assert served(context) == 2
    run("back-3").roll_back()
    assert served(context) == 1


# --- the evidence of an approval expires ---


def age(run, hours):
    run.context = reopen(run.context, run.run_id, now=lambda: utc_now() + timedelta(hours=hours))


def change_gates(run):
    gates = run.context.settings.gates.model_copy(update={"min_user_coverage": 0.5})
    run.context = reopen(run.context, run.run_id, gates=gates)


def change_self_approval(run):
    release = run.context.settings.release.model_copy(update={"self_approval": False})
    run.context = reopen(run.context, run.run_id, release=release)


def change_stored_settings(run):
    key = run.context.release.opened.settings.key
    run.context.store.replace(key, b"{}")


def serve_another_champion(run):
    """Let another release change the champion while this one is closed, as a rollback in between does."""
    run.close()
    other = Run(run.context, "back", run.database.parent)
    other.roll_back(1)
    Run(run.context, "resume", run.database.parent).resume()
    run.plan()


CHANGES = {
    "a day and an hour later": (lambda run: age(run, 25), "more than 24 hours ago"),
    "another gate": (change_gates, "changed since approval: policy"),
    "another rule for approvers": (change_self_approval, "changed since approval: policy"),
    "other settings of the run": (change_stored_settings, "changed since approval: settings"),
    "another champion": (serve_another_champion, "changed since approval: production"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_approval_of_a_past_state_is_refused_with_what_has_changed(context, run, two_versions, change):
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    before = served(context)
    act, says = CHANGES[change]
    act(third)
    before = served(context) if change == "another champion" else before

    with pytest.raises(ApprovalError, match=says) as refused:
        third.promote()
    assert "request_approval" in str(refused.value)
    assert served(context) == before


@pytest.mark.parametrize("change", ["a day and an hour later", "another gate"])
def test_asking_again_makes_an_approval_of_the_present_state(context, approved, change):
    CHANGES[change][0](approved)
    approved.promote_fully(attempt=2)

    assert served(context) == 2


def test_a_young_approval_is_used_and_the_settings_say_what_is_young(context, approved, with_release_settings):
    age(approved, 23)
    with_release_settings(approval_max_age_hours=22.5)
    with pytest.raises(ApprovalError, match=r"more than 22\.5 hours ago \(setting release\.approval_max_age_hours\)"):
        approved.promote()
    with_release_settings(approval_max_age_hours=24)
    approved.promote()

    assert served(context) == 2


def test_an_approval_that_expires_during_the_switch_does_not_stop_it(context, switching):
    age(switching, 25)
    switching.promote()

    assert served(context) == 2


# --- the terminal ---


@pytest.fixture
def shell(settings, profile_fields, monkeypatch):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings.folder / "recommender.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))


def test_the_commands_freeze_and_resume_and_status_shows_it(context, two_versions, shell, capsys):
    assert main(["freeze", "--reason", "Black Friday"]) == 0
    assert "Promotions are frozen since" in capsys.readouterr().out
    assert main(["freeze", "--reason", "Black Friday"]) == 0, "given again, it changes nothing"
    assert len(context.refresh().freezes) == 1
    assert main(["status"]) == 0
    assert "🧊 Promotions are frozen since" in capsys.readouterr().out
    assert main(["history"]) == 0
    assert "promotions_frozen       terminal-freeze-after-" in capsys.readouterr().out

    assert main(["resume", "--reason", "it is over"]) == 0
    said = capsys.readouterr().out
    assert "Promotions were frozen since" in said
    assert said.endswith("Promotions are possible.\n")
    assert context.refresh().freezes == ()
    assert main(["status"]) == 0
    assert "frozen" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["freeze", "resume"])
def test_the_commands_refuse_an_empty_reason_and_a_storage_without_a_ledger(context, shell, capsys, command):
    with pytest.raises(SystemExit) as refused:
        main([command, "--reason", " "])
    assert refused.value.code == 3
    assert main([command, "--reason", "why not"]) == 3
    assert "no ledger yet" in capsys.readouterr().err
