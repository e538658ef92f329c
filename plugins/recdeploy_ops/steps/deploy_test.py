"""Step 10: create the test deployment, with a lease."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.events import ModelRegistered, TestDeployed
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import LEASE_TAG
from recdeploy_ops.rollout.creation import advance_creation

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)

TEST_FAILED = "Test deployment failed"


def advance(context: ReleaseContext) -> Outcome:
    """Create the test deployment and wait until it is ACTIVE; do nothing when the run skips it.

    Raises:
        DeploymentFailedError: OCI could not create it; it is deleted.
    """
    release = context.confirm_lock()
    registered = release.require(ModelRegistered)
    if release.retrain_params.skip_test_deployment:
        log.warning("skip_test_deployment is set: v%s gets no test deployment.", release.version)
        context.record(TestDeployed(deployment_id=None, url=None, lease=None))
        return {"skipped": True}
    try:
        deployment = advance_creation(context, registered, Role.TEST)
    except DeploymentFailedError as err:
        raise DeploymentFailedError(f"{TEST_FAILED}: {err.message}", err.remedy) from err
    if isinstance(deployment, Waiting):
        return deployment
    deployed = TestDeployed(deployment.deployment_id, deployment.url, deployment.tags[LEASE_TAG])
    context.record(deployed)
    context.publish_state()
    return asdict(deployed)
