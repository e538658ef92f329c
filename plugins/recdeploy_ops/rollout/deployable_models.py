"""Whether OCI would deploy a catalog model: it must be ACTIVE, and have an artifact that is not archived.

OCI refuses an update to any other model with an error that looks transient and is not.
https://docs.oracle.com/en-us/iaas/data-science/using/deactivate-models.htm
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, DeploymentFailedError
from recdeploy_ops.domain.remedies import TryAgain

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel

log = logging.getLogger(__name__)


def make_usable(context: ReleaseContext, model_id: str) -> CatalogModel | None:
    """Return a model that OCI would deploy once it has an artifact; activate it if it was deactivated.

    Returns:
        None if only registering it again helps: it was deleted or has failed, OCI does not let us activate it, or its
        artifact is archived, which takes OCI hours to restore.
    """
    if not model_id:  # a version that only a backup of another manager has
        return None
    try:
        model = context.catalog.get(model_id)
        if model.is_inactive and model.can_be_used:
            log.warning("%s (%s) was deactivated: activating it again", model.name, model_id)
            context.catalog.activate(model_id)
            model = context.catalog.get(model_id)
    except CloudRefusedError as err:
        if err.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
            raise
        log.warning("The model %s cannot be used: %s", model_id, err)
        return None
    if model.is_usable:
        return model
    log.warning("%s (%s) cannot be deployed: %s.", model.name, model_id, _describe(model))
    return None


def make_deployable(context: ReleaseContext, model_id: str) -> CatalogModel | None:
    """Return a model that OCI would deploy now, activated if necessary; None if it cannot be deployed."""
    model = make_usable(context, model_id)
    return model if model is not None and context.catalog.has_artifact(model_id) else None


def require_usable(context: ReleaseContext, model_id: str, version: int) -> None:
    """Verify that OCI would deploy a model; activate it if necessary.

    Raises:
        DeploymentFailedError: OCI would not deploy it; says what to do.
    """
    if make_usable(context, model_id) is None:
        raise DeploymentFailedError(
            f"OCI does not deploy v{version}: its model {model_id} was deleted, is not ACTIVE, or its artifact is "
            "archived.",
            TryAgain("Activate it or restore its artifact in the Model Catalog"),
        )


def is_deployable(context: ReleaseContext, model_id: str) -> bool:
    """Return whether OCI would deploy a model, now or after activation; nothing is changed."""
    if not model_id:
        return False
    try:
        model = context.catalog.get(model_id)
    except CloudRefusedError as err:
        if err.status == HTTPStatus.NOT_FOUND:
            return False
        raise
    return model.can_be_used and context.catalog.has_artifact(model_id)


def _describe(model: CatalogModel) -> str:
    return "its artifact is archived" if model.is_archived else f"it is {model.lifecycle_state}"
