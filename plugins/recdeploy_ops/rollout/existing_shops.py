"""Find a shop that already serves and that the ledger does not know, before a first release is made beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.remedies import ImportProduction
from recdeploy_ops.ledger.foreign_state_file import find_foreign_state_file
from recdeploy_ops.oci_clients.tags import PROJECT_TAG
from recdeploy_ops.rollout.production import TEST_NAME, find_candidates

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.ledger.foreign_state_file import ForeignStateFile

IGNORE = "List those that do not serve this shop in the setting release.ignored_deployments"
MOVE_AWAY = "Move that file away if it is of no use"


@dataclass(frozen=True)
class ExistingShop:
    """What may already serve the shop.

    Attributes:
        unowned: deployments of one model that do not belong to a project, newest first.
        state_file: the one that another deployment manager has written, or None.
    """

    unowned: tuple[Deployment, ...]
    state_file: ForeignStateFile | None

    def describe(self) -> list[str]:
        """Return what was found, one line each, with OCIDs; empty when there is nothing."""
        lines = [f"{_name(d)} is {d.lifecycle_state} and does not belong to a project." for d in self.unowned]
        if self.state_file:
            named = ", ".join(self.state_file.deployment_ids) or "no deployment"
            lines.append(f"{self.state_file.uri} was not written by this project; it names {named}.")
        return lines

    @property
    def remedy(self) -> ImportProduction:
        """Return how a person imports what serves, or declares that it does not serve this shop."""
        named = self.state_file.deployment_ids if self.state_file else ()
        candidates = [deployment.deployment_id for deployment in self.unowned] or list(named)
        if len(candidates) > 1 and self.state_file:  # production, beside its manager's test deployments
            candidates = [candidate for candidate in candidates if candidate in self.state_file.production_ids]
        actions = [IGNORE] * bool(self.unowned) + [MOVE_AWAY] * bool(self.state_file)
        return ImportProduction(". ".join(actions), deployment_id=candidates[0] if len(candidates) == 1 else "")


def find_existing_shop(context: ReleaseContext) -> ExistingShop | None:
    """Return what may already serve the shop, or None.

    A deployment counts if it is ACTIVE, busy, or deactivated to save costs, unless the settings ignore it.
    """
    ignored = context.settings.release.ignored_deployments
    unowned = tuple(
        deployment
        for deployment in find_candidates(context, models=()).present
        if deployment.model_id
        and PROJECT_TAG not in deployment.tags
        and not deployment.lifecycle_state.is_failed
        and deployment.deployment_id not in ignored
    )
    state_file = find_foreign_state_file(context.store, context.project)
    return ExistingShop(unowned, state_file) if unowned or state_file else None


def describe_leftovers(context: ReleaseContext, production: Deployment) -> list[str]:
    """Return what the shop's own manager calls a test deployment and has left, one line each, newest first.

    It runs, costs, and no release of this project deletes it, as it has no owner.

    Args:
        context: of the run.
        production: the imported production.
    """
    shop = find_existing_shop(context)
    named = shop.state_file.test_deployment_ids if shop and shop.state_file else ()
    return [
        f"{_name(deployment)} still runs, and its own manager calls it a test deployment: delete it once nobody needs "
        "it."
        for deployment in (shop.unowned if shop else ())
        if deployment.deployment_id != production.deployment_id
        and (deployment.deployment_id in named or TEST_NAME in deployment.name.casefold())
    ]


def require_no_existing_shop(context: ReleaseContext) -> None:
    """Refuse a first release beside a shop that may already serve: it would get a second production at another URL.

    Once the ledger has a production, or while this run's release is open, other deployments are not this project's.

    Raises:
        StateMismatchError: lists what may serve, and how to import it.
    """
    release = context.state.releases.get(context.run_id)
    if context.state.production is not None or (release is not None and release.is_open):
        return
    shop = find_existing_shop(context)
    if shop is not None:
        listed = "\n".join(f"- {line}" for line in shop.describe())
        raise StateMismatchError(
            f"The ledger has no production, but this shop may be served already:\n{listed}\nA first release would make "
            "a second production at another URL.",
            shop.remedy,
        )


def _name(deployment: Deployment) -> str:
    return f"{deployment.name} ({deployment.deployment_id})"
