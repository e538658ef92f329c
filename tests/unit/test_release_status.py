"""Texts for people: phases, the guide's summary, the history, the state file and the command line."""

import json
from dataclasses import replace

import pytest
import yaml
from events import (
    PROJECT,
    ROLLBACK,
    START,
    URL,
    answered,
    asked,
    chain,
    champion_restored,
    closed,
    complete,
    deployed,
    of,
    opened,
    opened_rollback,
    registered,
    rejected,
    switch_failed,
    switch_started,
    validated,
)

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.errors import CloudUnavailableError, StorageUnavailableError
from recdeploy_ops.domain.events import EventType
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.release_status import (
    LOST_QUESTION,
    PROGRESS,
    Phase,
    describe_history,
    dump_history,
    judge,
    summarise,
)
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.ledger.state_file import describe_state
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE
from recdeploy_ops.storage.directories import DirectoryStore

SECOND = (*complete(1), *of("run-2", opened(2), registered(2), deployed(), validated()))
SERVED_TWICE = (*complete(1), *complete(2))


def second(*events):
    """Return a history in which the second release is validated and has these events."""
    return (*SECOND, *of("run-2", *events))


def rollback(*events):
    """Return a history with a rollback that has these events."""
    return (*SERVED_TWICE, *of("run-3", opened_rollback(1), *events))


@pytest.mark.parametrize(
    ("history", "phase", "message"),
    [
        ((), Phase.HEALTHY, "No release is in progress; nothing is in production."),
        (complete(1), Phase.HEALTHY, "No release is in progress; v1 serves."),
        (
            (opened(), closed(Outcome.FAILED)),
            Phase.DEGRADED,
            "newest release (v1) failed; nothing is in production.",
        ),
        ((opened(), closed(Outcome.REJECTED)), Phase.HEALTHY, "nothing is in production"),
        (SECOND, Phase.PROGRESSING, "v2 is validated on its test deployment; v1 serves."),
        (second(asked(2)), Phase.PAUSED, "v2 waits for an approval; v1 serves. " + LOST_QUESTION.format(run="run-2")),
        (second(asked(2), answered(version=2)), Phase.PROGRESSING, "v2 has its approval answered; v1 serves."),
        (
            second(asked(2), switch_started(2), switch_failed()),
            Phase.DEGRADED,
            "The promotion of v2 failed and the champion is not restored yet.",
        ),
        (
            second(answered(version=2), switch_started(2), switch_failed(), champion_restored(1)),
            Phase.PROGRESSING,
            "v2 was withdrawn from production; v1 serves.",
        ),
        (rollback(), Phase.PROGRESSING, "The rollback to v1 has begun; v2 serves."),
        (
            rollback(asked(1)),
            Phase.PAUSED,
            f"The rollback to v1 waits for an approval; v2 serves. {LOST_QUESTION.format(run='run-3')}",
        ),
        (rollback(switch_failed()), Phase.DEGRADED, "The rollback to v1 failed and the champion is not restored yet."),
    ],
)
def test_the_phase_follows_from_the_ledger(history, phase, message):
    status = judge(replay(chain(*history)))

    assert status.phase is phase
    assert message in status.message


def test_every_type_of_event_has_words_for_the_progress_of_its_release():
    assert set(PROGRESS) == set(EventType) - {EventType.LEDGER_STARTED}
    assert not any("_" in words for words in PROGRESS.values())


def test_the_summary_has_the_title_that_a_person_gave():
    assert "🎯 Shop (EU) - Deployment Status" in summarise(replay(()), "shop-eu", "Shop (EU)")


def test_the_summary_has_the_guides_lines():
    text = summarise(replay(chain(*SECOND)), "product-recommender")

    assert "🎯 Product Recommender - Deployment Status" in text
    assert f"✅ PRODUCTION (v1)\n   Model: m1\n   Endpoint: {URL}\n   Deployed: 2026-03-02T03:05:00+00:00" in text
    assert "🧪 TEST (v2)\n   Deployment: ocid-test\n   Endpoint: http://test" in text
    assert "📊 Current Version: v1\n📦 Total Deployments: 1" in text


NO_TEST = "🧪 TEST: No test deployment"
THIRD_REJECTED = of("run-3", opened(3), registered(3), rejected(3), closed(Outcome.REJECTED, 3))
PREEMPTED = second(asked(2), closed(Outcome.PREEMPTED, 2))
LEFT_BEHIND = (
    "🧪 TEST (v2) of a preempted release: if it still exists, housekeeping deletes it",
    "Deployment: ocid-test",
)


