"""Describe how the ledger differs from OCI: one line for each difference."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.versions import describe_trust
from recdeploy_ops.oci_clients.tags import has_role
from recdeploy_ops.rollout.production import production_name

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving
    from recdeploy_ops.rollout.inventory import Inventory


def compare(state: LedgerState, inventory: Inventory) -> list[str]:
    """Return the differences between the ledger and OCI, one line each."""
    lines = []
    for name, ours, theirs in (
        ("production", state.production, inventory.production),
        ("previous champion", state.previous_champion, inventory.previous_champion),
    ):
        if _without_time(ours) != _without_time(theirs):
            lines.append(f"{name}: the ledger has {_describe(ours)}, OCI has {_describe(theirs)}")
    for number in sorted({*state.versions, *inventory.versions}):
        ours_version, theirs_version = state.versions.get(number), inventory.versions.get(number)
        if ours_version is None and theirs_version is not None:
            lines.append(f"v{number}: the ledger does not know it. {describe_trust(theirs_version)}")
        elif ours_version != theirs_version:
            lines.append(f"v{number}: the ledger has {ours_version}, OCI has {theirs_version}")
    return lines


def compare_tags(context: ReleaseContext, production: Deployment | None, duplicates: list[Deployment]) -> list[str]:
    """Return which deployments have a wrong production tag or are named as a test deployment, one line each."""
    lines = [f"{d.name} ({d.deployment_id}) is tagged as production too: it loses that tag" for d in duplicates]
    if production is not None and not has_role(production.tags, context.project, Role.PRODUCTION):
        lines.append(f"{production.name} ({production.deployment_id}) is not tagged as production: it is tagged")
    if production is not None and (name := production_name(context, production)) != production.name:
        lines.append(f"{production.name} ({production.deployment_id}) is named as a test deployment: it becomes {name}")
    return lines


def _without_time(serving: Serving | None) -> dict[str, Any] | None:
    return {**asdict(serving), "since": None} if serving else None


def _describe(serving: Serving | None) -> str:
    return f"v{serving.version} (model {serving.model_id}) at {serving.url}" if serving else "nothing"
