"""Find this project's model deployments in OCI; only this module recognises production and its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.remedies import ChangeSetting, Remedy
from recdeploy_ops.ledger.audits import HEAD
from recdeploy_ops.oci_clients.tags import LEDGER_TAG, PROJECT_TAG, ROLE_TAG, RUN_TAG, has_role, run_slug
from recdeploy_ops.rollout.registry import list_models

if TYPE_CHECKING:
    from collections.abc import Container

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.records import Deployment


TEST_NAME = "(test)"  # in the name of a test deployment of the guide's manager


@dataclass(frozen=True)
class ProductionCandidates:
    """The deployments that could be production, newest first.

    Attributes:
        present: every deployment in the compartment and project that OCI has not deleted, made by anyone.
        tagged: those that are tagged as production.
        untagged: those that have lost the role's tag or the project's, and are not test deployments: they serve a
            model of the project, or are tagged with the project and a ledger's head.
    """

    present: tuple[Deployment, ...]
    tagged: tuple[Deployment, ...]
    untagged: tuple[Deployment, ...]


def deployment_name(project: str, role: Role, version: int | None = None) -> str:
    """Return the display name of a deployment; production's never changes, and so has no version."""
    return f"{project}-production" if role is Role.PRODUCTION else f"{project}-test-v{version}"


def production_name(context: ReleaseContext, production: Deployment) -> str:
    """Return the display name that production should have: its own, unless that says that it is a test deployment.

    The guide's manager names its test deployments ``Product Recommender API v1 (TEST)``, and so an imported production.
    """
    if TEST_NAME in production.name.casefold():
        return deployment_name(context.project, Role.PRODUCTION)
    return production.name


def find_deployments(context: ReleaseContext, role: Role) -> list[Deployment]:
    """Return the project's deployments of a role, newest first, deleted ones included."""
    return [listed for listed in context.deployments.all() if has_role(listed.tags, context.project, role)]


def run_tag(state: LedgerState, run_id: str) -> str:
    """Return the tag of a run's deployments: its slug and the origin of its ledger.

    Two ledgers of one project may have runs with the same id: Airflow names scheduled runs after their dates.
    """
    return f"{known_slug(state, run_id)}-{state.origin[:8]}"


def known_slug(state: LedgerState, run_id: str) -> str:
    """Return the slug of a run; a version that `recommender_adopt` imported has the slug in place of the run's id."""
    return run_slug(run_id) if run_id in state.releases else run_id


def find_own_deployments(context: ReleaseContext, role: Role) -> list[Deployment]:
    """Return the run's deployments of a role, newest first, deleted ones included."""
    own = run_tag(context.state, context.run_id)
    return [deployment for deployment in find_deployments(context, role) if deployment.tags.get(RUN_TAG) == own]


def find_candidates(context: ReleaseContext, models: Container[str] | None = None) -> ProductionCandidates:
    """Return the deployments that could be production, by their tags and models alone.

    Args:
        context: of the run; its ledger is not read.
        models: OCIDs of the project's models; by default they are listed.
    """
    ours = {model.model_id for model in list_models(context)} if models is None else models
    present = tuple(listed for listed in context.deployments.all() if not listed.lifecycle_state.is_gone)
    return ProductionCandidates(
        present,
        tagged=tuple(listed for listed in present if has_role(listed.tags, context.project, Role.PRODUCTION)),
        untagged=tuple(listed for listed in present if _has_lost_tags(context, listed, ours)),
    )


def find_production(context: ReleaseContext) -> Deployment | None:
    """Return the production deployment: the ledger's, else the one that its tags or its model identify.

    Raises:
        StateMismatchError: it belongs to another project, or to a ledger that is not in this storage.
    """
    known = context.state.production
    if known:
        production: Deployment | None = context.deployments.get(known.deployment_id)
    else:
        candidates = find_candidates(context)
        production = next(iter(candidates.tagged or candidates.untagged), None)
    if production is not None and not production.lifecycle_state.is_gone:
        require_owned(context, production)
        _require_known_ledger(context, production)
    return production


def require_owned(context: ReleaseContext, production: Deployment) -> None:
    """Refuse the production of another project: two projects would overwrite each other's production.

    Raises:
        StateMismatchError: its tag names another project.
    """
    owner = production.tags.get(PROJECT_TAG, context.project)
    if owner != context.project:
        raise StateMismatchError(
            f"{production.name} ({production.deployment_id}) belongs to the project {owner!r} according to its tag "
            f"{PROJECT_TAG}, not to {context.project!r}: two projects would overwrite each other's production.",
            Remedy(
                f"Give each project its own production. If {owner!r} does not use this one, set its tag "
                f"{PROJECT_TAG} to {context.project} in the OCI console"
            ),
        )


def names_unknown_ledger(context: ReleaseContext, production: Deployment) -> str | None:
    """Return, in words, that a deployment's tag names an entry that this ledger does not have; None if it does not."""
    head = production.tags.get(LEDGER_TAG, "")
    if not HEAD.fullmatch(head) or context.ledger.has_entry(head):
        return None
    return (
        f"the tag {LEDGER_TAG} of {production.name} ({production.deployment_id}) names entry {head.partition(':')[0]} "
        f"of its ledger, and the ledger at {context.store.uri} has no such entry"
    )


def _require_known_ledger(context: ReleaseContext, production: Deployment) -> None:
    """Refuse production that another ledger last recorded: two ledgers would overwrite each other's releases.

    Raises:
        StateMismatchError: its tag names an entry that this ledger does not have.
    """
    mismatch = names_unknown_ledger(context, production)
    if mismatch:
        raise StateMismatchError(
            f"This storage does not belong to production: {mismatch}.",
            ChangeSetting(
                "Name the storage that holds that ledger; only if it is lost, let recommender_adopt rebuild it",
                setting="storage",
            ),
        )


def _has_lost_tags(context: ReleaseContext, deployment: Deployment, models: Container[str]) -> bool:
    """Return whether a deployment could be production but has lost one of the tags that identify it."""
    tags = deployment.tags
    if PROJECT_TAG not in tags and deployment.deployment_id in context.settings.release.ignored_deployments:
        return False
    is_foreign = tags.get(PROJECT_TAG, context.project) != context.project
    if is_foreign or tags.get(ROLE_TAG) == Role.TEST or has_role(tags, context.project, Role.PRODUCTION):
        return False
    return deployment.model_id in models or {PROJECT_TAG, LEDGER_TAG} <= tags.keys()
