"""Putting the champion back after a promotion that did not verify."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    DeploymentFailedError,
    IntegrityError,
    PromotionFailedError,
    StorageError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_plan import GONE
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import run_slug
from recdeploy_ops.rollout import deletion, rehearsals, tagging
from recdeploy_ops.rollout.switches import Switch, advance_switch

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release, Serving
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance_settlement(releases: Releases, release: Release) -> Waiting | None:
    """Bring production back to the champion when a switch was begun and never verified.

    Without a champion, what the release made is deleted: it may be on its way to be the first production. Where
    production itself is gone, that is recorded: nothing can be brought back there.

    Returns:
        What to wait for, or None when production is settled.

    Raises:
        PromotionFailedError: the champion could not be brought back: a person must.
    """
    champion = releases.ledger.book().production
    if champion is None:
        return deletion.advance_unproved_removal(releases, release.run_id)
    if release.open_switch is None:
        return None
    if release.get(Kind.PROMOTION_FAILED) is None:
        reason = "the run ended while production was being switched"
        release = releases.record(Kind.PROMOTION_FAILED, release.run_id, {"reason": reason})
    if releases.deployments.get(champion.deployment_id).lifecycle_state in GONE:
        releases.record(Kind.PRODUCTION_LOST, release.run_id, {"deployment_id": champion.deployment_id})
        log.error("PRODUCTION IS GONE: %s (%s) was deleted.", champion.url, champion.deployment_id)
        return None
    return _restore(releases, release, champion)


def describe_settlement(releases: Releases, release: Release) -> str:
    """Return what production serves once it is settled, in words."""
    champion = releases.ledger.book().production
    if champion is None:
        return "nothing is in production"
    if releases.ledger.book().releases[release.run_id].get(Kind.PRODUCTION_LOST):
        return (
            f"PRODUCTION IS GONE: somebody deleted {champion.deployment_id}, which served v{champion.version} at "
            f"{champion.url}. Let recommender_adopt take that over, then release again"
        )
    return f"v{champion.version} serves at {champion.url}, verified"


def _restore(releases: Releases, release: Release, champion: Serving) -> Waiting | None:
    version = releases.ledger.book().versions[champion.version]
    waiting = _fence(releases, release, champion)
    if waiting:
        return waiting
    try:
        model_id = rehearsals.find_or_restore(releases, release.run_id, version).model_id
        switch = model_switch(releases, champion.deployment_id, champion.version, champion.digest, model_id)
        back = replace(switch, insists=True)
        restored = advance_switch(releases, release.run_id, Kind.RESTORE_STARTED, back)
    except (DeploymentFailedError, CloudRefusedError, StorageError, IntegrityError) as err:
        raise PromotionFailedError(
            f"PRODUCTION NEEDS A PERSON. The switch to v{release.version} failed, and v{champion.version} could "
            f"not be brought back at {champion.url}: {err}\nSet the deployment's model to {champion.model_id} in the "
            "OCI console, then clear this task."
        ) from err
    if isinstance(restored, Waiting):
        return restored
    facts = {
        "version": champion.version,
        "model_id": model_id,
        "deployment_id": champion.deployment_id,
    }
    releases.record(Kind.CHAMPION_RESTORED, release.run_id, facts)
    log.info("v%s serves again at %s, verified.", champion.version, champion.url)
    return None


def _fence(releases: Releases, release: Release, champion: Serving) -> Waiting | None:
    """Shut out whoever prepared the switch, and may be slow rather than dead.

    Where OCI has accepted a change since, the etag is new already.
    """
    switch = release.open_switch
    if switch is None or tagging.newest_change(releases, champion) != switch["seen_work_request"]:
        return None
    holder = f"{run_slug(release.run_id)} settled {switch['deadline']}"
    # The switch itself may have taken all its time: the tag gets as long once more.
    since = datetime.fromisoformat(switch["deadline"])
    return tagging.advance_fence(releases, holder, switch["seen_work_request"], since=since)


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
