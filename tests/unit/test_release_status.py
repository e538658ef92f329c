"""What people read: phases, the guide's summary, history and backups, and the command line."""

import json
from datetime import UTC, datetime

import pytest
import yaml
from unit.test_ledger import chain, closed, complete, opened, registered, validated

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.folding import fold
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_status import Phase, judge, summarise
from recdeploy_ops.ledgers import Ledger
from recdeploy_ops.releases import describe_state
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE
from recdeploy_ops.storage.directories import DirectoryStore

TESTED = (Kind.TEST_DEPLOYED, "run-2", {"deployment_id": "t", "url": "http://test", "skipped": False})
ASKED = (Kind.APPROVAL_REQUESTED, "run-2", {"attempt": 1})
STARTED = (Kind.PROMOTION_STARTED, "run-2", {"goal": "serving v2"})
FAILED = (Kind.PROMOTION_FAILED, "run-2", {"reason": "no capacity"})
SECOND = (*complete("run-1", 1), opened("run-2", 2), registered("run-2", 2), TESTED, validated("run-2"))


@pytest.mark.parametrize(
    ("history", "phase", "message"),
    [
        ((), Phase.HEALTHY, "No release is under way; nothing is in production."),
        (complete("run-1", 1), Phase.HEALTHY, "No release is under way; v1 serves."),
        ((opened(), closed(outcome="failed")), Phase.DEGRADED, "The newest release (v1) failed"),
        ((opened(), closed(outcome="rejected")), Phase.HEALTHY, "nothing is in production"),
        (SECOND, Phase.PROGRESSING, "v2 is past test_validated; v1 serves."),
        ((*SECOND, ASKED), Phase.PAUSED, "v2 waits for an approval; v1 serves."),
        ((*SECOND, ASKED, STARTED, FAILED), Phase.DEGRADED, "production is not settled"),
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

    assert "No production deployment" in text
    assert "🧪 TEST: No test deployment" in text


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
    return DirectoryStore(values["storage"])


def test_the_command_line_says_what_is_there(storage, capsys):
    ledger = Ledger(storage, lambda: datetime(2026, 3, 2, 3, 0, tzinfo=UTC))
    for part in complete("run-1", 1):
        ledger.append(*part, guard=lambda book: None)
    manifest = json.dumps({"version": 1, "files": {"metadata.json": "0"}}).encode()
    storage.create("backups/v1_20260302_030000/manifest.json", manifest)
    storage.create("backups/v1_20260301_030000/half-written.csv", b"")

    assert main(["status"]) == 0
    assert "PRODUCTION (v1)" in capsys.readouterr().out
    assert main(["history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines] == [
        "release_opened",
        "model_registered",
        "test_validated",
        "promoted",
        "release_closed",
    ]
    assert main(["backups"]) == 0
    assert capsys.readouterr().out == "v1       1 files  backups/v1_20260302_030000\n"


def test_the_command_line_of_an_empty_storage(storage, capsys):
    for command, message in (("history", "no release has been opened"), ("backups", "no backup yet")):
        assert main([command]) == 0
        assert message in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(storage, capsys):
    storage.create("ledger/00000001.json", b"edited")

    assert main(["status"]) == 1
    assert "no ledger entry" in capsys.readouterr().err


def test_object_storage_from_a_shell_needs_the_connection(tmp_path, monkeypatch, capsys):
    values = yaml.safe_load(DEFAULT_PATH.read_text()) | {"storage": "oci://b@n/x"}
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "recommender.yaml"))
    monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
    assert main(["status"]) == 1
    assert "Set AIRFLOW_CONN_OCI_DEFAULT" in capsys.readouterr().err

    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", "oci://")
    assert main(["status"]) == 1
    assert "is no JSON connection" in capsys.readouterr().err
