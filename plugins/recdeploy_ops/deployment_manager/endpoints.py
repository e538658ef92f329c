"""A deployed model for a notebook's cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import DeploymentFailedError
from recdeploy_ops.domain.events import Promoted, TestDeployed
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.sizes import DEFAULT_SHAPE
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.production import find_own_deployments
from recdeploy_ops.rollout.switches import patient_asker

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome


@dataclass(frozen=True)
class ModelDeployment:
    """A model deployment that answers requests for recommendations.

    Attributes:
        model_deployment_id: OCID.
        url: of the deployment, without ``/predict``.
        version: the version that it was created to serve.
        is_test: whether it is the test deployment.
    """

    model_deployment_id: str
    url: str
    version: int
    is_test: bool
    _context: ReleaseContext = field(repr=False, compare=False)

    @property
    def lifecycle_state(self) -> str:
        """Return its current state, in OCI's words."""
        return self._context.deployments.get(self.model_deployment_id).lifecycle_state

    def predict(self, data: Any = None, *, json_input: Any = None) -> dict[str, Any]:
        """Request recommendations.

        Args:
            data: the request, e.g. ``{"user_id": "42", "top_k": 5}``.
            json_input: ADS's other name for ``data``.

        Raises:
            DeploymentFailedError: the status of the answer is not 200, or its body is not a JSON object.
            CloudUnavailableError: it gave no answer after all repeats.
            CloudRefusedError: OCI refused the request.
        """
        deployment = self._context.deployments.get(self.model_deployment_id)
        reply = patient_asker(self._context, deployment.url)(json_input if data is None else data)
        if reply.status != 200 or not isinstance(reply.body, dict):
            raise DeploymentFailedError(f"{self.url}/predict answered {reply.status}: {reply.body!r:.500}")
        return reply.body


def find_endpoint(context: ReleaseContext, kind: type[TestDeployed] | type[Promoted], run_id: str) -> ModelDeployment:
    """Return the deployment that a release has made or updated."""
    release = context.refresh().releases[run_id]
    event = release.require(kind)
    is_test = isinstance(event, TestDeployed)
    return ModelDeployment(event.deployment_id or "", event.url or "", release.version, is_test, context)


def delete_other_sizes(context: ReleaseContext) -> Outcome:
    """Delete a test deployment that was created with other parameters of Cell 10; a step only for notebooks."""
    params = context.confirm_lock().retrain_params
    size = params.size.apply_to(DEFAULT_SHAPE)
    present = [d for d in find_own_deployments(context, Role.TEST) if not d.lifecycle_state.is_deleted]
    unwanted = present if params.skip_test_deployment else [d for d in present if d.shape != size]
    return deletion.advance_deletion(context, unwanted) or {}
