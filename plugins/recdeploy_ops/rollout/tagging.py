"""Tags of production and of its model: what serves, and the head of the ledger, so that a cut-off tail is noticed."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, MissingInputError, RecdeployError, TransientError
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.releases import HOLDER_TAG, LEASE_TAG, SERVED_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from recdeploy_ops.domain.ledger import Serving
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance_label(releases: Releases) -> Waiting | None:
    """Bring production's tags in line with the ledger, where there is a production; tags of other people's stay.

    OCI takes tags in an update of their own. A label that OCI refuses is a warning: it never undoes a release.

    Raises:
        TransientError: trying again may help.
    """
    label_model(releases)
    book = releases.ledger.book()
    if book.production is None or book.holder is not None:  # who holds the lock labels it when it is done
        return None
    entry = releases.ledger.entries()[-1]
    try:
        return advance_tags(releases, releases.production_tags(), entry.facts.get("seen_work_request"), since=entry.at)
    except TransientError:
        raise
    except RecdeployError as err:
        log.warning("Production keeps its old tags: %s", err)
        return None


def label_model(releases: Releases) -> None:
    """Bring the tags of the model that production serves in line with the ledger; production is left alone.

    They say when it was verified to serve, so that the ledger could be rebuilt, and name the ledger's head.

    Raises:
        TransientError: trying again may help.
    """
    serving = releases.ledger.book().production
    if serving is not None:
        releases.sign_head(serving.model_id, {SERVED_TAG: serving.since})


def newest_change(releases: Releases, serving: Serving | None) -> str | None:
    """Return the newest work request of production, so that a later one is known to be another; None without any."""
    newest = releases.deployments.newest_work_request(serving.deployment_id) if serving else None
    return newest.work_request_id if newest else None


def advance_fence(releases: Releases, holder: str, seen_work_request: str | None, *, since: datetime) -> Waiting | None:
    """Change production's etag by a tag, so that a change which is still on its way to OCI is refused.

    A tag that OCI refuses for good (there are too many) is a warning: production has to be settled all the same.

    Args:
        releases: what the steps work with.
        holder: the tag's value: one that production does not have yet.
        seen_work_request: production's newest one before the fence was wanted.
        since: when that was; from then on a deployment's time is waited.
    """
    try:
        return advance_tags(releases, {HOLDER_TAG: holder}, seen_work_request, since=since)
    except CloudRefusedError as err:
        log.warning("Production's etag could not be changed; a change that is still on its way may come: %s", err)
        return None


def advance_tags(
    releases: Releases, wanted: Mapping[str, str], seen_work_request: str | None, *, since: datetime
) -> Waiting | None:
    """Set tags of production; None when it has them, or when OCI could not set them.

    Args:
        releases: what the steps work with.
        wanted: the tags; others stay, but for a lease.
        seen_work_request: production's newest one before this was asked for: OCI may accept it and not do it.
        since: when that was recorded; from then on a deployment's time is waited.
    """
    serving = releases.ledger.book().production
    if serving is None:
        raise MissingInputError("Nothing is in production", clear_task="promote")
    deployment = releases.deployments.get(serving.deployment_id)
    reached = wanted.items() <= deployment.tags.items() and LEASE_TAG not in deployment.tags
    if reached:
        return None
    newest = releases.deployments.newest_work_request(serving.deployment_id)
    minutes = releases.settings.release.deployment_timeout_minutes
    intent = SwitchIntent("tagged", seen_work_request, since + timedelta(minutes=minutes))
    decision = decide_switch(intent, deployment, newest, reached=reached, now=releases.now())
    if decision.move is Move.GIVE_UP:
        log.warning("%s keeps its old tags: %s.", deployment.name, decision.reason)
        return None
    if decision.move is Move.ASK:
        kept = {key: value for key, value in deployment.tags.items() if key != LEASE_TAG}
        releases.deployments.tag(deployment, {**kept, **wanted})
    return Waiting(deployment.deployment_id, f"{deployment.name} is being tagged", intent.deadline)
