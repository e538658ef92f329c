"""Waiting for OCI: one look for Airflow's trigger, a loop for notebooks and the command line."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import TransientError
from recdeploy_ops.domain.waiting import Progress, Waiting, judge_deployment, judge_work_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome, Summary

log = logging.getLogger(__name__)


def is_settled(releases: Releases, deployment_id: str) -> bool:
    """Return whether nothing is under way with a deployment."""
    newest = releases.deployments.newest_work_request(deployment_id)
    if newest and judge_work_request(newest.status) is Progress.RUNNING:
        return False
    state = releases.deployments.get(deployment_id).lifecycle_state
    return judge_deployment(state) is not Progress.RUNNING


def finish(releases: Releases, advance: Callable[[], Outcome]) -> Summary:
    """Advance a step until it is done, looking every ``poll_seconds`` while it waits.

    Args:
        releases: what the step works with.
        advance: the step, with its arguments bound.
    """
    while isinstance(outcome := advance(), Waiting):
        log.info("%s", outcome.reason)
        while releases.now() < outcome.deadline and not _look(releases, outcome.deployment_id):
            time.sleep(releases.settings.release.poll_seconds)
    return outcome


def _look(releases: Releases, deployment_id: str) -> bool:
    try:
        return is_settled(releases, deployment_id)
    except TransientError as err:
        log.warning("Looking again: %s", err)
        return False
