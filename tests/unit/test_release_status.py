"""What people read: phases, the guide's summary, history and backups, and the command line."""

import json
from datetime import UTC, datetime

import pytest
import yaml
from unit.test_ledger import chain, closed, complete, opened, registered, validated

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.errors import CloudUnavailableError, StorageUnavailableError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_status import PROGRESS, Phase, describe_history, dump_history, judge, summarise
from recdeploy_ops.domain.replay import fold
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.releases import describe_state
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE
from recdeploy_ops.storage.directories import DirectoryStore

TESTED = (Kind.TEST_DEPLOYED, "run-2", {"deployment_id": "t", "url": "http://test", "skipped": False})
ASKED = (Kind.APPROVAL_REQUESTED, "run-2", {"attempt": 1})
STARTED = (Kind.PROMOTION_STARTED, "run-2", {"goal": "serving v2"})
FAILED = (Kind.PROMOTION_FAILED, "run-2", {"reason": "no capacity"})
SECOND = (*complete("run-1", 1), opened("run-2", 2), registered("run-2", 2), TESTED, validated("run-2"))

SERVED_TWICE = (*complete("run-1", 1), *complete("run-2", 2))
BACK = (Kind.RELEASE_OPENED, "run-3", {**opened("run-3", 1)[2], "purpose": "rollback"})
ASKED_BACK = (Kind.APPROVAL_REQUESTED, "run-3", {"attempt": 1})


@pytest.mark.parametrize(
    ("history", "phase", "message"),
    [
        ((), Phase.HEALTHY, "No release is under way; nothing is in production."),
        (complete("run-1", 1), Phase.HEALTHY, "No release is under way; v1 serves."),
        ((opened(), closed(outcome="failed")), Phase.DEGRADED, "The newest release (v1) failed"),
        ((opened(), closed(outcome="rejected")), Phase.HEALTHY, "nothing is in production"),
        (SECOND, Phase.PROGRESSING, "v2 is validated on TEST; v1 serves."),
        ((*SECOND, ASKED), Phase.PAUSED, "v2 waits for an approval; v1 serves."),
        ((*SECOND, ASKED, STARTED, FAILED), Phase.DEGRADED, "The promotion of v2 failed and production is not settled"),
        ((*SERVED_TWICE, BACK), Phase.PROGRESSING, "The rollback to v1 has begun; v2 serves."),
        ((*SERVED_TWICE, BACK, ASKED_BACK), Phase.PAUSED, "The rollback to v1 waits for an approval; v2 serves."),
        (
            (*SERVED_TWICE, BACK, (Kind.PROMOTION_FAILED, "run-3", {"reason": "x"})),
            Phase.DEGRADED,
            "The rollback to v1 failed",
        ),
    ],
)
def test_the_phase_follows_from_the_ledger(history, phase, message):
    status = judge(fold(chain(*history)))

    assert status.phase is phase
    assert message in status.message


def test_the_summary_has_the_guides_lines():
    text = summarise(fold(chain(*SECOND)), "product-recommender")

    assert "🎯 Product Recommender - Deployment Status" in text
    assert "✅ PRODUCTION (v1)\n   Model: m1\n   Endpoint: u\n   Deployed: 2026-03-02T03:04:00+00:00" in text
    assert "🧪 TEST (v2)\n   Deployment: t\n   Endpoint: http://test" in text
    assert "📊 Current Version: v1\n📦 Total Deployments: 1" in text


def test_the_summary_of_nothing():
    text = summarise(fold([]), "shop")

    assert "⬜ PRODUCTION: No production deployment" in text
    assert "✅" not in text
    assert "🧪 TEST: No test deployment" in text


def test_every_kind_of_entry_has_words_for_how_far_a_release_has_come():
    assert set(PROGRESS) == set(Kind)
    assert not any("_" in words for words in PROGRESS.values())