@pytest.mark.parametrize(
    ("history", "lines"),
    [
        pytest.param((), ("⬜ PRODUCTION: No production deployment", NO_TEST), id="an empty ledger"),
        pytest.param(
            (opened(), registered(), deployed(deployment_id=None, url=None, lease=None)),
            (NO_TEST,),
            id="a test deployment that was skipped",
        ),
        pytest.param(
            (*SERVED_TWICE, *THIRD_REJECTED), ("📦 Total Deployments: 2",), id="a rejected version is not a deployment"
        ),
        pytest.param(PREEMPTED, LEFT_BEHIND, id="a test deployment of a preempted release"),
        pytest.param((*PREEMPTED, *complete(3)), (NO_TEST,), id="a release after a preempted one"),
    ],
)
def test_the_summary_has_its_lines(history, lines):
    text = summarise(replay(chain(*history)), "shop")

    assert [line for line in lines if line not in text] == []
    assert ("✅" in text) == ("No production deployment" not in text)


HOSTILE = "fine\n     9  2026-01-01 00:00:00  promoted\x1b[2J\u2028\u202e\x85by=admin"


def test_text_in_the_ledger_cannot_forge_a_line_of_its_history():
    text = describe_history(chain(opened(), answered(comment=HOSTILE, by="ann lee")))

    assert len(text.splitlines()) == 3
    assert all(character.isprintable() or character == "\n" for character in text)
    assert r'comment="fine\n     9  2026-01-01 00:00:00  promoted\u001b[2J\u2028\u202e\u0085by=admin"' in text
    assert 'by="ann lee"' in text


def test_the_history_shows_ids_and_reasons_without_cutting_them():
    ocid = "ocid1.datasciencemodel.oc1.eu-frankfurt-1." + "a" * 60
    because = opened_rollback(1, params=replace(ROLLBACK, reason="wrong lists"))

    text = describe_history(chain(opened(), registered(model_id=ocid), *of("run-3", because)))

    assert f"model_id={ocid}" in text
    assert 'reason="wrong lists"' in text


def test_the_history_as_json_has_one_ascii_line_per_entry():
    lines = dump_history(chain(opened(), answered(comment=HOSTILE))).splitlines()

    assert [json.loads(line)["type"] for line in lines] == ["ledger_started", "release_opened", "approval_answered"]
    assert json.loads(lines[2])["event"]["comment"] == HOSTILE
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_the_state_file_names_a_test_deployment_while_there_is_one():
    state = describe_state(replay(chain(*SECOND)))

    assert state["test"] == {"version": 2, "deployment_id": "ocid-test", "endpoint": "http://test"}
    assert (state["project"], state["current_version"], state["next_version"]) == (PROJECT, 1, 3)
    assert state["history"][1]["outcome"] == "in progress"


@pytest.fixture
def use_storage(tmp_path, monkeypatch):
    """Return a function that writes settings with a storage root; requests to OCI have no credentials."""
    for name in ("AIRFLOW_CONN_OCI_DEFAULT", "AIRFLOW__SECRETS__BACKEND_KWARGS", "OCI_RESOURCE_PRINCIPAL_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "no-config"))

    def use_storage(uri):
        values = yaml.safe_load(DEFAULT_PATH.read_text()) | {"storage": uri}
        (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(values))
        monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "recommender.yaml"))

    return use_storage


@pytest.fixture
def storage(tmp_path, use_storage):
    uri = (tmp_path / "storage").as_uri()
    use_storage(uri)
    return DirectoryStore(uri)


def fill(storage):
    ledger = Ledger(storage, PROJECT, lambda: START)
    for run_id, event in complete(1):
        ledger.append(run_id, event, guard=lambda state: None)
    return ledger


