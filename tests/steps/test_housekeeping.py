"""What housekeeping deletes, and what it leaves alone."""

import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from steps.factories import Run

from recdeploy_ops.domain.records import Role
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import housekeeping


def living(releases):
    return [d.name for d in releases.deployments_of(Role.TEST) if d.lifecycle_state != "DELETED"]


def keep(releases, *, ended=False):
    return finish(releases, lambda: housekeeping.advance(releases, has_ended=lambda dag_id, run_id: ended))


def test_the_test_deployment_of_a_live_release_stays(releases, tmp_path):
    Run(releases, "run-1", tmp_path).validate()

    assert keep(releases) == {"left": ["product-recommender-test-v1"]}
    assert living(releases) == ["product-recommender-test-v1"]


def test_a_run_that_died_is_closed_and_its_deployment_deleted(releases, tmp_path):
    Run(releases, "run-1", tmp_path).validate()

    assert keep(releases, ended=True) == {"left": []}
    assert living(releases) == []
    assert releases.ledger.book().holder is None


def test_the_work_folder_of_a_killed_process_is_removed(releases, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    left = tmp_path / "temporary" / f"recdeploy-{dead.pid}-1-{namespace}-left"
    left.mkdir(parents=True)
    (left / "interactions.parquet").touch()

    keep(releases)

    assert not left.exists()


@pytest.mark.parametrize(("hours", "left"), [(95, ["product-recommender-test-v1"]), (97, [])])
def test_an_unknown_test_deployment_lives_as_long_as_its_lease(releases, tmp_path, hours, left):
    Run(releases, "run-1", tmp_path).validate()
    for found in list(releases.store.list("ledger/")):
        releases.store.delete(found.key)
    later = type(releases)(releases.settings, releases.store, releases.catalog._session)
    now = later.now()
    later.now = lambda: now + timedelta(hours=hours)
    keep(later)

    assert living(releases) == left
