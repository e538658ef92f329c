"""What housekeeping deletes, and what it leaves alone."""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from steps.factories import Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.records import Role
from recdeploy_ops.rollout.production import find_deployments
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import housekeeping


def living(context):
    return [d.name for d in find_deployments(context, Role.TEST) if d.lifecycle_state != "DELETED"]


def tidy_up(context, *, ended=False):
    own = context.of_run("housekeeping")
    return finish(own, lambda: housekeeping.advance(own, has_ended=lambda holder: ended))


def test_the_test_deployment_of_a_release_in_progress_stays(context, tmp_path):
    Run(context, "run-1", tmp_path).validate()

    assert tidy_up(context) == {"left": ["product-recommender-test-v1"]}
    assert living(context) == ["product-recommender-test-v1"]


def test_a_run_that_has_ended_is_closed_and_its_deployment_deleted(context, tmp_path):
    Run(context, "run-1", tmp_path).validate()

    assert tidy_up(context, ended=True) == {"left": []}
    assert living(context) == []
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
def test_an_unknown_test_deployment_lives_as_long_as_its_lease(context, tmp_path, hours, left):
    Run(context, "run-1", tmp_path).validate()
    for found in list(context.store.list("ledger/")):
        context.store.delete(found.key)
    at = datetime.now(UTC) + timedelta(hours=hours)
    later = open_context(context.settings, context.store, context.catalog._session, "later", now=lambda: at)
    tidy_up(later)

    assert living(context) == left
