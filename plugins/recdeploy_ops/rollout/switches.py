"""Change what a deployment serves, its role or its size, and verify the change."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    CloudThrottledError,
    CloudUnavailableError,
    DeploymentFailedError,
    TransientError,
)
from recdeploy_ops.domain.records import LONGEST_SHOWN
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch, was_requested
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.predictions import Repeats
from recdeploy_ops.rollout.deployable_models import require_usable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ChangeStarted
    from recdeploy_ops.domain.records import Deployment, Reply
    from recdeploy_ops.domain.versions import Version

log = logging.getLogger(__name__)

NOT_RESPONDING = "Production endpoint not responding after update"
MAX_BROKEN_ROWS = 3  # in one verification; it fails if more rows of probes are interrupted
PROBE = {"user_id": "recdeploy-probe", "top_k": 1}

C = TypeVar("C", bound="ChangeStarted")


@dataclass(frozen=True)
class Switch:
    """A change of one deployment, verified by the answers of its URL.

    Attributes:
        deployment_id: OCID.
        goal: the intended result, in words, e.g. ``serving v4``.
        version: the version that its URL must answer with.
        digest: the digest that its URL must answer with; empty for a version that this project did not make.
        is_reached: whether a deployment is configured as intended.
        request_update: requests the change from OCI.
        force: send the update even if the configuration already matches but the answers do not, or the state is
            unknown; used when restoring, where there is nothing to lose.
    """

    deployment_id: str
    goal: str
    version: int
    digest: str
    is_reached: Callable[[Deployment], bool]
    request_update: Callable[[Deployment], None]
    force: bool = False


def model_switch(
    context: ReleaseContext, deployment_id: str, version: Version, model_id: str, *, force: bool = False
) -> Switch:
    """Return the switch of a deployment to a version's model: only the model id changes.

    A model that was deactivated meanwhile is activated before the request.
    """

    def request_update(deployment: Deployment) -> None:
        require_usable(context, model_id, version.number)
        context.deployments.switch_model(deployment, model_id)

    return Switch(
        deployment_id=deployment_id,
        goal=f"serving v{version.number}",
        version=version.number,
        digest=version.digest,
        is_reached=lambda deployment: deployment.model_id == model_id,
        request_update=request_update,
        force=force,
    )


def advance_switch(context: ReleaseContext, kind: type[C], switch: Switch) -> Waiting | Deployment:
    """Advance a switch by one move; return the deployment once it is verified.

    Args:
        context: of the run.
        kind: the event that records the intent before the change is requested from OCI.
        switch: the change.

    Raises:
        CloudThrottledError: OCI throttled every probe: what the deployment serves is not known.
        DeploymentFailedError: the deployment did not reach the goal; quotes OCI.
    """
    intent = _record_intent(context, kind, switch)
    deployment = context.deployments.get(switch.deployment_id)
    newest = context.deployments.newest_work_request(switch.deployment_id)
    decision = decide_switch(
        intent,
        deployment,
        newest,
        reached=switch.is_reached(deployment),
        now=context.now(),
        force=switch.force,
    )
    log.info("%s: %s (%s)", deployment.name, decision.reason, decision.move)
    match decision.move:
        case Move.REQUEST:
            return _request(context, switch, _extend(context, kind, intent), deployment)
        case Move.WAIT:
            return Waiting(switch.deployment_id, f"{deployment.name}: {decision.reason}", intent.deadline)
        case Move.PROBE:
            try:
                verify_switched(context, deployment, version=switch.version, digest=switch.digest)
            except DeploymentFailedError as err:
                if was_requested(intent, newest) or not switch.force:
                    raise
                log.warning("The configuration already matches; sending the update anyway: %s", err)
                return _request(context, switch, _extend(context, kind, intent), deployment)
            return deployment
        case Move.GIVE_UP:
            answer = "Nothing was requested."
            if newest and was_requested(intent, newest):
                answer = f"OCI says:\n{context.deployments.explain(newest.work_request_id)}"
            raise DeploymentFailedError(
                f"{deployment.name} ({deployment.deployment_id}) did not become {switch.goal}: {decision.reason}. "
                f"{deployment.details}\n{answer}"
            )


def verify_switched(context: ReleaseContext, deployment: Deployment, *, version: int, digest: str) -> None:
    """Probe a switched deployment like `verify_serving`; a missing answer is a failure.

    Raises:
        CloudThrottledError: OCI throttled every probe: what the deployment serves is not known.
        DeploymentFailedError: it gave another answer, or none.
    """
    try:
        verify_serving(context, deployment, version=version, digest=digest)
    except CloudThrottledError:
        raise
    except (CloudUnavailableError, CloudRefusedError) as err:
        raise DeploymentFailedError(f"{NOT_RESPONDING}: {err.message}", err.remedy) from err


def verify_serving(context: ReleaseContext, deployment: Deployment, *, version: int, digest: str) -> None:
    """Probe a deployment's URL until enough answers in a row have the version and digest.

    A lost probe is sent again and restarts the row, at most `MAX_BROKEN_ROWS` times. A throttled probe never reached a
    replica: it is sent again, and the row continues. An imported version has no digest: every probe must return 200,
    and none may identify as one of our releases.

    Raises:
        CloudUnavailableError: a probe got no answer after all repeats.
        CloudRefusedError: OCI refused a probe.
        DeploymentFailedError: a probe got another answer, or too many were lost.
    """
    wanted = context.settings.probes.consecutive_answers
    ask = patient_asker(context, deployment.url, fresh=True)
    in_a_row = broken = 0
    while in_a_row < wanted:
        probe = f"probe {in_a_row + 1} of {wanted}"
        reply = ask(PROBE)
        has_answered = reply.status == HTTPStatus.OK
        if not has_answered or any(status != HTTPStatus.TOO_MANY_REQUESTS for status in reply.lost):
            broken, in_a_row = broken + 1, 0
            log.warning("%s did not answer %s at once: %s", deployment.url, probe, reply)
            if broken > MAX_BROKEN_ROWS:
                raise DeploymentFailedError(
                    f"{NOT_RESPONDING}: {deployment.url} did not answer {probe} at once, and {broken} in all: {reply}"
                )
        if not has_answered:
            time.sleep(context.settings.release.poll_seconds)
            continue
        served = served_release(reply)
        if not is_expected(context, served, version, digest):
            expected = f"v{version} and the digest {digest}" if digest else f"v{version} of another project"
            shown = shorten(str(served or reply), LONGEST_SHOWN)
            raise DeploymentFailedError(f"{deployment.url} answered {probe} with {shown}, not with {expected}.")
        in_a_row += 1
    log.info("%s answered %s times with v%s (%s)", deployment.url, wanted, version, digest[:12])


def patient_asker(context: ReleaseContext, url: str, *, fresh: bool = False) -> Callable[[object], Reply]:
    """Return a function that sends requests to a deployment's URL; lost ones are repeated as the settings say."""
    probes = context.settings.probes
    repeats = Repeats(probes.repeats, probes.repeat_seconds)
    return context.deployments.asker(url, timeout_seconds=probes.timeout_seconds, fresh=fresh, repeats=repeats)


