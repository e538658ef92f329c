"""`python -m recdeploy_ops rollback`: the steps of a rollback from a terminal, with the connection of a shell."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from steps.factories import Run, event_types, served

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.errors import LockHeldError
from recdeploy_ops.domain.events import TERMINAL, ReleaseOutcome
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout import tagging, takeovers
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.settings import SETTINGS_VARIABLE
from recdeploy_ops.steps import close_release, plan_rollback, promote, rehearse_rollback, roll_back
from recdeploy_ops.storage.directories import DirectoryStore

PLUGINS = str(Path(__file__).parents[2] / "plugins")
REASON = "orders fell by a third"


@pytest.fixture(autouse=True)
def shell(settings, profile_fields, monkeypatch):
    """The environment of a terminal: the settings file, and Airflow's connection as a variable."""
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings.folder / "recommender.yaml"))
    connection = {"conn_type": "oci", "extra": profile_fields}
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps(connection))


def roll_back_to(version, *options, reason=REASON):
    return main(["rollback", "--version", str(version), "--reason", reason, "--yes", *options])


def own_releases(state):
    return [release for release in state.releases.values() if release.opened.dag_id == TERMINAL]


@pytest.mark.parametrize("version", ["previous", 1])
def test_production_goes_back_with_the_same_events_as_from_airflow(context, two_versions, capsys, version):
    url = context.ledger.read().production.url
    assert roll_back_to(version) == 0

    said = capsys.readouterr().out
    assert f"Production serves v2 at {url}." in said
    assert f"It goes back to v1 at the same URL. Reason: {REASON}" in said
    assert said.endswith(f"v1 serves at {url}, verified.\n")
    state = context.ledger.read()
    assert (served(context), state.production.version, state.holder) == (1, 1, None)
    [release] = own_releases(state)
    assert re.fullmatch(r"terminal-v1-after-\d+", release.run_id)
    assert release.opened.triggered_by
    assert (release.rollback_params.reason, release.outcome) == (REASON, ReleaseOutcome.ROLLED_BACK)
    assert event_types(context, release.run_id) == [
        "release_opened",
        "rollback_rehearsed",
        "production_backed_up",
        "switch_started",
        "rolled_back",
        "release_closed",
    ]
    assert find_production(context).tags[LEDGER_TAG] == f"{state.seq}:{state.head}"


def test_the_sdks_own_file_is_enough(context, two_versions, profile_fields, monkeypatch, tmp_path):
    lines = [f"{key}={profile_fields[key]}" for key in ("tenancy", "user", "fingerprint", "key_file", "region")]
    (tmp_path / "config").write_text("\n".join(["[DEFAULT]", *lines]))
    monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT")
    monkeypatch.setenv("OCI_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("NB_SESSION_COMPARTMENT_OCID", profile_fields["compartment_id"])
    monkeypatch.setenv("PROJECT_OCID", profile_fields["project_id"])
    monkeypatch.setenv("OCI_ODSC_SERVICE_ENDPOINT", profile_fields["service_endpoint"])

    assert roll_back_to(1) == 0
    assert served(context) == 1


def test_the_same_command_given_again_changes_nothing(context, two_versions, capsys):
    for _ in range(2):
        assert roll_back_to("previous") == 0
    assert "v1 serves already" in capsys.readouterr().out
    assert (served(context), len(own_releases(context.ledger.read()))) == (1, 1)

    assert roll_back_to("previous", reason="it was right before") == 1
    assert "'previous' never goes forward" in capsys.readouterr().err
    assert served(context) == 1


def test_a_version_that_serves_already_is_verified_before_the_command_says_so(two_versions, emulator, capsys):
    emulator.fail_next("Predict", status=503, times=None)

    assert roll_back_to(2) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        "PRODUCTION NEEDS A PERSON. The ledger says that v2 serves already, but: Production endpoint"
    )
    assert "not responding" in last


