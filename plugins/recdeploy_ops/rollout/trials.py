"""Try a rollback's version on a test deployment if a worker may not run its code.

The intent is recorded before the creation is requested, and the test deployment is deleted before production is
switched. A run that was killed meanwhile finds its deployment by its tags; the teardown deletes what is left.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ModelRegistered, RehearsalStarted, RollbackRehearsed
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.creation import advance_creation
from recdeploy_ops.rollout.rehearsals import find_or_restore, record_rehearsal, try_registered
from recdeploy_ops.rollout.switches import verify_serving

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Shape
    from recdeploy_ops.domain.versions import Version


def advance_rehearsal(context: ReleaseContext, version: Version) -> Waiting | RollbackRehearsed:
    """Verify that production can go back to a version, and record how long that took.

    If the catalog's model is gone, it is first registered again from storage or a backup. Code of this project is
    loaded in a clean process; foreign code is served by a test deployment, which is then deleted.

    Args:
        context: of the rollback's run.
        version: the rollback target.

    Raises:
        IntegrityError: the version's artifact is not the one that was recorded, or does not answer.
        DeploymentFailedError: the test deployment could not be created, does not answer as the version would, or could
            not be deleted.
        StorageError: no undamaged copy of it exists.
    """
    began = time.monotonic()
    model_id = find_or_restore(context, version).model_id
    started = _find_started(context, version, model_id)
    if started is None and try_registered(context, version, model_id):
        seconds = round(time.monotonic() - began, 1)
        rehearsed = RollbackRehearsed(version.number, version.digest, model_id, seconds)
        return record_rehearsal(context, rehearsed, "fetched, verified, loaded and probed")
    if started is None:
        started = RehearsalStarted(version.number, version.digest, model_id, context.now())
        context.record(started)
    if not _is_tried(context, started):
        waiting = _try(context, version, started)
        if waiting:
            return waiting
    return deletion.advance_test_deletion(context) or context.release.require(RollbackRehearsed)


def advance_trial_deletion(context: ReleaseContext) -> Waiting | None:
    """Delete the test deployment of a trial if one is left when the rollback's switch begins.

    Raises:
        DeploymentFailedError: the deletion did not end in time.
    """
    rehearsed = context.release.get(RollbackRehearsed)
    if rehearsed is None or rehearsed.deployment_id is None:
        return None
    return deletion.advance_test_deletion(context)


def _find_started(context: ReleaseContext, version: Version, model_id: str) -> RehearsalStarted | None:
    """Return the trial of this model that the run has started, or None."""
    started = context.confirm_lock().get(RehearsalStarted)
    if started is None:
        return None
    wanted = (version.number, version.digest, model_id)
    return started if (started.version, started.digest, started.model_id) == wanted else None


def _is_tried(context: ReleaseContext, started: RehearsalStarted) -> bool:
    rehearsed = context.release.get(RollbackRehearsed)
    return rehearsed is not None and rehearsed.started == started.at


def _try(context: ReleaseContext, version: Version, started: RehearsalStarted) -> Waiting | None:
    """Serve the version on a test deployment and record that it answers as it would in production."""
    model = ModelRegistered(started.model_id, version.number, version.digest, version.artifact, version.results)
    deployment = advance_creation(context, model, Role.TEST, shape=_shape(context))
    if isinstance(deployment, Waiting):
        return deployment
    verify_serving(context, deployment, version=version.number, digest=version.digest)
    rehearsed = RollbackRehearsed(
        version=version.number,
        digest=version.digest,
        model_id=started.model_id,
        seconds=round((context.now() - started.at).total_seconds(), 1),
        deployment_id=deployment.deployment_id,
        started=started.at,
    )
    record_rehearsal(context, rehearsed, "fetched, compared and tried on a test deployment, but not loaded")
    return None


def _shape(context: ReleaseContext) -> Shape | None:
    """Return production's size with one instance; None without production."""
    serving = context.state.production
    if serving is None:
        return None
    return replace(context.deployments.get(serving.deployment_id).shape, instance_count=1, autoscaling=None)
