"""Wait while OCI has no capacity for a deployment: its creation is tried again for hours, and the model is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.remedies import RunTask
from recdeploy_ops.domain.sizes import describe_shape
from recdeploy_ops.domain.waiting import Waiting

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.oci_clients.deployments import NewDeployment

PAUSE = timedelta(minutes=5)  # between two tries


def wait_for_capacity(context: ReleaseContext, new: NewDeployment, task: str, said: str) -> Waiting:
    """Return the wait until the next try to create a deployment for which OCI has no capacity.

    The time counts from the release's newest event in the ledger, so that it does not begin again in a new process.

    Args:
        context: of the run.
        new: the deployment.
        task: the Airflow task that creates it.
        said: OCI's words.

    Raises:
        DeploymentFailedError: OCI has had no capacity for too long.
    """
    began = max(entry.at for entry in context.history() if entry.run_id == context.run_id)
    last = began + timedelta(hours=context.settings.release.capacity_timeout_hours)
    lacking = f"OCI has no capacity for {new.name}, {describe_shape(new.shape)}"
    if context.now() >= last:
        raise DeploymentFailedError(
            f"{lacking}, tried since {began:%Y-%m-%d %H:%M} UTC (release.capacity_timeout_hours). {said}",
            RunTask(
                "Wait for capacity, or choose another shape or size (settings serving)",
                task=task,
                purpose="to continue, without another training",
            ),
        )
    again = min(context.now() + PAUSE, last)
    reason = f"{lacking}; trying again at {again:%H:%M}, and until {last:%Y-%m-%d %H:%M} UTC. {said}"
    return Waiting(None, reason, again)