@pytest.fixture
def person(monkeypatch):
    """Puts a person at a terminal, whose answer a function gives."""

    def sit_down(answer):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("builtins.input", lambda question: answer())

    return sit_down


REFUSED = {
    "a version that does not exist": (
        ["--version", "9", "--reason", "x", "--yes"],
        1,
        "Version 9 does not exist",
    ),
    "an empty reason": (["--version", "1", "--reason", " "], 3, "must not be empty: the history shows it"),
    "a version that is not a number": (
        ["--version", "first", "--reason", "x"],
        3,
        "'first' is neither a number nor 'previous'",
    ),
    "no reason": (["--version", "1"], 3, "--reason"),
    "an ended run that does not exist": (
        ["--version", "1", "--reason", "x", "--ended-run", "run-9", "--yes"],
        1,
        "which the ledger does not know",
    ),
    "no person to ask": (["--version", "1", "--reason", "x"], 1, "nobody can be asked here. Add --yes"),
}


@pytest.mark.parametrize(("arguments", "code", "says"), REFUSED.values(), ids=REFUSED)
def test_a_command_that_cannot_be_carried_out_says_why_and_begins_nothing(
    context, two_versions, capsys, monkeypatch, arguments, code, says
):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    try:
        ended_with = main(["rollback", *arguments])
    except SystemExit as err:
        ended_with = err.code

    assert ended_with == code
    assert says in capsys.readouterr().err
    assert own_releases(context.ledger.read()) == []


def test_a_person_at_a_terminal_is_asked(context, two_versions, person):
    def gone():
        raise EOFError

    for answer, code, version in ((lambda: "no", 1, 2), (lambda: "", 1, 2), (gone, 1, 2), (lambda: "yes", 0, 1)):
        person(answer)
        assert main(["rollback", "--version", "1", "--reason", REASON]) == code
        assert served(context) == version


def test_a_release_that_goes_on_while_the_person_thinks_is_not_rolled_back(context, run, two_versions, person, capsys):
    def reply():
        run("run-3", shift=2, skip_test_deployment=True).release_fully()
        return "yes"

    person(reply)
    assert main(["rollback", "--version", "previous", "--reason", REASON]) == 1
    assert "the ledger changed meanwhile" in capsys.readouterr().err
    assert served(context) == 3


def test_a_failed_rollback_leaves_the_champion_verified_serving(context, two_versions, emulator, capsys):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")

    assert roll_back_to(1) == 1
    assert "Rollback failed: v2 serves at" in capsys.readouterr().err
    state = context.ledger.read()
    assert (served(context), state.holder, own_releases(state)[0].outcome) == (2, None, ReleaseOutcome.FAILED)


def test_a_restoration_that_oci_refuses_needs_a_person(context, two_versions, emulator, capsys):
    emulator.fail_next("UpdateModelDeployment", kind="old_still_serves")
    emulator.fail_next("UpdateModelDeployment", status=400, code="InvalidParameter", after=1, times=None)

    assert roll_back_to(1) == 2
    said = capsys.readouterr().err.splitlines()
    assert any(line.startswith("PRODUCTION NEEDS A PERSON. ") for line in said)
    assert "run this command again" in said[-1]
    assert context.ledger.read().holding_release is not None

    emulator.clear_faults()
    assert roll_back_to(1) == 1  # the command reports the failure, once the champion is restored
    assert served(context) == 2
    assert roll_back_to(1) == 0
    assert served(context) == 1


def test_a_disk_that_is_full_during_the_switch_needs_a_person(context, two_versions, capsys, monkeypatch):
    write = DirectoryStore.create

    def refuse(store, key, content):
        if b'"rolled_back"' in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(store, key, content)

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryStore, "create", refuse)
        assert roll_back_to(1) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("PRODUCTION NEEDS A PERSON. ")
    assert "No space left on device" in last

    assert roll_back_to(1) == 0
    assert (served(context), context.ledger.read().holder) == (1, None)


