"""Changing what a deployment serves, or what it is for, and proving it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError, TransientError
from recdeploy_ops.domain.records import Reply
from recdeploy_ops.domain.switching import Move, SwitchIntent, decide_switch, was_asked
from recdeploy_ops.domain.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger import Facts, Kind
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

NOT_RESPONDING = "Production endpoint not responding after update"
LOST_PROBES = 3  # so many may get no answer, or an error, before a switch has failed


@dataclass(frozen=True)
class Switch:
    """A change of one deployment, to be proved by what its URL answers.

    Attributes:
        deployment_id: OCID.
        goal: what it shall be, in words, e.g. ``serving v4``.
        version: the version that its URL must answer with.
        digest: the digest that its URL must answer with.
        reached: whether a deployment is configured as intended.
        ask: asks OCI for the change.
        insists: whether OCI is asked even where the deployment is configured so and does not answer so, or is in a
            state that nobody listed: for a way back, which has nothing to lose.
    """

    deployment_id: str
    goal: str
    version: int
    digest: str
    reached: Callable[[Deployment], bool]
    ask: Callable[[Deployment], None]
    insists: bool = False


def advance_switch(releases: Releases, run_id: str, kind: Kind, switch: Switch) -> Waiting | Deployment:
    """Take a switch one move further; return the deployment once it is proved.

    Args:
        releases: what the steps work with.
        run_id: the run.
        kind: what the intent is recorded as before OCI is asked.
        switch: the change.

    Raises:
        DeploymentFailedError: it did not become what was asked for; quotes OCI.
    """
    intent = _intend(releases, run_id, kind, switch)
    deployment = releases.deployments.get(switch.deployment_id)
    newest = releases.deployments.newest_work_request(switch.deployment_id)
    decision = decide_switch(
        intent,
        deployment,
        newest,
        reached=switch.reached(deployment),
        now=releases.now(),
        insisting=switch.insists,
    )
    log.info("%s: %s (%s)", deployment.name, decision.reason, decision.move)
    match decision.move:
        case Move.ASK:
            return _ask(releases, run_id, switch, intent, deployment)
        case Move.WAIT:
            return Waiting(switch.deployment_id, f"{deployment.name}: {decision.reason}", intent.deadline)
        case Move.PROBE:
            try:
                prove(releases, deployment, version=switch.version, digest=switch.digest)
            except DeploymentFailedError as err:
                if was_asked(intent, newest) or not switch.insists:
                    raise
                log.warning("It is configured as it shall be, and is asked for that all the same: %s", err)
                return _ask(releases, run_id, switch, intent, deployment)
            return deployment
        case Move.GIVE_UP:
            said = releases.deployments.explain(newest.work_request_id) if newest else "nothing"
            raise DeploymentFailedError(
                f"{deployment.name} ({deployment.deployment_id}) did not become {switch.goal}: {decision.reason}. "
                f"{deployment.details}\nOCI says:\n{said}"
            )


def _ask(releases: Releases, run_id: str, switch: Switch, intent: SwitchIntent, deployment: Deployment) -> Waiting:
    releases.release(run_id)  # the lock is confirmed between reading the etag and changing anything
    switch.ask(deployment)
    return Waiting(switch.deployment_id, f"{deployment.name} shall be {switch.goal}", intent.deadline)


def prove(releases: Releases, deployment: Deployment, *, version: int, digest: str) -> None:
    """Ask a deployment's URL until enough answers in a row carry the version and digest.

    A probe that is lost says nothing about what is served: the row begins anew, but only `LOST_PROBES` times.
    Without a digest, which a version of another project has not, it must answer each time, and never as one of ours.

    Raises:
        DeploymentFailedError: one of them answered with something else, or too many were lost.
    """
    probes = releases.settings.probes
    ask = releases.deployments.asker(deployment, timeout_seconds=probes.timeout_seconds, fresh=True)
    in_a_row = lost = 0
    while in_a_row < probes.consecutive_answers:
        probe = f"probe {in_a_row + 1} of {probes.consecutive_answers}"
        reply = _probe(ask)
        if not isinstance(reply, Reply) or reply.status != HTTPStatus.OK:
            lost += 1
            if lost > LOST_PROBES:
                raise DeploymentFailedError(
                    f"{NOT_RESPONDING}: {deployment.url} did not answer {probe}, and {lost} in all: {reply}"
                )
            log.warning("%s did not answer %s: %s", deployment.url, probe, reply)
            in_a_row = 0
            time.sleep(releases.settings.release.poll_seconds)
            continue
        served = _served(reply)
        if (served != (version, digest)) if digest else (served in _known(releases)):
            wanted = f"v{version} and the digest {digest}" if digest else f"v{version}, which another project made"
            raise DeploymentFailedError(f"{deployment.url} answered {probe} with {served or reply}, not with {wanted}.")
        in_a_row += 1
    log.info("%s answered %s times with v%s (%s)", deployment.url, probes.consecutive_answers, version, digest[:12])


def _known(releases: Releases) -> set[tuple[object, object]]:
    return {(version.number, version.digest) for version in releases.ledger.book().versions.values() if version.digest}


def _probe(ask: Callable[[object], Reply]) -> Reply | TransientError:
    """Return the reply to a probe, or why there is none."""
    try:
        return ask({"user_id": "recdeploy-probe", "top_k": 1})
    except TransientError as err:
        return err


def _served(reply: Reply) -> tuple[object, object] | None:
    body = reply.body
    if reply.status != HTTPStatus.OK or not isinstance(body, dict) or "recommendations" not in body:
        return None
    return body.get("model_version"), body.get("digest")


def _intend(releases: Releases, run_id: str, kind: Kind, switch: Switch) -> SwitchIntent:
    facts: Facts | None = releases.release(run_id).get(kind)
    if facts is None or facts["goal"] != switch.goal or facts["deployment_id"] != switch.deployment_id:
        newest = releases.deployments.newest_work_request(switch.deployment_id)
        minutes = releases.settings.release.deployment_timeout_minutes
        facts = {
            "deployment_id": switch.deployment_id,
            "goal": switch.goal,
            "version": switch.version,
            "seen_work_request": newest.work_request_id if newest else None,
            "deadline": (releases.now() + timedelta(minutes=minutes)).isoformat(),
        }
        releases.record(kind, run_id, facts)
    return SwitchIntent(
        goal=facts["goal"],
        seen_work_request=facts["seen_work_request"],
        deadline=datetime.fromisoformat(facts["deadline"]),
    )
