"""Deleting model deployments, and seeing them gone."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import PROJECT_TAG, ROLE_TAG, RUN_TAG, run_slug

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

BUSY = frozenset({"CREATING", "UPDATING"})  # OCI deletes them only afterwards


def advance_test_removal(releases: Releases, run_id: str) -> Waiting | None:
    """Delete whatever TEST deployment a run has left; None when there is none any more."""
    return advance_removal(releases, releases.deployments_of_run(Role.TEST, run_id))


def advance_unproved_removal(releases: Releases, run_id: str) -> Waiting | None:
    """Delete what a run made to be the first production and never proved: nobody was told of it yet.

    One list of all that it made: while its role changes from TEST to production, two lists could both miss it.
    """
    waiting = None
    for listed in releases.deployments.all():
        mine = (listed.tags.get(PROJECT_TAG), listed.tags.get(RUN_TAG)) == (
            releases.settings.project_name,
            run_slug(run_id),
        )
        if mine and listed.lifecycle_state != "DELETED":
            deployment = releases.deployments.get(listed.deployment_id)
            waiting = waiting if deployment.lifecycle_state == "DELETED" else _remove(releases, deployment)
    return waiting


def find_unproved(releases: Releases) -> list[Deployment]:
    """Return deployments that a closed release made to be production and never proved: nobody was told of them.

    OCI may make one after its release was closed, where the request was slow. One that ever served is never among them.
    """
    book, entries = releases.ledger.book(), releases.ledger.entries()
    closed = {run_slug(run_id) for run_id, release in book.releases.items() if not release.is_open}
    proved = {e.facts["deployment_id"] for e in entries if e.kind in {Kind.PROMOTED, Kind.ROLLED_BACK}}
    adopted = [e.facts["production"] for e in entries if e.kind is Kind.ADOPTED]
    proved |= {production["deployment_id"] for production in adopted if production}
    return [
        deployment
        for deployment in releases.deployments_of(Role.PRODUCTION)
        if deployment.lifecycle_state != "DELETED"
        and deployment.tags.get(RUN_TAG) in closed
        and deployment.deployment_id not in proved
    ]


def advance_removal(releases: Releases, deployments: Iterable[Deployment]) -> Waiting | None:
    """Delete deployments, each only while it still has the role that it was chosen for.

    Returns:
        What to wait for next, or None when all are gone.

    Raises:
        DeploymentFailedError: a deletion did not end in time.
    """
    waiting = None
    for listed in deployments:
        if listed.lifecycle_state == "DELETED":
            continue
        deployment = releases.deployments.get(listed.deployment_id)
        if deployment.lifecycle_state == "DELETED" or _is_other_by_now(listed, deployment):
            continue
        waiting = _remove(releases, deployment)
    return waiting


def ask(releases: Releases, deployment: Deployment) -> None:
    """Ask for a deletion unless it is under way, or OCI is busy with the deployment."""
    if deployment.lifecycle_state in {"DELETING", "DELETED", *BUSY}:
        return
    log.info("Deleting %s (%s)", deployment.name, deployment.deployment_id)
    releases.deployments.delete(releases.deployments.get(deployment.deployment_id))


def _remove(releases: Releases, deployment: Deployment) -> Waiting:
    since = _first_asked(releases, deployment)
    deadline = since + timedelta(minutes=releases.settings.release.deployment_timeout_minutes)
    ask(releases, deployment)
    if releases.now() >= deadline:
        raise DeploymentFailedError(
            f"{deployment.name} ({deployment.deployment_id}) is still {deployment.lifecycle_state} at its deadline "
            f"{deadline:%Y-%m-%d %H:%M} UTC. Delete it in the OCI console, then clear this task."
        )
    return Waiting(deployment.deployment_id, f"{deployment.name} is being deleted", deadline)


def _first_asked(releases: Releases, deployment: Deployment) -> datetime:
    """Return when the deletion was first asked for: OCI may accept it again and again without doing it.

    While OCI is busy with something else, its beginning counts; now, where nothing was asked yet.
    """
    work = releases.deployments.work_requests(deployment.deployment_id)
    deletions = [found.accepted_at for found in work if "DELETE" in found.operation]
    if deletions:
        return min(deletions)
    return work[0].accepted_at if work and deployment.lifecycle_state in BUSY else releases.now()


def _is_other_by_now(listed: Deployment, deployment: Deployment) -> bool:
    changed = listed.tags.get(ROLE_TAG) == Role.TEST and deployment.tags.get(ROLE_TAG) != Role.TEST
    if changed:
        log.info("%s is no TEST deployment any more: it stays.", deployment.name)
    return changed