def test_an_outage_during_the_switch_needs_a_person_and_the_same_command_goes_on(
    context, two_versions, emulator, capsys, monkeypatch
):
    monkeypatch.setattr(sessions, "ATTEMPTS", 1)
    emulator.fail_next("UpdateModelDeployment", status=503, times=None)

    assert roll_back_to(1) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "Production is being switched and is not verified" in last
    assert "Why: OCI" in last
    assert last.endswith("then run this command again.")

    emulator.clear_faults()
    assert roll_back_to(1) == 0
    assert (served(context), len(own_releases(context.ledger.read()))) == (1, 1)


def test_a_fault_that_passes_needs_no_person(context, two_versions, emulator, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "ATTEMPTS", 1)
    emulator.fail_next("GetProject", status=503)
    emulator.fail_next("UpdateModelDeployment", status=503)

    assert roll_back_to(1) == 0
    assert f"It is tried again in {context.settings.release.poll_seconds} s (try 2 of 3)." in caplog.text
    assert "PRODUCTION NEEDS A PERSON" not in caplog.text
    assert served(context) == 1


HOLDS = "Interrupted: this rollback holds the release lock. Run the same command again to continue."
STEPS = {
    plan_rollback: "Interrupted: production was not changed by this command.",
    rehearse_rollback: HOLDS,
    roll_back: HOLDS,
    close_release: HOLDS,
}


def test_ctrl_c_says_how_the_same_command_goes_on(context, two_versions, monkeypatch, capsys):
    for number, (step, says) in enumerate(STEPS.items(), start=1):
        version = 2 - number % 2  # 1, 2, 1, 2
        interrupt(monkeypatch, step, version)
        assert says in capsys.readouterr().err

        assert roll_back_to(version) == 0
        state = context.ledger.read()
        assert (served(context), state.holder, len(own_releases(state))) == (version, None, number)


def interrupt(monkeypatch, step, version):
    """Give the command, and let Ctrl-C end it at a step."""
    with monkeypatch.context() as patched:
        interrupt_at(patched, step, "advance")
        assert roll_back_to(version) == 130


