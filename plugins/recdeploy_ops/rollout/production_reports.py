"""Report the state of production when a step fails during a switch."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    NEEDS_A_PERSON,
    LockHeldError,
    PromotionFailedError,
    RecdeployError,
    SwitchInterruptedError,
    SwitchUnderWayError,
    TransientError,
)
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.oci_clients.tags import digest_of, version_number
from recdeploy_ops.rollout.production import find_candidates
from recdeploy_ops.rollout.switches import PROBE, describe_answer, patient_asker, served_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.records import Deployment

log = logging.getLogger(__name__)

ONCE_IT_ANSWERS = TryAgain("See that OCI and the storage answer")


@contextmanager
def reporting_production(context: ReleaseContext, *, of_holder: bool = False) -> Iterator[None]:
    """Add the state of production to each error that is raised while production is being switched.

    The error says what production is configured for, what it answers, and whether and when the task is tried again. It
    begins with `NEEDS_A_PERSON` unless the same task is retried automatically. Unexpected errors are reported too: a
    full disk or a bug can also leave either version in production. If the ledger was never read, OCI alone shows
    whether production is at rest.

    Args:
        context: of the run that switches production.
        of_holder: if this run's release is not open, report the switch of the run that holds the lock.

    Raises:
        SwitchInterruptedError: in place of a transient error.
        PromotionFailedError: in place of any other.
    """
    try:
        yield
    except (LockHeldError, SwitchUnderWayError):
        raise  # another run, or an earlier step of this one, continues the switch
    except Exception as err:  # after any error, production may be between two versions; it is raised again
        report = None if _is_reported(err) else _report(context, err, of_holder=of_holder)
        if report is None:
            raise
        if not isinstance(err, RecdeployError):
            log.exception("Unexpected error while production was being switched")
        raise report from err


def describe_production(context: ReleaseContext, deployment_id: str, url: str) -> str:
    """Return what a deployment is configured for and what it answers, in words, as far as OCI shows it."""
    answer = "it has no URL yet"
    try:
        deployment = context.deployments.get(deployment_id)
    except RecdeployError as err:
        configured = f"its configuration is not known ({err.message.rstrip('.')})"
    else:
        configured = f"it is {deployment.lifecycle_state}, configured for {_describe_served_model(context, deployment)}"
        url = deployment.url
    if url:
        answer = describe_answer(context, url)
    return f"{configured}, and {answer}"


def _report(context: ReleaseContext, err: Exception, *, of_holder: bool) -> RecdeployError | None:
    """Return the error that replaces another one; None if production is at rest."""
    release = _find_switching(context, of_holder=of_holder)
    movement = _describe_movement(context) if context.ledger.last_known is None else None
    if release is None and movement is None:
        return None
    is_retried = isinstance(err, TransientError)
    remedy = err.remedy if isinstance(err, RecdeployError) else None
    if is_retried and not context.tries.is_last:
        message = _describe_failure(context, release, movement, err)
    else:
        message = f"{NEEDS_A_PERSON}. {_describe_failure(context, release, movement, err)}"
    message = f"{message} {context.tries.describe_next(is_retried=is_retried)}".strip()
    if is_retried:
        return SwitchInterruptedError(message, remedy or ONCE_IT_ANSWERS)
    return PromotionFailedError(message, remedy or TryAgain("Put that right"))


def _find_switching(context: ReleaseContext, *, of_holder: bool) -> Release | None:
    """Return the release whose switch is open, as far as the ledger was read."""
    state = context.ledger.last_known
    if state is None:
        return None
    release = state.releases.get(context.run_id)
    if of_holder and (release is None or not release.is_open):
        release = state.holding_release
    return release if release is not None and release.is_open and release.open_switch is not None else None


def _describe_movement(context: ReleaseContext) -> str | None:
    """Return what OCI shows of a production that is not at rest, in words; None if it is at rest or there is none."""
    try:
        tagged = find_candidates(context, models=()).tagged
    except RecdeployError as err:
        return f"OCI cannot tell either ({err.message.rstrip('.')})"
    moving = next((deployment for deployment in tagged if not _is_at_rest(context, deployment)), None)
    if moving is None:
        return None
    state = describe_production(context, moving.deployment_id, moving.url)
    return f"the tags of {moving.name} say v{version_number(moving.tags)}; {state}"


def _is_at_rest(context: ReleaseContext, deployment: Deployment) -> bool:
    """Return whether a production deployment has the configuration and gives the answer that its tags name.

    Its tags change only after a release is closed, so that an unfinished switch shows as a difference.
    """
    version, digest = version_number(deployment.tags), digest_of(deployment.tags)
    if not (deployment.lifecycle_state.is_active and digest):
        return False
    try:
        model = context.catalog.get(deployment.model_id)
        reply = patient_asker(context, deployment.url, fresh=True)(PROBE)
    except RecdeployError:
        return False
    return version_number(model.tags) == version and served_release(reply) == (version, digest)


def _describe_failure(context: ReleaseContext, release: Release | None, movement: str | None, err: Exception) -> str:
    """Return the state of an open switch, or of production if the ledger was never read; and the cause."""
    why = err.message if isinstance(err, RecdeployError) else f"{type(err).__name__}: {err}"
    why = f"Why: {why.removesuffix('.')}."
    if release is None:
        return f"The ledger cannot be read, and production may be in the middle of a switch: {movement}. {why}"
    return f"Production is being switched and is not verified: {_describe_switched(context, release)}. {why}"


def _describe_switched(context: ReleaseContext, release: Release) -> str:
    """Return the state of what is being switched: production, or without a champion, the first production."""
    known = context.ledger.last_known
    champion = known.production if known is not None else None
    goal = release.open_switch.version if release.open_switch else release.version
    if champion is not None:
        state = describe_production(context, champion.deployment_id, champion.url)
        return f"{champion.url}, which served v{champion.version}, is to serve v{goal}; {state}"
    created = release.open_switch.deployment_id if release.open_switch else None
    if created is None:
        return f"v{release.version} is to be the first production; OCI may be creating its deployment"
    state = describe_production(context, created, "")
    return f"{created} is to be the first production, with v{release.version}; {state}"


def _describe_served_model(context: ReleaseContext, deployment: Deployment) -> str:
    known = context.ledger.last_known
    versions = known.versions.values() if known is not None else ()
    number = next((version.number for version in versions if version.model_id == deployment.model_id), None)
    return f"v{number}" if number is not None else f"the model {deployment.model_id}"


def _is_reported(err: Exception) -> bool:
    return isinstance(err, SwitchInterruptedError) or str(err).startswith(NEEDS_A_PERSON)
