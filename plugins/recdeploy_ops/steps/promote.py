"""Step 13: switch production to the approved version and verify it; if that fails, restore the champion."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.approvals.answers import NO_TEST, require_promotion_approved
from recdeploy_ops.domain.errors import (
    ApprovalError,
    IntegrityError,
    LockHeldError,
    MissingInputError,
    RecdeployError,
)
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    BaselineMeasured,
    Promoted,
    RollbackRehearsed,
    SwitchStarted,
    TestDeployed,
)
from recdeploy_ops.domain.production_checks import confirm_switchable
from recdeploy_ops.domain.promotions import Way, choose_way
from recdeploy_ops.domain.records import Deployment, Role
from recdeploy_ops.domain.release_plan import require_unused
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import without_lease
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.catalog_artifacts import fetch_from_catalog
from recdeploy_ops.rollout.creation import advance_creation
from recdeploy_ops.rollout.current import make_current
from recdeploy_ops.rollout.deployable_models import require_usable
from recdeploy_ops.rollout.freezes import require_promotions_allowed
from recdeploy_ops.rollout.production import deployment_name, find_production
from recdeploy_ops.rollout.production_reports import reporting_production
from recdeploy_ops.rollout.resizing import advance_resize, describe_failed_resize
from recdeploy_ops.rollout.restoration import advance_or_restore
from recdeploy_ops.rollout.switches import Switch, advance_switch, model_switch, verify_switched
from recdeploy_ops.rollout.tagging import deployment_tags
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ModelRegistered
    from recdeploy_ops.domain.versions import Serving, Version
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)


def advance(context: ReleaseContext) -> Outcome:
    """Switch production to the approved version, resize it as approved, delete the test deployment.

    Raises:
        ApprovalError: the approval does not cover what would be promoted.
        PromotionsFrozenError: nothing is promoted now; says until when.
        MissingInputError: a required result is gone; says which task to run again.
        PromotionFailedError: the switch failed; says what production serves now.
        SwitchInterruptedError: trying again may help; says what state production is in.
        DeploymentFailedError: production serves the new version, but not in the requested size.
    """
    with reporting_production(context):
        return _advance(context)


def _advance(context: ReleaseContext) -> Outcome:
    release = context.confirm_lock()
    require_unused(context.state, release)
    if release.get(Promoted) is None:
        failure = f"v{release.version} was not promoted"
        production = advance_or_restore(context, lambda: _switch(context), failure=failure)
        if isinstance(production, Waiting):
            return production
        _record(context, production)
    return _resize_and_delete_test(context)


def _switch(context: ReleaseContext) -> Waiting | Deployment:
    """Advance the switch of production by one move, if the approval covers it."""
    approved = require_promotion_approved(context)
    champion = context.state.production
    if context.release.open_switch is None:
        require_promotions_allowed(context)
        confirm_switchable(context.state, find_production(context))
        fingerprints.require_whole(context)
        _require_registered_artifact(context, approved)
    if champion is None:
        return _make_first_production(context, approved)
    if champion.version != approved.version:
        _require_rollback_rehearsed(context, champion)
    if context.release.open_switch is None and champion.version != approved.version and _is_to_measure(context):
        _measure_champion(context, champion, context.state.versions[approved.version])
        return _switch(context)  # that takes minutes: everything above is checked again
    version = context.state.versions[approved.version]
    switch = model_switch(context, champion.deployment_id, version, approved.model_id)
    return advance_switch(context, SwitchStarted, switch)


def _require_registered_artifact(context: ReleaseContext, approved: ModelRegistered) -> None:
    """Refuse a model that OCI would not deploy, or whose artifact was replaced."""
    require_usable(context, approved.model_id, approved.version)
    with workspace() as scratch:
        archive, folder = scratch / "artifact.zip", scratch / "artifact"
        try:
            fetch_from_catalog(context, approved.model_id, approved.digest, archive, folder)
        except IntegrityError as err:
            raise ApprovalError(
                f"Refusing to promote v{approved.version}: it is not what was approved: {err.message}", err.remedy
            ) from err


def _require_rollback_rehearsed(context: ReleaseContext, champion: Serving) -> None:
    """Refuse a promotion whose rollback was not rehearsed in this run."""
    rehearsed = context.release.get(RollbackRehearsed)
    if rehearsed is None or (rehearsed.version, rehearsed.digest) != (champion.version, champion.digest):
        raise MissingInputError(
            f"v{champion.version} serves, and this run has not rehearsed a rollback to it", task="backup_production"
        )


def _is_to_measure(context: ReleaseContext) -> bool:
    return bool(context.settings.release.bake_minutes) and context.release.get(BaselineMeasured) is None


def _measure_champion(context: ReleaseContext, champion: Serving, approved: Version) -> None:
    """Record how the champion behaves before the switch, for the bake to compare with."""
    from recdeploy_ops.evaluation.baselines import measure_champion  # pyarrow and scipy: only a bake needs them

    context.record(BaselineMeasured(champion.version, measure_champion(context, champion, approved)))


def _make_first_production(context: ReleaseContext, approved: ModelRegistered) -> Waiting | Deployment:
    """Turn the test deployment into the first production, or create one if the test was skipped."""
    tested = context.release.require(TestDeployed)
    goal = f"production with v{approved.version}"
    if choose_way(context.state.production, tested) is Way.CREATION or tested.deployment_id is None:
        return _create_first_production(context, approved, goal)
    deployment = context.deployments.get(tested.deployment_id)
    if deployment.lifecycle_state.is_gone:
        raise MissingInputError(f"{NO_TEST}: {deployment.name} is gone", task="deploy_test")
    switch = _role_switch(context, deployment.deployment_id, approved, goal)
    return advance_switch(context, SwitchStarted, switch)


def _create_first_production(context: ReleaseContext, approved: ModelRegistered, goal: str) -> Waiting | Deployment:
    if context.release.open_switch is None:
        intent = SwitchStarted(
            deployment_id=None, goal=goal, version=approved.version, seen_work_request=None, deadline=None
        )
        context.record(intent)
    created = advance_creation(context, approved, Role.PRODUCTION)
    if not isinstance(created, Waiting):
        verify_switched(context, created, version=approved.version, digest=approved.digest)
    return created


def _role_switch(context: ReleaseContext, deployment_id: str, approved: ModelRegistered, goal: str) -> Switch:
    """Return the change of a test deployment's name and tags into production's; other tags stay."""
    tags = deployment_tags(context, approved.version, approved.digest, Role.PRODUCTION)
    name = deployment_name(context.project, Role.PRODUCTION)

    def request_update(deployment: Deployment) -> None:
        description = f"Production of {context.project}"
        all_tags = {**without_lease(deployment.tags), **tags}
        context.deployments.describe(deployment, name=name, description=description, tags=all_tags)

    return Switch(
        deployment_id=deployment_id,
        goal=goal,
        version=approved.version,
        digest=approved.digest,
        is_reached=lambda deployment: tags.items() <= deployment.tags.items(),
        request_update=request_update,
    )


def _record(context: ReleaseContext, production: Deployment) -> None:
    """Record that production serves the approved version, and make its files current."""
    version = context.state.versions[context.release.version]
    make_current(context.store, version)
    context.record(
        Promoted(
            deployment_id=production.deployment_id,
            url=production.url,
            model_id=version.model_id,
            version=version.number,
            digest=version.digest,
            approved_by=context.release.require(ApprovalAnswered).by,
        )
    )
    context.publish_state()
    log.info("v%s is in production at %s, verified.", version.number, production.url)


def _resize_and_delete_test(context: ReleaseContext) -> Outcome:
    """Resize production as requested and delete the test deployment; a failure does not undo the promotion."""
    promoted = context.release.require(Promoted)
    waits, failure = [], None
    try:
        waits.append(advance_resize(context, promoted))
    except LockHeldError:
        raise
    except RecdeployError as err:
        failure = err
    try:
        waits.append(deletion.advance_test_deletion(context))
    except RecdeployError as err:
        log.warning("v%s is in production, but its test deployment could not be deleted: %s", promoted.version, err)
    for waiting in filter(None, waits):
        return waiting
    if failure:
        raise describe_failed_resize(context, promoted, failure) from failure
    return {"version": promoted.version, "url": promoted.url, "digest": promoted.digest}
