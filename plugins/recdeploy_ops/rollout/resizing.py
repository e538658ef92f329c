"""Resizing production after a promotion: what a release asks for beyond what was last applied, and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, DeploymentFailedError
from recdeploy_ops.domain.events import ApprovalRequested, Resized, ResizeStarted
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.sizes import describe_change, describe_shape
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.switches import Switch, advance_switch

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import Promoted
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.sizes import SizeRequest

log = logging.getLogger(__name__)

RESIZE_PART = "size of production"  # of what an approval covers


def find_resize(context: ReleaseContext) -> str | None:
    """Return how the promotion of this release resizes production, in words; None where it leaves the size alone."""
    asked, serving = _asked(context), context.state.production
    if asked.is_empty or serving is None:
        return None
    return _describe_resize(context.deployments.get(serving.deployment_id), asked)


def advance_resize(context: ReleaseContext, promoted: Promoted) -> Waiting | None:
    """Advance the resize of production by one move, in an update of its own; return what it waits for.

    Raises:
        DeploymentFailedError: production does not have the size that was asked for; the promotion stands.
    """
    asked, applied = _asked(context), context.state.applied_size
    if asked.is_empty or context.release.get(Resized):
        return None
    deployment = context.deployments.get(promoted.deployment_id)
    resize, has_started = _describe_resize(deployment, asked), context.release.get(ResizeStarted) is not None
    if resize and not has_started:
        _require_approved(context, resize)
    if resize or has_started:
        resized = _advance(context, promoted, deployment, asked)
        if isinstance(resized, Waiting):
            return resized
    elif asked.after(applied) == applied:
        return None  # production has it already, and the ledger says so
    context.record(Resized(**vars(asked)))
    return None


def _asked(context: ReleaseContext) -> SizeRequest:
    usual = context.settings.serving.size
    return context.release.retrain_params.size.beyond(context.state.applied_size, usual)


def _describe_resize(deployment: Deployment, asked: SizeRequest) -> str | None:
    target = asked.apply_to(deployment.shape)
    return None if target == deployment.shape else describe_change(deployment.shape, target)


def _require_approved(context: ReleaseContext, resize: str) -> None:
    """Refuse to resize production in another way than the approver was told."""
    told = context.release.require(ApprovalRequested).parts.get(RESIZE_PART)
    if told != resize:
        raise DeploymentFailedError(
            f"Production would be resized {resize}. What was approved is {told or 'not to resize it'}: its size was "
            "changed since.",
            Remedy("Trigger a new run, which asks again"),
        )


def _advance(
    context: ReleaseContext, promoted: Promoted, deployment: Deployment, asked: SizeRequest
) -> Waiting | Deployment:
    target = asked.apply_to(deployment.shape)
    switch = Switch(
        deployment_id=promoted.deployment_id,
        goal=f"sized {describe_shape(target)}",
        version=promoted.version,
        digest=promoted.digest,
        is_reached=lambda found: asked.apply_to(found.shape) == found.shape,
        request_update=lambda found: context.deployments.resize(found, asked.apply_to(found.shape)),
    )
    try:
        return advance_switch(context, ResizeStarted, switch)
    except CloudRefusedError as err:
        raise DeploymentFailedError(err.message, err.remedy) from err
