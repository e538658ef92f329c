"""Housekeeping: what it deletes, and what it leaves."""

import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from steps.factories import delete_stored, living_tests, reopen, tidy_up

from recdeploy_ops.context import utc_now


def test_the_test_deployment_of_a_release_in_progress_stays(context, validated):
    validated(1)

    assert tidy_up(context) == {"left": ["product-recommender-test-v1"]}
    assert living_tests(context) == ["product-recommender-test-v1"]


def test_a_run_that_has_ended_is_closed_and_its_deployment_deleted(context, validated):
    validated(1)

    assert tidy_up(context, ended=True) == {"left": []}
    assert living_tests(context) == []
    assert context.ledger.read().holder is None


def test_the_work_folder_of_a_killed_process_is_removed(context, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    left = tmp_path / "temporary" / f"recdeploy-{ended.pid}-1-{namespace}-left"
    left.mkdir(parents=True)
    (left / "interactions.parquet").touch()

    tidy_up(context)

    assert not left.exists()


@pytest.mark.parametrize(("hours", "left"), [(95, ["product-recommender-test-v1"]), (97, [])])
def test_an_unknown_test_deployment_lives_as_long_as_its_lease(context, validated, hours, left):
    validated(1)
    delete_stored(context, "ledger/")
    later = utc_now() + timedelta(hours=hours)
    tidy_up(reopen(context, now=lambda: later))

    assert living_tests(context) == left
