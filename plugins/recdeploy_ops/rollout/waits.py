"""Wait for OCI: Airflow's trigger looks once, an operator a few times, a notebook until it is done."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from recdeploy_ops.domain.deployment_states import Progress
from recdeploy_ops.domain.errors import CloudRefusedError, TransientError
from recdeploy_ops.domain.waiting import Waiting, judge_work_request, poll_intervals

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome, Summary
    from recdeploy_ops.oci_clients.deployments import ModelDeployments

log = logging.getLogger(__name__)


def is_finished(deployments: ModelDeployments, deployment_id: str) -> bool:
    """Return whether OCI has finished all changes of a deployment.

    If OCI refuses to list its work requests, its state alone decides.
    """
    try:
        newest = deployments.newest_work_request(deployment_id)
    except CloudRefusedError as err:
        log.warning("Only the state of %s is known: %s", deployment_id, err)
        newest = None
    if newest and judge_work_request(newest.status) is Progress.RUNNING:
        return False
    return deployments.get(deployment_id).lifecycle_state.progress is not Progress.RUNNING


def finish(context: ReleaseContext, advance: Callable[[], Outcome]) -> Summary:
    """Advance a step until it is done, however long that takes.

    Args:
        context: of the run.
        advance: the step, with its arguments bound.
    """
    while isinstance(outcome := advance(), Waiting):
        _watch(context, outcome, math.inf)
    return outcome


def advance_patiently(context: ReleaseContext, advance: Callable[[], Outcome], *, patience: float) -> Outcome:
    """Advance a step repeatedly while its waits end soon; return the outcome, or the wait that takes longer.

    Args:
        context: of the run.
        advance: the step, with its arguments bound.
        patience: seconds to wait in all.
    """
    while isinstance(outcome := advance(), Waiting) and patience > 0:
        patience -= _watch(context, outcome, patience)
    return outcome


def _watch(context: ReleaseContext, waiting: Waiting, patience: float) -> float:
    """Look until a wait is over, its deadline has passed, or patience is used up; return the seconds it took.

    It sleeps before each look, also the first: OCI's lists may not yet show what OCI has just accepted.
    """
    log.info("%s", waiting.reason)
    spent = 0.0
    for seconds in poll_intervals(context.settings.release.poll_seconds):
        if spent + seconds > patience:
            break
        time.sleep(seconds)
        spent += seconds
        if context.now() >= waiting.deadline or _is_done(context, waiting):
            return spent
    return patience


def _is_done(context: ReleaseContext, waiting: Waiting) -> bool:
    return waiting.deployment_id is not None and _look(context.deployments, waiting.deployment_id)


def _look(deployments: ModelDeployments, deployment_id: str) -> bool:
    try:
        return is_finished(deployments, deployment_id)
    except TransientError as err:
        log.warning("Looking again: %s", err)
        return False
    except CloudRefusedError as err:
        log.warning("Leaving the check to the step: %s", err)
        return True
