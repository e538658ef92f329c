"""Resize production after a promotion: only what the release requests beyond the size that was last applied."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    NEEDS_A_PERSON,
    CloudRefusedError,
    DeploymentFailedError,
    RecdeployError,
    SwitchInterruptedError,
    TransientError,
)
from recdeploy_ops.domain.events import ApprovalRequested, Resized, ResizeStarted
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.sizes import RESIZE_PART, describe_change, describe_shape
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.production_reports import describe_production
from recdeploy_ops.rollout.switches import Switch, advance_switch, verify_serving

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import Promoted
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.sizes import SizeRequest

log = logging.getLogger(__name__)


def find_resize(context: ReleaseContext) -> str | None:
    """Return how the promotion of this release resizes production, in words; None if it keeps the size."""
    requested, serving = _requested_size(context), context.state.production
    if requested.is_empty or serving is None:
        return None
    return _describe_resize(context.deployments.get(serving.deployment_id), requested)


def advance_resize(context: ReleaseContext, promoted: Promoted) -> Waiting | None:
    """Advance the resize of production by one move, in an update of its own; return what it waits for.

    Raises:
        DeploymentFailedError: production does not have the requested size; the promotion stands.
    """
    requested, applied = _requested_size(context), context.state.applied_size
    if requested.is_empty or context.release.get(Resized):
        return None
    deployment = context.deployments.get(promoted.deployment_id)
    resize, has_started = _describe_resize(deployment, requested), context.release.get(ResizeStarted) is not None
    if resize and not has_started:
        _require_approved(context, resize)
    if resize or has_started:
        resized = _advance(context, promoted, deployment, requested)
        if isinstance(resized, Waiting):
            return resized
    elif requested.after(applied) == applied:
        return None  # production already has the size, and the ledger records it
    context.record(Resized(**vars(requested)))
    return None


def describe_failed_resize(context: ReleaseContext, promoted: Promoted, err: RecdeployError) -> RecdeployError:
    """Return the error of a failed resize, with the state of production."""
    is_retried = isinstance(err, TransientError)
    if _still_serves(context, promoted):
        message = f"v{promoted.version} is in production, verified, but not in the configured size: {err.message}"
    elif is_retried and not context.tries.is_last:
        message = _describe_unverified(context, promoted, err)
    else:
        message = f"{NEEDS_A_PERSON}. {_describe_unverified(context, promoted, err)}"
    message = f"{message} {context.tries.describe_next(is_retried=is_retried)}".strip()
    return SwitchInterruptedError(message, err.remedy) if is_retried else DeploymentFailedError(message, err.remedy)


def _describe_unverified(context: ReleaseContext, promoted: Promoted, err: RecdeployError) -> str:
    state = describe_production(context, promoted.deployment_id, promoted.url)
    return (
        f"v{promoted.version} was promoted, but is not verified since the resize of production began: {state}. "
        f"Why: {err.message}"
    )


def _still_serves(context: ReleaseContext, promoted: Promoted) -> bool:
    if context.release.get(ResizeStarted) is None:
        return True  # no change was requested since the promotion was verified
    try:
        deployment = context.deployments.get(promoted.deployment_id)
        verify_serving(context, deployment, version=promoted.version, digest=promoted.digest)
    except RecdeployError as err:
        log.warning("v%s is not verified since the resize of production began: %s", promoted.version, err)
        return False
    return deployment.lifecycle_state.is_active


def _requested_size(context: ReleaseContext) -> SizeRequest:
    usual = context.settings.serving.size
    return context.release.retrain_params.size.beyond(context.state.applied_size, usual)


def _describe_resize(deployment: Deployment, requested: SizeRequest) -> str | None:
    target = requested.apply_to(deployment.shape)
    return None if target == deployment.shape else describe_change(deployment.shape, target)


def _require_approved(context: ReleaseContext, resize: str) -> None:
    """Refuse a resize that differs from what the approver was shown."""
    approved = context.release.require(ApprovalRequested).parts.get(RESIZE_PART)
    if approved != resize:
        raise DeploymentFailedError(
            f"Production would be resized {resize}, but the approval was for {approved or 'no resize'}: its size has "
            "changed since.",
            Remedy("Trigger a new run, which asks again"),
        )


def _advance(
    context: ReleaseContext, promoted: Promoted, deployment: Deployment, requested: SizeRequest
) -> Waiting | Deployment:
    target = requested.apply_to(deployment.shape)
    switch = Switch(
        deployment_id=promoted.deployment_id,
        goal=f"sized {describe_shape(target)}",
        version=promoted.version,
        digest=promoted.digest,
        is_reached=lambda current: requested.apply_to(current.shape) == current.shape,
        request_update=lambda current: context.deployments.resize(current, requested.apply_to(current.shape)),
    )
    try:
        return advance_switch(context, ResizeStarted, switch)
    except CloudRefusedError as err:
        raise DeploymentFailedError(err.message, err.remedy) from err