def test_the_command_line_shows_status_history_and_backups(storage, capsys):
    fill(storage)
    manifest = json.dumps({"version": 1, "files": {"metadata.json": "0"}}).encode()
    storage.create("backups/v1_20260302_030000/manifest.json", manifest)
    storage.create("backups/v1_20260301_030000/half-written.csv", b"")
    storage.create("backups/v1_old/metadata.json", b"theirs")

    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Project product-recommender, storage {storage.uri}\n")
    assert "PRODUCTION (v1)" in said
    assert main(["history"]) == 0
    types = [line.split()[3] for line in capsys.readouterr().out.splitlines()]
    assert types[:4] == ["ledger_started", "release_opened", "model_registered", "test_validated"]
    assert types[4:] == ["promoted", "release_closed"]
    assert main(["history", "--json"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert main(["backups"]) == 0
    assert capsys.readouterr().out == (
        "v1       1 files  backups/v1_20260302_030000\n"
        "v1       1 files  backups/v1_old  not verified: made by another manager\n"
    )


def test_the_command_line_of_an_empty_storage(storage, capsys, tmp_path):
    for command in ("status", "history", "backups"):
        assert main([command]) == 0
        said = capsys.readouterr().out
        assert f"No ledger exists yet at {storage.uri}. The first release creates it: make demo, the DAG" in said
        assert f"check whether this is the right settings file: {tmp_path}/recommender.yaml" in said


def test_the_history_of_an_empty_storage_has_no_line_of_json(storage, capsys):
    assert main(["history", "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("No ledger exists yet at ")


def test_a_ledger_without_a_backup_says_what_makes_one(storage, capsys):
    fill(storage)
    assert main(["backups"]) == 0
    assert capsys.readouterr().out.startswith("No backup yet: the first is made when a second version is released.")


@pytest.mark.parametrize(("command", "code"), [("status", 0), ("verify", 1)])
def test_an_empty_storage_is_neither_healthy_nor_whole(storage, capsys, tmp_path, command, code):
    assert main([command]) == code

    said = capsys.readouterr().out
    assert f"No ledger exists yet at {storage.uri}. " in said
    assert "healthy" not in said
    assert "✅" not in said
    assert "whole" not in said


def test_a_verification_without_oci_reports_the_entries_first(storage, capsys):
    fill(storage)

    assert main(["verify"]) == 2

    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("The ledger's 6 entries are whole. They are not signed")
    assert said[2].startswith("The tags could not be compared: Cannot sign requests to OCI: no credentials.")


def test_a_verification_without_an_answer_of_oci_still_judges_the_entries(storage, capsys, monkeypatch):
    def unavailable(context):
        raise CloudUnavailableError("OCI did not answer")

    fill(storage)
    monkeypatch.setattr("recdeploy_ops.__main__.find_profile", lambda conn_id: None)
    monkeypatch.setattr("recdeploy_ops.upkeep.verifying.find_tagged_heads", unavailable)

    assert main(["verify"]) == 2
    assert "The tags could not be compared: OCI did not answer" in capsys.readouterr().out
    storage.create("ledger/00000007.json", b"edited")
    assert main(["verify"]) == 1
    assert capsys.readouterr().out.index("not a ledger entry") > 0


@pytest.mark.parametrize(("seq", "code", "says"), [(6, 0, "It agrees with the tags of production."), (7, 1, "cut off")])
def test_the_tags_decide_when_they_can_be_read(storage, capsys, monkeypatch, seq, code, says):
    ledger = fill(storage)
    head = f"{seq}:{ledger.read().head}"
    monkeypatch.setattr("recdeploy_ops.__main__.find_profile", lambda conn_id: None)
    monkeypatch.setattr("recdeploy_ops.upkeep.verifying.find_tagged_heads", lambda context: {"production": head})

    assert main(["verify"]) == code
    assert says in capsys.readouterr().out


def test_the_command_line_shows_the_damage_of_a_ledger(storage, capsys):
    storage.create("ledger/00000001.json", b"edited")

    assert main(["status"]) == 1
    assert "not a ledger entry" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "history", "verify"])
def test_storage_that_does_not_answer_is_not_damage(storage, capsys, monkeypatch, command):
    def away(*_):
        raise StorageUnavailableError("The storage did not answer")

    fill(storage)
    monkeypatch.setattr(DirectoryStore, "read", away)
    monkeypatch.setattr(DirectoryStore, "list", away)

    assert main([command]) == 3
    assert "The storage did not answer" in capsys.readouterr().err


def test_missing_settings_are_not_damage(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "none.yaml"))

    assert main(["verify"]) == 3
    assert "Cannot read the settings file" in capsys.readouterr().err


def test_object_storage_from_a_shell_needs_the_connection(use_storage, monkeypatch, capsys):
    use_storage("oci://b@n/x")
    assert main(["status"]) == main(["verify"]) == 3
    assert "Set AIRFLOW_CONN_OCI_DEFAULT" in capsys.readouterr().err

    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", "oci://")
    assert main(["status"]) == 3
    assert "is not a JSON connection" in capsys.readouterr().err
