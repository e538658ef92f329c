"""Bad input as a user sees it in Airflow; `tests/airflow` tests every kind of it without a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scheduler.rollbacks import ROLLBACK

if TYPE_CHECKING:
    from services import EndedRun, Installation


@pytest.fixture(scope="session")
def release_of_an_empty_shop(installation: Installation, first_release: EndedRun) -> EndedRun:
    before = installation.production()
    with installation.emptied_table("interactions"):
        run_id = installation.trigger("empty")
        return installation.inspect_run(run_id, installation.follow(run_id), before)


@pytest.mark.more
def test_an_empty_table_stops_the_run_at_the_extract_and_says_what_to_do(
    installation: Installation, release_of_an_empty_shop: EndedRun
) -> None:
    seen = release_of_an_empty_shop
    error = installation.admin.error_of(seen.run_id, "extract")

    assert seen.outcome.state == "failed"
    assert [task.name for task in seen.outcome.tasks.values() if task.state == "failed"] == ["extract"]
    assert seen.outcome.tasks["extract"].attempt == 1
    assert "interactions.sql" in error
    assert "returned no rows" in error
    assert "check that the table is filled" in error


@pytest.mark.more
def test_a_run_that_fails_is_closed_and_leaves_nothing(
    installation: Installation, release_of_an_empty_shop: EndedRun
) -> None:
    seen = release_of_an_empty_shop

    assert seen.outcome.tasks["close_release"].state == "success"
    begun = [kind for kind in seen.kinds if kind != "rollback_rehearsed"]  # only where there is a champion
    assert begun == ["release_opened", "production_backed_up", "release_rejected", "release_closed"]
    assert (seen.holder, seen.tests, installation.partial_objects()) == (None, [], [])
    assert seen.after == seen.before


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "0 is less than the minimum of 1"),
        ("v3", "'v3' does not match"),
        (True, "True is not of type 'string', 'integer'"),
        (None, "None is not of type 'string', 'integer'"),
    ],
)
def test_a_rollback_to_an_impossible_version_is_refused_when_it_is_triggered(
    installation: Installation, version: object, said: str
) -> None:
    refused = installation.of(ROLLBACK).admin.try_trigger({"version": version})

    assert refused.status_code == 400
    assert "Invalid input for param version" in refused.json()["detail"]
    assert said in refused.json()["detail"]