def interrupt_at(monkeypatch, module, name):
    """Let Ctrl-C end the command where it calls a function of a module."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    interrupted.__module__ = module.__name__
    monkeypatch.setattr(module, name, interrupted)


@pytest.fixture
def switching_third(validated, emulator):
    """v2 serves, and run-3 has switched production to v3 and not verified it."""
    third = validated(3)
    third.answer(Decision.PROMOTE)
    promote.advance(third.context)
    emulator.wait_until_idle()


def test_ctrl_c_after_the_release_was_closed_says_which_version_serves(context, two_versions, monkeypatch, capsys):
    interrupt_at(monkeypatch, tagging, "advance_tagging")

    assert roll_back_to(1) == 130
    assert "v1 serves, verified" in capsys.readouterr().err
    assert (served(context), context.ledger.read().holder) == (1, None)


def test_ctrl_c_while_the_champion_is_restored_says_who_switches_production(
    context, switching_third, monkeypatch, capsys
):
    with monkeypatch.context() as patched:
        interrupt_at(patched, takeovers, "advance_closing")
        assert roll_back_to(2, "--ended-run", "run-3") == 130
    assert "the run run-3 is switching production" in capsys.readouterr().err

    assert roll_back_to(2, "--ended-run", "run-3") == 0
    assert (served(context), context.ledger.read().holder) == (2, None)


def start(*arguments):
    """Start the command in a process of its own, where Ctrl-C works even if the tests run in the background."""
    environment = {**os.environ, "PYTHONPATH": PLUGINS}
    command = [sys.executable, "-m", "recdeploy_ops", "rollback", "--reason", REASON, "--yes", *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    ("how", "code", "version"), [(signal.SIGKILL, -signal.SIGKILL, "previous"), (signal.SIGINT, 130, "1")]
)
def test_a_command_that_ends_during_the_switch_goes_on_when_it_is_given_again(
    context, two_versions, emulator, how, code, version
):
    emulator.set_timings(update=3)
    with start("--version", version) as process:
        for line in process.stdout:
            if "is to be serving v1" in line:
                break
        process.send_signal(how)
        assert process.wait(60) == code
    state = context.ledger.read()
    [left] = own_releases(state)
    assert left.open_switch is not None
    assert state.holder == left.run_id

    with start("--version", version) as process:
        said = process.stdout.read()
        assert process.wait(60) == 0, said
    assert f"The rollback to v1 that {left.opened.triggered_by} began ({REASON}) continues." in said
    assert "airflow" not in said.lower()
    state = context.ledger.read()
    assert (served(context), state.holder, len(own_releases(state))) == (1, None, 1)
    types = event_types(context, left.run_id)
    assert types.count("switch_started") == types.count("rolled_back") == 1


def test_airflow_is_never_imported():
    program = "import sys, recdeploy_ops.__main__; print([n for n in sys.modules if n.partition('.')[0] == 'airflow'])"
    environment = {**os.environ, "PYTHONPATH": PLUGINS}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_release_that_waits_for_an_approval_is_preempted(context, validated, capsys):
    validated(3).ask()

    assert roll_back_to(1) == 0
    assert "The rollback preempts it." in capsys.readouterr().out
    assert context.ledger.read().releases["run-3"].outcome is ReleaseOutcome.PREEMPTED


def test_a_release_in_progress_is_not_taken_over_unless_the_person_says_that_it_has_ended(
    context, switching_third, capsys
):
    assert roll_back_to(1) == 1
    said = capsys.readouterr().err
    assert "It counts as ended at" in said
    assert "add --ended-run run-3, then run this command again." in said
    assert context.ledger.read().holder == "run-3"

    assert roll_back_to(1, "--ended-run", "run-3") == 0
    state = context.ledger.read()
    assert (served(context), state.holder, state.releases["run-3"].outcome) == (1, None, ReleaseOutcome.FAILED)


def test_the_champion_is_restored_if_an_ended_run_was_replacing_it(context, switching_third, capsys):
    assert served(context) == 3

    assert roll_back_to(2) == 1
    assert "add --ended-run run-3" in capsys.readouterr().err
    assert roll_back_to(2, "--ended-run", "run-3") == 0
    assert "The run run-3 is switching production, which served v2" in capsys.readouterr().out
    state = context.ledger.read()
    assert (served(context), state.holder, own_releases(state)) == (2, None, [])


def test_another_version_waits_for_the_rollback_that_was_interrupted(context, run, two_versions, monkeypatch, capsys):
    run("run-3", shift=2, skip_test_deployment=True).release_fully()
    interrupt(monkeypatch, roll_back, 2)
    [left] = own_releases(context.ledger.read())

    assert roll_back_to(1) == 1
    said = capsys.readouterr().err
    assert "Finish it with `python -m recdeploy_ops rollback --version 2 --reason TEXT`" in said
    assert roll_back_to(1, "--ended-run", left.run_id) == 0
    assert served(context) == 1


def test_the_lease_of_a_terminals_lock_ends_like_that_of_a_notebook(
    context, two_versions, tmp_path, make_manager, monkeypatch
):
    interrupt(monkeypatch, roll_back, 1)
    with pytest.raises(LockHeldError, match="Finish it with"):
        Run(context, "run-3", tmp_path).plan()
    manager = make_manager()
    with pytest.raises(LockHeldError, match="Finish it with"):
        manager.roll_back_production(1)

    later = context.now() + timedelta(days=30)
    monkeypatch.setitem(manager.context.__dict__, "now", lambda: later)
    assert manager.roll_back_production(1)["version"] == 1
    assert own_releases(context.ledger.read())[0].outcome is ReleaseOutcome.FAILED
