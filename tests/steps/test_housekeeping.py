"""What housekeeping deletes, and what it leaves alone."""

from datetime import timedelta

import pytest
from steps.factories import Run

from recdeploy_ops.domain.records import Role
from recdeploy_ops.steps import keep_house
from recdeploy_ops.steps.waits import finish


def living(releases):
    return [d.name for d in releases.deployments_of(Role.TEST) if d.lifecycle_state != "DELETED"]


def keep(releases, *, ended=False):
    return finish(releases, lambda: keep_house.advance(releases, has_ended=lambda dag_id, run_id: ended))


def test_the_test_deployment_of_a_live_release_stays(releases, tmp_path):
    Run(releases, "run-1", tmp_path).validate()

    assert keep(releases) == {"left": ["product-recommender-test-v1"]}
    assert living(releases) == ["product-recommender-test-v1"]


def test_a_run_that_died_is_closed_and_its_deployment_deleted(releases, tmp_path):
    Run(releases, "run-1", tmp_path).validate()

    assert keep(releases, ended=True) == {"left": []}
    assert living(releases) == []
    assert releases.ledger.book().holder is None


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
