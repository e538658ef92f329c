"""Waiting for OCI: one look for Airflow's trigger, a few for an operator, as many as it takes for a notebook."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import TransientError
from recdeploy_ops.domain.waiting import Progress, Waiting, judge_deployment, judge_work_request, look_intervals

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.waiting import Outcome, Summary
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def is_settled(releases: Releases, deployment_id: str) -> bool:
    """Return whether nothing is under way with a deployment."""
    newest = releases.deployments.newest_work_request(deployment_id)
    if newest and judge_work_request(newest.status) is Progress.RUNNING:
        return False
    state = releases.deployments.get(deployment_id).lifecycle_state
    return judge_deployment(state) is not Progress.RUNNING


def finish(releases: Releases, advance: Callable[[], Outcome]) -> Summary:
    """Advance a step until it is done, however long that takes.

    Args:
        releases: what the step works with.
        advance: the step, with its arguments bound.
    """
    while isinstance(outcome := advance(), Waiting):
        _watch(releases, outcome, math.inf)
    return outcome


def advance_patiently(releases: Releases, advance: Callable[[], Outcome], *, patience: float) -> Outcome:
    """Advance a step, again and again while what it waits for is soon over; return the wait that takes longer.

    Args:
        releases: what the step works with.
        advance: the step, with its arguments bound.
        patience: seconds to wait in all.
    """
    while isinstance(outcome := advance(), Waiting) and patience > 0:
        patience -= _watch(releases, outcome, patience)
    return outcome


def _watch(releases: Releases, waiting: Waiting, patience: float) -> float:
    """Look until a wait is over, its deadline has passed, or patience has ended; return how much patience that took.

    It sleeps before each look, the first one too: OCI's lists may not show yet what it has just accepted.
    """
    log.info("%s", waiting.reason)
    spent = 0.0
    for seconds in look_intervals(releases.settings.release.poll_seconds):
        if spent + seconds > patience:
            break
        time.sleep(seconds)
        spent += seconds
        if releases.now() >= waiting.deadline or _look(releases, waiting.deployment_id):
            return spent
    return patience


def _look(releases: Releases, deployment_id: str) -> bool:
    try:
        return is_settled(releases, deployment_id)
    except TransientError as err:
        log.warning("Looking again: %s", err)
        return False
