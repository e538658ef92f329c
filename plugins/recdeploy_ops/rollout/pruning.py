"""Execute a housekeeping plan: exactly its calls, or stop because the ledger or OCI has changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError, LedgerConflictError, StorageError
from recdeploy_ops.domain.events import HousekeepingStarted
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.oci_clients.tags import PROJECT_TAG, VERSION_TAG
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.holdings import ABANDONED_AFTER, find_left_deployments
from recdeploy_ops.rollout.rehearsals import find_or_restore

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ModelRestored
    from recdeploy_ops.domain.holdings import RegisteredModel, StoredFolder
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.retention import HousekeepingPlan
    from recdeploy_ops.domain.waiting import Waiting

log = logging.getLogger(__name__)


def execute(context: ReleaseContext, plan: HousekeepingPlan) -> Waiting | None:
    """Make the calls of a plan that was made just now; return the deletion to wait for, or None when all are done.

    What is deleted is recorded first: from then on production cannot go back to a version whose files are deleted. A
    rollback target that OCI would not deploy is restored before anything is pruned.

    Args:
        context: of the housekeeping run.
        plan: as `make_plan` returned it.

    Raises:
        LedgerConflictError: another run has recorded something meanwhile; what is left to do is planned again.
        StorageError: no undamaged copy of a rollback target exists: nothing is pruned.
        DeploymentFailedError: a deployment was not deleted in time.
    """
    work = _Execution(context, plan)
    work.record()
    waiting, failed = work.delete_deployments()
    for one in context.store.find_unfinished(context.now() - ABANDONED_AFTER):
        if one.name in plan.unfinished:
            log.warning("Removing %s: its writer was killed before it was complete.", one.name)
            context.store.discard(one)
    work.restore()
    for model in plan.models:
        work.delete_model(model)
    for folder in plan.folders:
        work.delete_folder(folder)
    if failed:
        raise failed
    return waiting


def started_by(context: ReleaseContext) -> list[HousekeepingStarted]:
    """Return what this run of housekeeping has recorded."""
    events = (entry.event for entry in context.history() if entry.run_id == context.run_id)
    return [event for event in events if isinstance(event, HousekeepingStarted)]


class _Execution:
    """The calls of one plan, each only while the ledger is as it was when the plan was made."""

    def __init__(self, context: ReleaseContext, plan: HousekeepingPlan) -> None:
        self._context, self._plan = context, plan
        self._seq = plan.seq

    def record(self) -> None:
        """Record what is going to be deleted, unless an earlier try has; not in a storage without a ledger."""
        plan, known = self._plan, started_by(self._context)
        event = HousekeepingStarted(
            deployments=_without(
                [d.deployment_id for d in plan.deployments], [one for event in known for one in event.deployments]
            ),
            models=_without([m.model_id for m in plan.models], [one for event in known for one in event.models]),
            folders=_without([f.prefix for f in plan.folders], [one for event in known for one in event.folders]),
            versions=plan.versions,
            size=plan.size,
            instances=plan.instances,
        )
        if plan.seq and (event.deployments or event.models or event.folders or event.versions):
            self._append(event)

    def delete_deployments(self) -> tuple[Waiting | None, DeploymentFailedError | None]:
        """Request the deletions, and return the one to wait for, or the error of one that did not end in time."""
        planned = {deployment.deployment_id for deployment in self._plan.deployments}
        left = (
            deployment
            for deployment in find_left_deployments(self._context)
            if deployment.deployment_id in planned or deployment.lifecycle_state.is_busy
        )
        try:
            return deletion.advance_deletion(self._context, left), None
        except DeploymentFailedError as err:  # what else is planned does not wait for a person
            return None, err

    def restore(self) -> None:
        """Let OCI deploy the rollback targets again."""
        for target in self._plan.broken:
            self._require_unchanged()
            version = self._context.state.versions[target.version]
            log.warning("OCI would not deploy v%s, to which a rollback may go: restoring it.", target.version)
            find_or_restore(self._context, version, record=self._append)

    def delete_model(self, model: RegisteredModel) -> None:
        """Delete a model that is tagged as before."""
        self._require_unchanged()
        tags = {PROJECT_TAG: self._context.project, VERSION_TAG: str(model.version)}
        if not self._context.catalog.delete(model.model_id, tags):
            raise StorageError(
                f"The model {model.name} ({model.model_id}) has other tags than when its deletion was planned.",
                TryAgain("Look at it in the OCI console"),
            )
        log.info("Deleted the model %s (%s)", model.name, model.model_id)

    def delete_folder(self, folder: StoredFolder) -> None:
        """Delete the objects of a folder."""
        self._require_unchanged()
        for key in folder.keys:
            self._context.store.delete(key)
        log.info("Deleted %s (%s objects, %s bytes)", folder.prefix, len(folder.keys), f"{folder.size:,}")

    def _append(self, event: HousekeepingStarted | ModelRestored) -> None:
        state = self._context.ledger.append(self._context.run_id, event, guard=self._require)
        self._seq = state.seq

    def _require_unchanged(self) -> None:
        self._require(self._context.refresh())

    def _require(self, state: LedgerState) -> None:
        if state.seq != self._seq:
            raise LedgerConflictError(
                f"Housekeeping stops: the ledger had {self._seq} entries when it was planned, and now has {state.seq}. "
                "What is left to do is planned again."
            )


def _without(planned: list[str], known: list[str]) -> tuple[str, ...]:
    return tuple(one for one in planned if one not in known)