def test_versions_that_served_are_counted_not_the_promotions():
    again = (*complete("run-1", 1), *complete("run-2", 2))
    rejected = (opened("run-3", 3), registered("run-3", 3), (Kind.RELEASE_REJECTED, "run-3", {}), closed("run-3"))

    assert "📦 Total Deployments: 2" in summarise(fold(chain(*again, *rejected)), "shop")


def test_a_test_deployment_that_a_preempted_release_left_is_named():
    preempted = closed("run-2", outcome="pre-empted")
    text = summarise(fold(chain(*SECOND, ASKED, preempted)), "shop")

    assert "🧪 TEST (v2) of a release that was pre-empted: its run, or housekeeping, deletes it" in text
    assert "Deployment: t" in text
    assert "No test deployment" in summarise(fold(chain(*SECOND, ASKED, preempted, *complete("run-3", 3))), "shop")


HOSTILE = "fine\n     9  2026-01-01 00:00:00  promoted\x1b[2J\u2028\u202e\x85by=admin"


def test_no_text_in_the_ledger_can_forge_a_line_of_its_history():
    history = (opened(), (Kind.APPROVAL_ANSWERED, "run-1", {"comment": HOSTILE, "by": "ann lee"}))
    text = describe_history(chain(*history))

    assert len(text.splitlines()) == 2
    assert all(character.isprintable() or character == "\n" for character in text)
    assert r'comment="fine\n     9  2026-01-01 00:00:00  promoted\u001b[2J\u2028\u202e\u0085by=admin"' in text
    assert 'by="ann lee"' in text


def test_ids_are_shown_whole_and_so_is_the_reason():
    ocid = "ocid1.datasciencemodel.oc1.eu-frankfurt-1." + "a" * 60
    params = {"version": 1, "reason": "wrong lists", "require_approval": False}
    facts = {**opened("run-3", 1)[2], "params": params, "model_id": ocid}

    text = describe_history(chain((Kind.RELEASE_OPENED, "run-3", facts)))

    assert f"model_id={ocid}" in text
    assert 'reason="wrong lists"' in text


def test_the_history_as_json_is_one_ascii_line_an_entry():
    history = (opened(), (Kind.APPROVAL_ANSWERED, "run-1", {"comment": HOSTILE}))
    lines = dump_history(chain(*history)).splitlines()

    assert [json.loads(line)["kind"] for line in lines] == ["release_opened", "approval_answered"]
    assert json.loads(lines[1])["facts"]["comment"] == HOSTILE
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_the_state_file_names_a_test_deployment_while_there_is_one():
    state = describe_state(fold(chain(*SECOND)))

    assert state["test"] == {"version": 2, "deployment_id": "t", "endpoint": "http://test"}
    assert (state["current_version"], state["next_version"]) == (1, 3)
    assert state["history"][1]["outcome"] == "in progress"


@pytest.fixture
def storage(tmp_path, monkeypatch):
    values = yaml.safe_load(DEFAULT_PATH.read_text())
    values["storage"] = (tmp_path / "storage").as_uri()
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "recommender.yaml"))
    without_oci(monkeypatch, tmp_path)
    return DirectoryStore(values["storage"])


