"""Take production back to the previous champion when the bake of a promoted version finds it degraded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import NEEDS_A_PERSON, PromotionFailedError
from recdeploy_ops.domain.events import BakeStarted, RollbackCause, RolledBack, SwitchStarted, WindowJudged
from recdeploy_ops.domain.production_checks import confirm_switchable
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout import rehearsals
from recdeploy_ops.rollout.current import make_current
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.restoration import advance_or_restore
from recdeploy_ops.rollout.switches import advance_switch, model_switch

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Version

log = logging.getLogger(__name__)


def advance_automatic_rollback(context: ReleaseContext) -> Waiting | RolledBack:
    """Switch production back by one move; once it is verified, return what was recorded.

    A release does this once: if it fails, the version that was promoted is restored, and a person is called.

    Raises:
        PromotionFailedError: the switch failed; says what production serves now.
        StateMismatchError: somebody has changed production by hand since the promotion: nothing is changed.
    """
    release = context.confirm_lock()
    target = context.state.versions[_previous_of(context)]
    done = release.get(RolledBack)
    if done is None:
        failure = f"v{release.version} is degraded, and could not be rolled back to v{target.number}"
        try:
            production = advance_or_restore(context, lambda: _switch(context, target), failure=failure)
        except PromotionFailedError as err:
            if err.message.startswith(NEEDS_A_PERSON):
                raise
            raise PromotionFailedError(
                f"{NEEDS_A_PERSON}. The automatic rollback failed: {err.message}",
                TryAgain("Trigger recommender_rollback once OCI can update the deployment"),
            ) from err
        if isinstance(production, Waiting):
            return production
        done = _record(context, production, target)
    log.error("v%s was rolled back automatically: v%s serves at %s, verified.", release.version, done.version, done.url)
    log.error("Why: %s", done.reason)
    return done


def advance_interrupted_rollback(context: ReleaseContext) -> Waiting | None:
    """Finish an automatic rollback that the release's run has left unfinished; do nothing for any other release.

    A teardown restores what served before a switch. Here that is the degraded version: it goes on to the previous
    champion instead, unless that has failed already.
    """
    release = context.state.releases.get(context.run_id)
    if release is None or not release.is_open or not release.is_rolling_back:
        return None
    outcome = advance_automatic_rollback(context)
    return outcome if isinstance(outcome, Waiting) else None


def _previous_of(context: ReleaseContext) -> int:
    previous = context.release.require(BakeStarted).previous
    if previous is None:
        raise PromotionFailedError(f"v{context.release.version} is the first production: nothing came before it.")
    return previous


def _switch(context: ReleaseContext, target: Version) -> Waiting | Deployment:
    """Advance the switch to the previous champion by one move: the same as of a rollback that a person requested."""
    serving = context.state.production
    if context.release.open_switch is None:
        confirm_switchable(context.state, find_production(context))
    if serving is None:
        raise PromotionFailedError("Nothing is in production: there is nothing to roll back.")
    model_id = rehearsals.find_or_restore(context, target).model_id
    switch = model_switch(context, serving.deployment_id, context.state.versions[target.number], model_id)
    return advance_switch(context, SwitchStarted, switch)


def _record(context: ReleaseContext, production: Deployment, target: Version) -> RolledBack:
    """Record that production serves the previous champion again, and make its files current."""
    judged = context.release.require(WindowJudged)
    version = context.state.versions[target.number]
    make_current(context.store, version, required=False)
    context.record(
        RolledBack(
            deployment_id=production.deployment_id,
            url=production.url,
            model_id=version.model_id,
            version=version.number,
            digest=version.digest,
            reason=f"the bake of v{context.release.version}: {'; '.join(judged.reasons)}",
            cause=RollbackCause.AUTOMATIC,
        )
    )
    context.publish_state()
    return context.release.require(RolledBack)
