"""Delete model deployments, and wait until they are gone."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, DeploymentFailedError
from recdeploy_ops.domain.events import Adopted, SwitchDone
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import LEDGER_TAG, PROJECT_TAG, ROLE_TAG, RUN_TAG
from recdeploy_ops.rollout.production import find_deployments, find_own_deployments, run_tag

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment

log = logging.getLogger(__name__)

# How long after its deadline, at most, a wait is noticed to be over.
NOTICE_DELAY = timedelta(minutes=30)


def advance_test_deletion(context: ReleaseContext) -> Waiting | None:
    """Delete the run's test deployments; return what to wait for, or None when all are gone."""
    return advance_deletion(context, find_own_deployments(context, Role.TEST))


def advance_unverified_deletion(context: ReleaseContext) -> Waiting | None:
    """Delete the run's unverified first production: nothing uses its URL yet.

    One listing covers both roles: while the role changes from test to production, two listings could both miss it.
    """
    waiting = None
    own = (context.project, run_tag(context.state, context.run_id))
    for listed in context.deployments.all():
        is_own = (listed.tags.get(PROJECT_TAG), listed.tags.get(RUN_TAG)) == own and not _was_verified(listed)
        if is_own and not listed.lifecycle_state.is_deleted:
            deployment = context.deployments.get(listed.deployment_id)
            if not deployment.lifecycle_state.is_deleted:
                waiting = _delete(context, deployment) or waiting
    return waiting


def find_unverified(context: ReleaseContext) -> list[Deployment]:
    """Return production deployments of closed releases that were never verified: nothing uses their URLs.

    OCI may create one after its release was closed, if the request was slow. One that ever served is not returned.
    """
    events = [entry.event for entry in context.history()]
    state = context.state
    closed = {run_tag(state, run_id) for run_id, release in state.releases.items() if not release.is_open}
    verified = {event.deployment_id for event in events if isinstance(event, SwitchDone)}
    verified |= {e.production.deployment_id for e in events if isinstance(e, Adopted) and e.production}
    return [
        deployment
        for deployment in find_deployments(context, Role.PRODUCTION)
        if not deployment.lifecycle_state.is_deleted
        and deployment.tags.get(RUN_TAG) in closed
        and deployment.deployment_id not in verified
        and not _was_verified(deployment)
    ]


def advance_deletion(context: ReleaseContext, deployments: Iterable[Deployment]) -> Waiting | None:
    """Delete deployments, but not one that was a test deployment and has become production.

    Returns:
        What to wait for next; None when all are gone, or when a requested deletion cannot be followed.

    Raises:
        DeploymentFailedError: a deletion did not end in time; the other deletions are requested nevertheless.
    """
    waiting: Waiting | None = None
    failed: DeploymentFailedError | None = None
    for listed in deployments:
        if listed.lifecycle_state.is_deleted:
            continue
        deployment = context.deployments.get(listed.deployment_id)
        if deployment.lifecycle_state.is_deleted or _has_left_test(listed, deployment):
            continue
        try:
            waiting = _delete(context, deployment) or waiting
        except DeploymentFailedError as err:
            log.warning("%s", err)
            failed = failed or err
    if failed:
        raise failed
    return waiting


def request_deletion(context: ReleaseContext, deployment: Deployment) -> None:
    """Request a deletion unless the deployment is gone or OCI is busy with it."""
    if deployment.lifecycle_state.is_gone or deployment.lifecycle_state.is_busy:
        return
    log.info("Deleting %s (%s)", deployment.name, deployment.deployment_id)
    context.deployments.delete(context.deployments.get(deployment.deployment_id))


def _delete(context: ReleaseContext, deployment: Deployment) -> Waiting | None:
    """Request a deletion; return what to wait for, or None if it cannot be followed."""
    since = _first_requested(context, deployment)
    request_deletion(context, deployment)
    if since is None:
        log.warning("The deletion of %s cannot be followed: the next housekeeping checks it again.", deployment.name)
        return None
    deadline = since + timedelta(minutes=context.settings.release.deployment_timeout_minutes)
    if context.now() >= deadline:
        raise DeploymentFailedError(
            f"{deployment.name} ({deployment.deployment_id}) is still {deployment.lifecycle_state} at its deadline "
            f"{deadline:%Y-%m-%d %H:%M} UTC.",
            TryAgain("Delete it in the OCI console"),
        )
    return Waiting(deployment.deployment_id, f"{deployment.name} is being deleted", deadline)


def _first_requested(context: ReleaseContext, deployment: Deployment) -> datetime | None:
    """Return when the deletion was first requested: OCI may accept it repeatedly without doing it.

    While OCI is busy with another change, the time of that change counts; if nothing was requested yet, now. If OCI
    refuses to list the work requests, see `_began_after_last_entry`.
    """
    try:
        work = context.deployments.work_requests(deployment.deployment_id)
    except CloudRefusedError as err:
        log.warning("Deleting %s without knowing its work requests: %s", deployment.name, err)
        return _began_after_last_entry(context, deployment)
    deletions = [request.accepted_at for request in work if "DELETE" in request.operation]
    if deletions:
        return min(deletions)
    return work[0].accepted_at if work and deployment.lifecycle_state.is_busy else context.now()


def _began_after_last_entry(context: ReleaseContext, deployment: Deployment) -> datetime | None:
    """Return the time of the ledger's newest entry: nothing is recorded while a deletion is in progress.

    None if that is longer ago than a wait can last: then the time of the request is not known.
    """
    since = max([deployment.created_at, *(entry.at for entry in context.history()[-1:])])
    longest = timedelta(minutes=context.settings.release.deployment_timeout_minutes) + NOTICE_DELAY
    return since if context.now() < since + longest else None


def _was_verified(deployment: Deployment) -> bool:
    """Return whether any ledger has recorded that it serves: another Airflow's runs may have the same ids."""
    return LEDGER_TAG in deployment.tags


def _has_left_test(listed: Deployment, deployment: Deployment) -> bool:
    has_left = listed.tags.get(ROLE_TAG) == Role.TEST and deployment.tags.get(ROLE_TAG) != Role.TEST
    if has_left:
        log.info("%s is no longer a test deployment: it stays.", deployment.name)
    return has_left