def describe_answer(context: ReleaseContext, url: str) -> str:
    """Return what a deployment's URL answers to one probe, in words."""
    try:
        reply = patient_asker(context, url, fresh=True)(PROBE)
    except (TransientError, CloudRefusedError) as err:
        return f"it does not answer ({err.message})"
    served = served_release(reply)
    return f"it answers with version {served[0]}, digest {served[1]}" if served else f"it does not answer ({reply})"


def served_release(reply: Reply) -> tuple[object, object] | None:
    """Return the version and digest in an answer; None if ``score.py`` did not give it."""
    body = reply.body
    if reply.status != HTTPStatus.OK or not isinstance(body, dict) or "recommendations" not in body:
        return None
    return body.get("model_version"), body.get("digest")


def _request(context: ReleaseContext, switch: Switch, intent: SwitchIntent, deployment: Deployment) -> Waiting:
    context.confirm_lock()  # after reading the etag and before the change
    switch.request_update(deployment)
    return Waiting(switch.deployment_id, f"{deployment.name} is to be {switch.goal}", intent.deadline)


def _extend(context: ReleaseContext, kind: type[C], intent: SwitchIntent) -> SwitchIntent:
    """Extend the deadline of a request that is sent after it because OCI was unreachable."""
    if context.now() < intent.deadline:
        return intent
    extended = replace(context.release.require(kind), deadline=_deadline(context))
    context.record(extended)
    return replace(intent, deadline=deadline_of(extended))


def is_expected(context: ReleaseContext, served: tuple[object, object] | None, version: int, digest: str) -> bool:
    """Return whether an answer is that of a version; of an imported one, without a digest: that it is of no other."""
    if digest:
        return served == (version, digest)
    ours = {(known.number, known.digest) for known in context.state.versions.values() if known.digest}
    return not any(served == known for known in ours)  # what is served may be any JSON, which has no hash


def _record_intent(context: ReleaseContext, kind: type[C], switch: Switch) -> SwitchIntent:
    """Record the intent, unless this run already has, and return it."""
    started = context.confirm_lock().get(kind)
    if started is None or (started.goal, started.deployment_id) != (switch.goal, switch.deployment_id):
        newest = context.deployments.newest_work_request(switch.deployment_id)
        started = kind(
            deployment_id=switch.deployment_id,
            goal=switch.goal,
            version=switch.version,
            seen_work_request=newest.work_request_id if newest else None,
            deadline=_deadline(context),
        )
        context.record(started)
    return SwitchIntent(started.goal, started.seen_work_request, deadline_of(started))


def _deadline(context: ReleaseContext) -> datetime:
    return context.now() + timedelta(minutes=context.settings.release.deployment_timeout_minutes)


def deadline_of(started: ChangeStarted) -> datetime:
    """Return the deadline of a change.

    Raises:
        TypeError: the change is a creation, whose deadline is not recorded.
    """
    if started.deadline is None:
        raise TypeError(f"{started.type} of {started.goal} has no deadline.")
    return started.deadline
