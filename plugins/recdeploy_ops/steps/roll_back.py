"""Rollback, step 3: production serves an earlier version at the same URL, verified, or what it served before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.approvals import questions
from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError, StateMismatchError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.release_plan import reconcile, require_unused
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.restoration import advance_settlement, describe_settlement, model_switch
from recdeploy_ops.rollout.switches import advance_switch

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release, Serving
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Switch production to the rollback's version.

    Raises:
        MissingInputError: the rollback was not rehearsed in this run, or not answered though it was to be approved.
        ApprovalError: a person refused it, or what was approved has changed since.
        PromotionFailedError: production did not verify; says what it serves now.
    """
    release = releases.release(run_id)
    champion = releases.ledger.book().production
    if champion is None:
        raise StateMismatchError("Nothing is in production: there is nothing to roll back.")
    require_unused(releases.ledger.book(), release)
    if release.get(Kind.ROLLED_BACK) is None:
        waiting = _switch(releases, release, champion)
        if waiting:
            return waiting
    serving = releases.ledger.book().production or champion
    return {"version": serving.version, "url": serving.url, "digest": serving.digest}


def _switch(releases: Releases, release: Release, champion: Serving) -> Waiting | None:
    if release.get(Kind.PROMOTION_FAILED):
        return _give_back(releases, release)
    if release.open_switch is None:
        reconcile(releases.ledger.book(), releases.production())
    questions.require_rollback_approved(releases, release)
    rehearsed = releases.facts(release, Kind.ROLLBACK_REHEARSED)
    target = releases.ledger.book().versions[release.version]
    switch = model_switch(releases, champion.deployment_id, target.number, target.digest, rehearsed["model_id"])
    try:
        deployment = advance_switch(releases, release.run_id, Kind.PROMOTION_STARTED, switch)
    except DeploymentFailedError as err:
        release = releases.record(Kind.PROMOTION_FAILED, release.run_id, {"reason": str(err)})
        return _give_back(releases, release)
    if isinstance(deployment, Waiting):
        return deployment
    releases.point_current(
        version=target.number, digest=target.digest, artifact=target.artifact, results=target.results
    )
    facts = {
        "deployment_id": deployment.deployment_id,
        "url": deployment.url,
        "model_id": rehearsed["model_id"],
        "version": target.number,
        "digest": target.digest,
        "reason": release.params["reason"],
    }
    releases.record(Kind.ROLLED_BACK, release.run_id, facts)
    releases.publish_state()
    log.info("v%s is in production again at %s, verified.", target.number, deployment.url)
    return None


def _give_back(releases: Releases, release: Release) -> Waiting | None:
    waiting = advance_settlement(releases, release)
    if waiting:
        return waiting
    failed = releases.facts(release, Kind.PROMOTION_FAILED)
    raise PromotionFailedError(f"Rollback failed: {describe_settlement(releases, release)}. Why: {failed['reason']}")
