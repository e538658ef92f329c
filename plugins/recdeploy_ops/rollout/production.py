"""This project's model deployments, as OCI has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.records import Role
from recdeploy_ops.oci_clients.tags import RUN_TAG, has_role, run_slug

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment


def find_deployments(context: ReleaseContext, role: Role) -> list[Deployment]:
    """Return the project's deployments of a role, newest first, deleted ones included."""
    return [found for found in context.deployments.all() if has_role(found.tags, context.project, role)]


def find_own_deployments(context: ReleaseContext, role: Role) -> list[Deployment]:
    """Return the run's deployments of a role, newest first, deleted ones included."""
    slug = run_slug(context.run_id)
    return [found for found in find_deployments(context, role) if found.tags.get(RUN_TAG) == slug]


def find_production(context: ReleaseContext) -> Deployment | None:
    """Return the production deployment: the ledger's, else the one that carries the role's tag."""
    known = context.state.production
    if known:
        return context.deployments.get(known.deployment_id)
    present = [d for d in find_deployments(context, Role.PRODUCTION) if not d.lifecycle_state.is_gone]
    return present[0] if present else None
