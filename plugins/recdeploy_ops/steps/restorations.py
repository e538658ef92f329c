"""Putting the champion back after a promotion that did not verify."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.steps import removals
from recdeploy_ops.steps.switches import Switch, advance_switch

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release, Serving
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

SETTLED = (Kind.PROMOTED, Kind.ROLLED_BACK, Kind.CHAMPION_RESTORED)


def advance_settlement(releases: Releases, release: Release) -> Waiting | None:
    """Bring production back to the champion when a promotion was begun and never verified.

    Without a champion, what the release made to be the first production is deleted.

    Returns:
        What to wait for, or None when production is settled.

    Raises:
        PromotionFailedError: the champion could not be brought back: a person must.
    """
    if any(release.get(kind) for kind in SETTLED):
        return None
    champion = releases.ledger.book().production
    if champion is None:
        return removals.advance_unproved_removal(releases, release.run_id)
    if release.get(Kind.PROMOTION_STARTED) is None:
        return None
    if release.get(Kind.PROMOTION_FAILED) is None:
        reason = "the run ended while production was being switched"
        release = releases.record(Kind.PROMOTION_FAILED, release.run_id, {"reason": reason})
    return _restore(releases, release, champion)


def _restore(releases: Releases, release: Release, champion: Serving) -> Waiting | None:
    switch = model_switch(releases, champion.deployment_id, champion.version, champion.digest, champion.model_id)
    try:
        restored = advance_switch(releases, release.run_id, Kind.RESTORE_STARTED, switch)
    except DeploymentFailedError as err:
        raise PromotionFailedError(
            f"PRODUCTION NEEDS A PERSON. The switch to v{release.version} failed, and v{champion.version} could "
            f"not be brought back at {champion.url}: {err}\nSet the deployment's model to {champion.model_id} in the "
            "OCI console, then clear this task."
        ) from err
    if isinstance(restored, Waiting):
        return restored
    facts = {
        "version": champion.version,
        "model_id": champion.model_id,
        "deployment_id": champion.deployment_id,
    }
    releases.record(Kind.CHAMPION_RESTORED, release.run_id, facts)
    log.info("v%s serves again at %s, verified.", champion.version, champion.url)
    return None


def model_switch(releases: Releases, deployment_id: str, version: int, digest: str, model_id: str) -> Switch:
    """Return the switch of a deployment to a version's model: only the model id changes."""
    return Switch(
        deployment_id=deployment_id,
        goal=f"serving v{version}",
        version=version,
        digest=digest,
        reached=lambda deployment: deployment.model_id == model_id,
        ask=lambda deployment: releases.deployments.switch_model(deployment, model_id),
    )
