"""A deployed model as a notebook's cells use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import DeploymentFailedError
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
    """A model deployment that can be asked for recommendations.

    Attributes:
        model_deployment_id: OCID.
        url: where it answers, without ``/predict``.
        version: the version that it was made to serve.
        is_test: whether it is the TEST deployment.
    """

    model_deployment_id: str
    url: str
    version: int
    is_test: bool
    _context: ReleaseContext = field(repr=False, compare=False)

    @property
    def lifecycle_state(self) -> str:
        """Return OCI's word for its state, as it is now."""
        return self._context.deployments.get(self.model_deployment_id).lifecycle_state

    def predict(self, data: Any = None, *, json_input: Any = None) -> dict[str, Any]:
        """Ask for recommendations; ``json_input`` is another name for ``data``, which ADS uses as well.

        Args:
            data: the request, e.g. ``{"user_id": "42", "top_k": 5}``.
            json_input: the same.

        Raises:
            DeploymentFailedError: it answered with another status than 200, or with no object.
            CloudUnavailableError: it gave no answer, also when it was asked again.
            CloudRefusedError: OCI does not allow to ask it.
        """
        deployment = self._context.deployments.get(self.model_deployment_id)
        reply = patient_asker(self._context, deployment.url)(json_input if data is None else data)
        if reply.status != 200 or not isinstance(reply.body, dict):
            raise DeploymentFailedError(f"{self.url}/predict answered {reply.status}: {reply.body!r:.500}")
        return reply.body


def delete_other_sizes(context: ReleaseContext) -> Outcome:
    """Delete a test deployment that was made with other parameters of Cell 10: a step of the notebook's own."""
    params = context.confirm_lock().retrain_params
    size = params.size.apply_to(DEFAULT_SHAPE)
    made = [found for found in find_own_deployments(context, Role.TEST) if not found.lifecycle_state.is_deleted]
    unwanted = made if params.skip_test_deployment else [found for found in made if found.shape != size]
    return deletion.advance_deletion(context, unwanted) or {}
