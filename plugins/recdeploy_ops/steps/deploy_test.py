"""Step 9: the TEST deployment, with a lease."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import LEASE_TAG
from recdeploy_ops.rollout.creation import advance_creation

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

TEST_FAILED = "Test deployment failed"


def advance(releases: Releases, run_id: str) -> Outcome:
    """Create the TEST deployment and wait until it is ACTIVE; nothing when the run skips it.

    Raises:
        DeploymentFailedError: OCI could not bring it up; it is deleted.
    """
    release = releases.release(run_id)
    registered = releases.facts(release, Kind.MODEL_REGISTERED)
    if release.params["skip_test_deployment"]:
        log.warning("skip_test_deployment is set: v%s is not tried on a TEST endpoint.", release.version)
        releases.record(Kind.TEST_DEPLOYED, run_id, {"deployment_id": None, "url": None, "skipped": True})
        return {"skipped": True}
    try:
        deployment = advance_creation(
            releases, release, role=Role.TEST, digest=registered["digest"], model_id=registered["model_id"]
        )
    except DeploymentFailedError as err:
        raise DeploymentFailedError(f"{TEST_FAILED}: {err}") from err
    if isinstance(deployment, Waiting):
        return deployment
    facts = {
        "deployment_id": deployment.deployment_id,
        "url": deployment.url,
        "lease": deployment.tags[LEASE_TAG],
        "skipped": False,
    }
    releases.record(Kind.TEST_DEPLOYED, run_id, facts)
    releases.publish_state()
    return facts