def without_oci(monkeypatch, tmp_path):
    """Leave nothing to sign requests with."""
    for name in ("AIRFLOW_CONN_OCI_DEFAULT", "AIRFLOW__SECRETS__BACKEND_KWARGS", "OCI_RESOURCE_PRINCIPAL_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "no-config"))


def fill(storage):
    ledger = Ledger(storage, lambda: datetime(2026, 3, 2, 3, 0, tzinfo=UTC))
    for part in complete("run-1", 1):
        ledger.append(*part, guard=lambda book: None)
    return ledger


def test_the_command_line_says_what_is_there(storage, capsys):
    fill(storage)
    manifest = json.dumps({"version": 1, "files": {"metadata.json": "0"}}).encode()
    storage.create("backups/v1_20260302_030000/manifest.json", manifest)
    storage.create("backups/v1_20260301_030000/half-written.csv", b"")

    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Project product-recommender, storage {storage.uri}\n")
    assert "PRODUCTION (v1)" in said
    assert main(["history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines] == [
        "release_opened",
        "model_registered",
        "test_validated",
        "promoted",
        "release_closed",
    ]
    assert main(["history", "--json"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 5]
    assert main(["backups"]) == 0
    assert capsys.readouterr().out == "v1       1 files  backups/v1_20260302_030000\n"


def test_the_command_line_of_an_empty_storage(storage, capsys):
    for command, message in (("history", "no release has been opened"), ("backups", "no backup yet")):
        assert main([command]) == 0
        assert message in capsys.readouterr().out


@pytest.mark.parametrize(("command", "code"), [("status", 0), ("verify", 1)])
def test_nothing_is_neither_healthy_nor_whole(storage, capsys, tmp_path, command, code):
    assert main([command]) == code

    said = capsys.readouterr().out
    assert (
        f"There is no ledger at {storage.uri}: is this the right settings file ({tmp_path}/recommender.yaml)?" in said
    )
    assert "healthy" not in said
    assert "✅" not in said
    assert "whole" not in said


def test_what_cannot_be_compared_with_oci_is_said_after_what_the_entries_show(storage, capsys):
    fill(storage)

    assert main(["verify"]) == 2

    said = capsys.readouterr().out.splitlines()
    assert said[1] == "The ledger's 5 entries are whole."
    assert said[2].startswith("The tags could not be compared: There is nothing to sign requests to OCI with.")


def test_oci_that_does_not_answer_leaves_the_verdict_on_the_entries(storage, capsys, monkeypatch):
    fill(storage)
    monkeypatch.setattr("recdeploy_ops.__main__.find_profile", lambda conn_id: None)
    monkeypatch.setattr("recdeploy_ops.__main__.Releases.tagged_heads", unavailable)

    assert main(["verify"]) == 2
    assert "The tags could not be compared: OCI did not answer" in capsys.readouterr().out
    storage.create("ledger/00000006.json", b"edited")
    assert main(["verify"]) == 1
    assert capsys.readouterr().out.index("no ledger entry") > 0


def unavailable(releases):
    raise CloudUnavailableError("OCI did not answer")


@pytest.mark.parametrize(("seq", "code", "says"), [(5, 0, "It agrees with the tags of production."), (6, 1, "cut off")])
def test_the_tags_decide_when_they_can_be_read(storage, capsys, monkeypatch, seq, code, says):
    ledger = fill(storage)
    head = f"{seq}:{ledger.book().head}"
    monkeypatch.setattr("recdeploy_ops.__main__.find_profile", lambda conn_id: None)
    monkeypatch.setattr("recdeploy_ops.__main__.Releases.tagged_heads", lambda releases: {"production": head})

    assert main(["verify"]) == code
    assert says in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(storage, capsys):
    storage.create("ledger/00000001.json", b"edited")

    assert main(["status"]) == 1
    assert "no ledger entry" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "history", "verify"])
def test_storage_that_does_not_answer_is_no_damage(storage, capsys, monkeypatch, command):
    def away(*_):
        raise StorageUnavailableError("The storage did not answer")

    fill(storage)
    monkeypatch.setattr(DirectoryStore, "read", away)
    monkeypatch.setattr(DirectoryStore, "list", away)

    assert main([command]) == 3
    assert "The storage did not answer" in capsys.readouterr().err


def test_settings_that_are_not_there_are_no_damage(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "none.yaml"))

    assert main(["verify"]) == 3
    assert "Cannot read the settings file" in capsys.readouterr().err


def test_object_storage_from_a_shell_needs_the_connection(tmp_path, monkeypatch, capsys):
    values = yaml.safe_load(DEFAULT_PATH.read_text()) | {"storage": "oci://b@n/x"}
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "recommender.yaml"))
    without_oci(monkeypatch, tmp_path)
    assert main(["status"]) == main(["verify"]) == 3
    assert "Set AIRFLOW_CONN_OCI_DEFAULT" in capsys.readouterr().err

    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", "oci://")
    assert main(["status"]) == 3
    assert "is no JSON connection" in capsys.readouterr().err
