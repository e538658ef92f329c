"""Tag production and its model with what serves and with the ledger's head, so that a truncated ledger is detected."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, RecdeployError, TransientError
from recdeploy_ops.domain.events import Adopted, ReleaseClosed
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import (
    HOLDER_TAG,
    LEASE_TAG,
    LEDGER_TAG,
    ROLE_TAG,
    SERVED_TAG,
    lease_tag,
    version_tags,
    without_lease,
)
from recdeploy_ops.rollout.production import find_candidates, production_name, run_tag
from recdeploy_ops.rollout.registry import list_models

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.versions import Serving
    from recdeploy_ops.oci_clients.tags import Tags

log = logging.getLogger(__name__)


def deployment_tags(context: ReleaseContext, version: int, digest: str, role: Role, *, run_id: str = "") -> Tags:
    """Return the tags of a deployment of a role; a test deployment has a lease.

    Args:
        context: of the run.
        version: the version that it serves.
        digest: the digest of that version.
        role: what it is for.
        run_id: the run that made the version; by default the context's.
    """
    run = run_tag(context.state, run_id or context.run_id)
    tags = version_tags(context.project, run=run, version=version, digest=digest) | {ROLE_TAG: str(role)}
    if role is Role.TEST:
        tags |= lease_tag(context.now() + timedelta(hours=context.settings.release.test_lease_hours))
    return tags


def advance_tagging(context: ReleaseContext) -> Waiting | None:
    """Bring production's tags, if there is a production, in line with the ledger; other tags stay.

    Tags are set in an update of their own, which also renames a production that is named as a test deployment: OCI
    lets name and tags change together. If OCI refuses them, a warning is logged: that does not undo a release.

    Raises:
        TransientError: trying again may help.
    """
    tag_model(context)
    change = find_last_change(context)
    serving = context.state.production
    if change is None or serving is None or context.state.holder is not None:
        return None  # a run that holds the lock tags it when it is done
    entry, event = change
    try:
        tags = _production_tags(context, serving, head=_name_head(entry.seq, entry.sha256))
        return advance_tags(context, tags, event.seen_work_request, since=entry.at, rename=True)
    except TransientError:
        raise
    except RecdeployError as err:
        log.warning("Production keeps its old tags: %s", err)
        return None


def find_last_change(context: ReleaseContext) -> tuple[Entry, ReleaseClosed | Adopted] | None:
    """Return the newest entry after which production may be another one, and its event; None if there is none.

    It need not be the ledger's newest: a freeze or a pin is recorded at any moment, and changes nothing in OCI.
    """
    changes = ((entry, entry.event) for entry in reversed(context.history()))
    return next(((entry, event) for entry, event in changes if isinstance(event, ReleaseClosed | Adopted)), None)


def tag_model(context: ReleaseContext) -> None:
    """Bring the tags of the model that production serves in line with the ledger; production is not changed.

    They say since when it serves, so that the ledger can be rebuilt, and name the ledger's head.

    Raises:
        TransientError: trying again may help.
    """
    serving = context.refresh().production
    if serving is not None:
        tag_with_head(context, serving.model_id, {SERVED_TAG: serving.since})


def tag_with_head(context: ReleaseContext, model_id: str, tags: Mapping[str, str] | None = None) -> None:
    """Tag a catalog model with the ledger's head, so that tampering with earlier entries is detectable.

    If OCI refuses the tag, a warning is logged: the release continues.

    Args:
        context: of the run.
        model_id: OCID of the model.
        tags: further tags to set.

    Raises:
        TransientError: trying again may help.
    """
    try:
        head = _name_head(context.state.seq, context.state.head)
        context.catalog.tag(model_id, {**(tags or {}), LEDGER_TAG: head})
    except TransientError:
        raise
    except RecdeployError as err:
        log.warning("The model %s does not name the ledger's head: %s", model_id, err)


def find_tagged_heads(context: ReleaseContext) -> dict[str, str]:
    """Return the heads of the ledger that tags in OCI name, by the resource that is tagged.

    Every production deployment and every model of the project is read: removing one tag does not hide a change.
    """
    of_production, others = find_heads(context)
    return of_production | others


def find_heads(context: ReleaseContext) -> tuple[dict[str, str], dict[str, str]]:
    """Return the heads that production deployments and their models name, and those of the project's other models.

    The latter are less reliable: anyone who may write the Model Catalog can tag a model that does not serve.
    """
    models = {model.model_id: model for model in list_models(context)}
    candidates = find_candidates(context, frozenset(models))
    of_production = {}
    for deployment in (*candidates.tagged, *candidates.untagged):
        of_production[f"production ({deployment.name})"] = deployment.tags.get(LEDGER_TAG, "")
        model = models.pop(deployment.model_id, None) or context.catalog.get(deployment.model_id)
        of_production[f"production's model ({model.name})"] = model.tags.get(LEDGER_TAG, "")
    others = {f"the model {model.name}": model.tags.get(LEDGER_TAG, "") for model in models.values()}
    return _without_empty(of_production), _without_empty(others)


def _without_empty(heads: Mapping[str, str]) -> dict[str, str]:
    return {resource: head for resource, head in heads.items() if head}


def newest_change(context: ReleaseContext, serving: Serving | None) -> str | None:
    """Return the id of production's newest work request, so that a later one can be told apart; None if there is none.

    Also None if OCI refuses to list them: a closing or a takeover continues without it.

    Raises:
        TransientError: trying again may help.
    """
    if serving is None:
        return None
    try:
        newest = context.deployments.newest_work_request(serving.deployment_id)
    except CloudRefusedError as err:
        log.warning("Production's newest work request is not known: %s", err)
        return None
    return newest.work_request_id if newest else None


def advance_etag_invalidation(
    context: ReleaseContext, holder: str, seen_work_request: str | None, *, since: datetime
) -> Waiting | None:
    """Change production's etag by setting a tag, so that OCI refuses a change that is still on its way.

    If OCI refuses the tag permanently, e.g. as one too many, a warning is logged: production must be restored anyway.

    Args:
        context: of the run.
        holder: the tag's value; production must not have it yet.
        seen_work_request: production's newest one when the invalidation was decided.
        since: when it was decided; the deadline is the timeout of a deployment later.
    """
    try:
        return advance_tags(context, {HOLDER_TAG: holder}, seen_work_request, since=since)
    except CloudRefusedError as err:
        log.warning("Production's etag could not be changed; a change on its way may still be applied: %s", err)
        return None


def advance_tags(
    context: ReleaseContext,
    intended: Mapping[str, str],
    seen_work_request: str | None,
    *,
    since: datetime,
    rename: bool = False,
) -> Waiting | None:
    """Set tags of production; None when it has them, when OCI could not set them, or without a production.

    Args:
        context: of the run.
        intended: the tags; all others except a lease stay.
        seen_work_request: production's newest one before this request: OCI may accept a request and not carry it out.
        since: when that was recorded; the deadline is the timeout of a deployment later.
        rename: whether a production that is named as a test deployment gets its own name.
    """
    serving = context.state.production
    if serving is None:
        return None
    deployment = context.deployments.get(serving.deployment_id)
    name = production_name(context, deployment) if rename else deployment.name
    if name == deployment.name and intended.items() <= deployment.tags.items() and LEASE_TAG not in deployment.tags:
        return None
    newest = context.deployments.newest_work_request(serving.deployment_id)
    minutes = context.settings.release.deployment_timeout_minutes
    intent = SwitchIntent("tagged", seen_work_request, since + timedelta(minutes=minutes))
    decision = decide_switch(intent, deployment, newest, reached=False, now=context.now())
    if decision.move is Move.GIVE_UP:
        log.warning("%s keeps its old tags: %s.", deployment.name, decision.reason)
        return None
    if decision.move is Move.REQUEST:
        tags = {**without_lease(deployment.tags), **intended}
        if name == deployment.name:
            context.deployments.tag(deployment, tags)
        else:
            description = f"Production of {context.project}"
            context.deployments.describe(deployment, name=name, description=description, tags=tags)
    return Waiting(deployment.deployment_id, f"{deployment.name} is being tagged", intent.deadline)


def _name_head(seq: int, sha256: str) -> str:
    """Return an entry of the ledger as a tag names it."""
    return f"{seq}:{sha256}"


def _production_tags(context: ReleaseContext, serving: Serving, *, head: str) -> Tags:
    """Return the tags that production should have: what it serves, and a head of the ledger."""
    run_id = context.state.versions[serving.version].run_id
    tags = deployment_tags(context, serving.version, serving.digest, Role.PRODUCTION, run_id=run_id)
    return {**tags, LEDGER_TAG: head}
