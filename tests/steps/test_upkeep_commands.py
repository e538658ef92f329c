"""The commands `housekeeping`, `pin`, `unpin` and `erase`, as a person gives them in a terminal."""

import json

import pytest
from steps.factories import delete_model, living_tests, served

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.events import ReleaseClosed, ReleaseOutcome
from recdeploy_ops.settings import SETTINGS_VARIABLE

USER = "A39HTATAQ9V7YF"
PIN = ["pin", "--version", "1", "--reason", "the audit"]


@pytest.fixture(autouse=True)
def shell(settings, profile_fields, monkeypatch):
    """The environment of a terminal: the settings file, and Airflow's connection as a variable."""
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings.folder / "recommender.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))


@pytest.fixture
def left_behind(validated):
    """v1 serves, and a failed release has left its test deployment."""
    run = validated(2)
    run.context.record(ReleaseClosed(ReleaseOutcome.FAILED, 2, None, None))
    return run


def test_the_plan_is_shown_and_only_done_when_it_is_asked_for(context, left_behind, capsys):
    assert main(["housekeeping"]) == 0
    said = capsys.readouterr().out
    assert "Nothing of v1 is deleted: it is the champion." in said
    assert "1 calls, in this order:\n  1. DeleteModelDeployment ocid1" in said
    assert living_tests(context) == ["product-recommender-test-v2"]

    assert main(["housekeeping", "--apply"]) == 0
    assert capsys.readouterr().out.endswith("Done.\n")
    assert living_tests(context) == []

    assert main(["housekeeping", "--apply"]) == 0
    said = capsys.readouterr().out
    assert "Nothing to do." in said
    assert said.endswith("Nothing was deleted.\n")


def test_a_pin_protects_a_version_until_it_is_ended(context, two_versions, capsys):
    assert main(PIN) == 0
    assert capsys.readouterr().out.endswith("v1 is kept whole.\n")
    assert context.refresh().pinned[1].reason == "the audit"
    assert main(["unpin", "--version", "1", "--reason", "it is over"]) == 0
    assert capsys.readouterr().out.endswith("v1 is kept as long as the policy says.\n")
    assert context.refresh().pinned == {}

    assert main(["unpin", "--version", "1", "--reason", "again"]) == 3
    assert "v1 is not pinned; no version is." in capsys.readouterr().err
    assert main(["pin", "--version", "9", "--reason", "the audit"]) == 3
    assert "v9 does not exist. Name a version" in capsys.readouterr().err


def test_a_pinned_version_is_a_rollback_target_that_is_restored(context, two_versions, capsys):
    main(PIN)
    delete_model(context, 1)
    assert main(["housekeeping"]) == 0
    assert "v1, to which a rollback may go, is registered again" in capsys.readouterr().out


def test_erasing_shows_a_plan_and_needs_a_reason(context, two_versions, capsys):
    seq = context.refresh().seq
    assert main(["erase", "--user", USER]) == 0
    said = capsys.readouterr().out
    assert "is stored again without them." in said
    assert "Production serves v2 with a list for them" in said
    assert USER not in said

    assert main(["erase", "--user", USER, "--apply"]) == 3
    assert "--apply needs --reason." in capsys.readouterr().err
    assert main(["erase", "--user", USER, "--apply", "--reason", f"{USER} asked"]) == 3
    assert "The reason names the customer" in capsys.readouterr().err
    assert context.refresh().seq == seq


def test_erasing_is_done_with_apply_and_done_once(context, two_versions, capsys):
    command = ["erase", "--user", USER, "--apply", "--reason", "request 7"]
    assert main(command) == 0
    assert capsys.readouterr().out.endswith("Erased. What is listed as not reached is left.\n")
    seq = context.refresh().seq

    assert main(command) == 0
    assert "Nothing to do: no other file in storage names this customer." in capsys.readouterr().out
    assert context.refresh().seq == seq
    assert served(context) == 2
    assert main(["verify"]) == 0


def test_erasing_waits_for_a_release_in_progress(context, validated, capsys):
    validated(2)
    assert main(["erase", "--user", USER]) == 3
    assert "has held the release lock" in capsys.readouterr().err
