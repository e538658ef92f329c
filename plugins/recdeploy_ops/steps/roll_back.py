"""Rollback, step 4: switch production to an earlier version and verify it; if that fails, restore the champion."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.approvals.answers import require_rollback_approved
from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.events import RollbackRehearsed, RolledBack, SwitchStarted
from recdeploy_ops.domain.production_checks import confirm_switchable
from recdeploy_ops.domain.release_plan import require_unused
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout.current import make_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.production_reports import reporting_production
from recdeploy_ops.rollout.restoration import advance_or_restore
from recdeploy_ops.rollout.switches import advance_switch, model_switch
from recdeploy_ops.rollout.trials import advance_trial_deletion

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Switch production to the rollback target.

    Raises:
        MissingInputError: the rollback was not rehearsed in this run, or its required approval is missing.
        ApprovalError: a person rejected it, or what was approved has changed since.
        DeploymentFailedError: the test deployment of the rehearsal could not be deleted; nothing was changed.
        PromotionFailedError: the switch failed; says what production serves now.
        SwitchInterruptedError: trying again may help; says what state production is in.
    """
    with reporting_production(context):
        return _advance(context)


def _advance(context: ReleaseContext) -> Outcome:
    release = context.confirm_lock()
    champion = context.state.production
    if champion is None:
        raise StateMismatchError("Nothing is in production: there is nothing to roll back.")
    require_unused(context.state, release)
    if release.get(RolledBack) is None:
        waiting = advance_trial_deletion(context) if release.open_switch is None else None
        if waiting:
            return waiting
        production = advance_or_restore(context, lambda: _switch(context, champion), failure="Rollback failed")
        if isinstance(production, Waiting):
            return production
        _record(context, production)
    serving = context.state.production or champion
    return {"version": serving.version, "url": serving.url, "digest": serving.digest}


def _switch(context: ReleaseContext, champion: Serving) -> Waiting | Deployment:
    """Advance the switch of production by one move, if the rollback was rehearsed and, where required, approved."""
    if context.release.open_switch is None:
        confirm_switchable(context.state, find_production(context))
    require_rollback_approved(context)
    rehearsed = context.release.require(RollbackRehearsed)
    target = context.state.versions[context.release.version]
    switch = model_switch(context, champion.deployment_id, target, rehearsed.model_id)
    return advance_switch(context, SwitchStarted, switch)


def _record(context: ReleaseContext, production: Deployment) -> None:
    """Record that production serves the earlier version, and make its files current."""
    release = context.release
    target = context.state.versions[release.version]
    make_current(context.store, target, required=False)
    context.record(
        RolledBack(
            deployment_id=production.deployment_id,
            url=production.url,
            model_id=release.require(RollbackRehearsed).model_id,
            version=target.number,
            digest=target.digest,
            reason=release.rollback_params.reason,
        )
    )
    context.publish_state()
    log.info("v%s is in production again at %s, verified.", target.number, production.url)
