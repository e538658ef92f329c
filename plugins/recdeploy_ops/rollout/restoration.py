"""Restore the champion after a failed switch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    NEEDS_A_PERSON,
    CloudRefusedError,
    DeploymentFailedError,
    IntegrityError,
    PromotionFailedError,
    RecdeployError,
    StorageError,
)
from recdeploy_ops.domain.events import (
    ChampionRestored,
    ProductionFailed,
    ProductionLost,
    RestoreStarted,
    SwitchFailed,
)
from recdeploy_ops.domain.production_checks import RECORD_LOSS, REPLACE_PRODUCTION, describe_failed_production
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import run_slug
from recdeploy_ops.rollout import deletion, rehearsals, tagging
from recdeploy_ops.rollout.switches import advance_switch, deadline_of, describe_answer, model_switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving

log = logging.getLogger(__name__)

NOT_RESTORED = "\nThen the champion was not restored: "


def advance_or_restore(
    context: ReleaseContext, advance: Callable[[], Waiting | Deployment], *, failure: str
) -> Waiting | Deployment:
    """Advance a switch of production; if it fails, restore the champion and then raise.

    Args:
        context: of the run.
        advance: advances the switch by one move.
        failure: what failed, for the error, e.g. ``v4 was not promoted``.

    Raises:
        PromotionFailedError: the switch failed; says what production serves now.
    """
    if context.release.get(SwitchFailed) is None:
        try:
            return advance()
        except (DeploymentFailedError, CloudRefusedError) as err:
            if context.release.open_switch is None:
                raise  # the switch had not begun
            context.record(SwitchFailed(str(err)))
    failed = context.release.require(SwitchFailed)
    waiting = advance_restoration(context)
    if waiting:
        return waiting
    if context.state.production is None:
        raise PromotionFailedError(
            f"v{context.release.version} could not be verified as the first production and was deleted: {failed.reason}"
        )
    lost = find_lost_production(context.release, context.state.production)
    if lost:
        raise PromotionFailedError(f"{lost.message} {failure}. Why: {failed.reason}", lost.remedy)
    raise PromotionFailedError(f"{failure}: {describe_serving(context.state.production)}. Why: {failed.reason}")


def advance_restoration(context: ReleaseContext) -> Waiting | None:
    """Restore the champion if a switch was begun and never verified.

    Without a champion, the release's unverified first production is deleted. If production itself was deleted or has
    failed, that is recorded: it cannot be restored.

    Returns:
        What to wait for, or None when production is at rest.

    Raises:
        DeploymentFailedError: the champion could not be restored: a person must.
    """
    champion, release = context.state.production, context.release
    if champion is None:
        return deletion.advance_unverified_deletion(context)
    if release.open_switch is None:
        return None
    if release.get(SwitchFailed) is None:
        context.record(SwitchFailed("the run ended while production was being switched"))
    if _is_beyond_restoring(context, champion):
        return None
    return _restore(context, champion)


def find_lost_production(release: Release, champion: Serving) -> DeploymentFailedError | None:
    """Return the error of a production that was deleted or has failed; None if it can be restored."""
    failed = release.get(ProductionFailed)
    if failed:
        described = f"{NEEDS_A_PERSON}. {describe_failed_production(champion)} {failed.details}."
        return DeploymentFailedError(described, REPLACE_PRODUCTION)
    if release.get(ProductionLost):
        return DeploymentFailedError(
            f"{NEEDS_A_PERSON}. Production is gone: {champion.deployment_id}, which served v{champion.version} at "
            f"{champion.url}, was deleted.",
            RECORD_LOSS,
        )
    return None


def describe_serving(champion: Serving) -> str:
    """Return what production was verified to serve, in words."""
    return f"v{champion.version} serves at {champion.url}, verified"


def _is_beyond_restoring(context: ReleaseContext, champion: Serving) -> bool:
    """Return whether production was deleted or has failed, and record that."""
    production = context.deployments.get(champion.deployment_id)
    if production.lifecycle_state.is_gone:
        context.record(ProductionLost(champion.deployment_id))
    elif production.lifecycle_state.is_failed:
        details = f"{production.details} ({describe_answer(context, production.url)})"
        context.record(ProductionFailed(champion.deployment_id, details.strip()))
    else:
        return False
    log.error("%s", find_lost_production(context.release, champion))
    return True


def _restore(context: ReleaseContext, champion: Serving) -> Waiting | None:
    version = context.state.versions[champion.version]
    waiting = _invalidate_etag(context, champion)
    if waiting:
        return waiting
    try:
        model_id = rehearsals.find_or_restore(context, version).model_id
        switch = model_switch(context, champion.deployment_id, version, model_id, force=True)
        restored = advance_switch(context, RestoreStarted, switch)
    except (DeploymentFailedError, CloudRefusedError, StorageError, IntegrityError) as err:
        if _is_beyond_restoring(context, champion):
            return None
        _void_restoration(context, err)
        model_id = context.state.versions[champion.version].model_id  # another one if it was registered again
        raise DeploymentFailedError(
            f"The switch to v{_goal_of(context)} failed, and v{champion.version} could not be restored or "
            f"verified at {champion.url}: {err.message}",
            err.remedy or TryAgain(f"Set the deployment's model to {model_id} in the OCI console"),
        ) from err
    if isinstance(restored, Waiting):
        return restored
    context.record(ChampionRestored(champion.version, model_id, champion.deployment_id))
    log.info("v%s serves again at %s, verified.", champion.version, champion.url)
    return None


def _goal_of(context: ReleaseContext) -> int:
    """Return the version that production was to serve: a release whose bake failed goes back from its own."""
    switch = context.release.open_switch
    return switch.version if switch else context.release.version


def _void_restoration(context: ReleaseContext, err: RecdeployError) -> None:
    """Let the next try request the restoration again: a work request that has failed stays failed."""
    failed = context.release.require(SwitchFailed)
    if context.release.get(RestoreStarted):
        first = failed.reason.partition(NOT_RESTORED)[0]
        context.record(SwitchFailed(f"{first}{NOT_RESTORED}{err.message}"))


def _invalidate_etag(context: ReleaseContext, champion: Serving) -> Waiting | None:
    """Shut out a run that has prepared the switch and may still be alive.

    If OCI has accepted a change since the intent was recorded, the etag is already new.
    """
    switch = context.release.open_switch
    if switch is None or tagging.newest_change(context, champion) != switch.seen_work_request:
        return None
    # The switch may have used up its time: the tag gets the same time again.
    since = deadline_of(switch)
    holder = f"{run_slug(context.run_id)} restored {since.isoformat()}"
    return tagging.advance_etag_invalidation(context, holder, switch.seen_work_request, since=since)
