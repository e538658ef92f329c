"""Tags of production and of its model: what serves, and the head of the ledger, so that a cut-off tail is noticed."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import MissingInputError, RecdeployError, TransientError
from recdeploy_ops.domain.waiting import Progress, Waiting, judge_work_request
from recdeploy_ops.releases import LEASE_TAG, LEDGER_TAG, SERVED_TAG, name_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance_label(releases: Releases) -> Waiting | None:
    """Bring production's tags in line with the ledger, where there is a production; tags of other people's stay.

    OCI takes tags in an update of their own. A label that OCI refuses is a warning: it never undoes a release.

    Raises:
        TransientError: trying again may help.
    """
    label_model(releases)
    if releases.ledger.book().production is None:
        return None
    try:
        return advance_tags(releases, releases.production_tags())
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
    book = releases.ledger.book()
    if book.production is None:
        return
    try:
        releases.catalog.tag(book.production.model_id, {SERVED_TAG: book.production.since, LEDGER_TAG: name_head(book)})
    except TransientError:
        raise
    except RecdeployError as err:
        log.warning("The model of v%s keeps its old tags: %s", book.production.version, err)


def advance_tags(releases: Releases, wanted: Mapping[str, str]) -> Waiting | None:
    """Set tags of production; None when it has them, or when OCI could not set them."""
    serving = releases.ledger.book().production
    if serving is None:
        raise MissingInputError("Nothing is in production", clear_task="promote")
    deployment = releases.deployments.get(serving.deployment_id)
    if wanted.items() <= deployment.tags.items() and LEASE_TAG not in deployment.tags:
        return None
    newest = releases.deployments.newest_work_request(serving.deployment_id)
    progress = judge_work_request(newest.status) if newest else Progress.SUCCEEDED
    minutes = releases.settings.release.deployment_timeout_minutes
    since = newest.accepted_at if newest and progress is Progress.RUNNING else releases.now()
    waiting = Waiting(
        deployment.deployment_id, f"{deployment.name} is being tagged", since + timedelta(minutes=minutes)
    )
    if progress is Progress.RUNNING and releases.now() < waiting.deadline:
        return waiting
    if progress is not Progress.SUCCEEDED or deployment.lifecycle_state != "ACTIVE":
        log.warning("%s is %s and keeps its old tags.", deployment.name, deployment.lifecycle_state)
        return None
    kept = {key: value for key, value in deployment.tags.items() if key != LEASE_TAG}
    releases.deployments.tag(deployment, {**kept, **wanted})
    return waiting
