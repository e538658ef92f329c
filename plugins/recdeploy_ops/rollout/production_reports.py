"""What a person must know of production when a step fails while it is being switched."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    LockHeldError,
    PromotionFailedError,
    RecdeployError,
    SwitchInterruptedError,
    SwitchUnderWayError,
    TransientError,
)
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.rollout.switches import describe_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.records import Deployment

log = logging.getLogger(__name__)

NEEDS_A_PERSON = "PRODUCTION NEEDS A PERSON"
ONCE_IT_ANSWERS = TryAgain("See that OCI and the storage answer")


@contextmanager
def reporting_production(context: ReleaseContext) -> Iterator[None]:
    """Let each error that is raised while production is being switched say what state production is in.

    An error that is not the project's own too: a full disk or a bug leaves customers with either version as well.

    It says what production is configured for, what it answers, and who tries again and when. It begins with
    `NEEDS_A_PERSON` unless the same task is tried again by itself.

    Args:
        context: of the run that switches production.

    Raises:
        SwitchInterruptedError: in place of an error that may pass.
        PromotionFailedError: in place of any other.
    """
    try:
        yield
    except (LockHeldError, SwitchUnderWayError):
        raise  # another run, or an earlier step of this one, goes on with production
    except Exception as err:
        release = context.state.releases.get(context.run_id)
        if release is None or not release.is_open or release.open_switch is None or _is_reported(err):
            raise
        if not isinstance(err, RecdeployError):
            log.exception("What failed while production was being switched was not foreseen.")
        raise _report(context, release, err) from err


def describe_production(context: ReleaseContext, deployment_id: str, url: str) -> str:
    """Return what a deployment is configured for and what it answers, in words, as far as OCI says it."""
    answer = "it has no URL yet"
    try:
        deployment = context.deployments.get(deployment_id)
    except RecdeployError as err:
        configured = f"what it is configured for is not known ({err.message.rstrip('.')})"
    else:
        configured = f"it is {deployment.lifecycle_state}, configured for {_describe_served_model(context, deployment)}"
        url = deployment.url
    if url:
        answer = describe_answer(context, url)
    return f"{configured}, and {answer}"


def _report(context: ReleaseContext, release: Release, err: Exception) -> RecdeployError:
    is_retried = isinstance(err, TransientError)
    remedy = err.remedy if isinstance(err, RecdeployError) else None
    if is_retried and not context.tries.is_last:
        message = _describe_interruption(context, release, err)
    else:
        message = f"{NEEDS_A_PERSON}. {_describe_interruption(context, release, err)}"
    message = f"{message} {context.tries.describe_next(is_retried=is_retried)}".strip()
    if is_retried:
        return SwitchInterruptedError(message, remedy or ONCE_IT_ANSWERS)
    return PromotionFailedError(message, remedy or TryAgain("Put that right"))


def _describe_interruption(context: ReleaseContext, release: Release, err: Exception) -> str:
    why = _describe_cause(err)
    return f"Production is being switched and is not verified: {_describe_switched(context, release)}. Why: {why}"


def _describe_cause(err: Exception) -> str:
    cause = err.message if isinstance(err, RecdeployError) else f"{type(err).__name__}: {err}"
    return cause if cause.endswith(".") else f"{cause}."


def _describe_switched(context: ReleaseContext, release: Release) -> str:
    """Return the state of what is being switched; without a champion that is the first production in the making."""
    champion = context.state.production
    if champion is not None:
        state = describe_production(context, champion.deployment_id, champion.url)
        return f"{champion.url}, which served v{champion.version}, is to serve v{release.version}; {state}"
    made = release.open_switch.deployment_id if release.open_switch else None
    if made is None:
        return f"v{release.version} is to be the first production, whose deployment may be in the making"
    return f"{made} is to be the first production, with v{release.version}; {describe_production(context, made, '')}"


def _describe_served_model(context: ReleaseContext, deployment: Deployment) -> str:
    number = next((v.number for v in context.state.versions.values() if v.model_id == deployment.model_id), None)
    return f"v{number}" if number is not None else f"the model {deployment.model_id}"


def _is_reported(err: Exception) -> bool:
    return isinstance(err, SwitchInterruptedError) or str(err).startswith(NEEDS_A_PERSON)
