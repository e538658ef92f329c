"""What OCI runs now, against what the ledger says: read only, for the page *Recommender*."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, TransientError
from recdeploy_ops.domain.promotions import GONE, Observed
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.sizes import describe_shape
from recdeploy_ops.ledger.audits import HEAD
from recdeploy_ops.oci_clients.tags import (
    LEDGER_TAG,
    PROJECT_TAG,
    ROLE_TAG,
    digest_of,
    has_role,
    version_number,
)
from recdeploy_ops.rollout.holdings import is_orphan
from recdeploy_ops.rollout.production import names_unknown_ledger
from recdeploy_ops.rollout.switches import PROBE, is_expected, served_release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.promotions import Call
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Serving


@dataclass(frozen=True)
class LiveDeployment:
    """A deployment of the project, as OCI has it.

    Attributes:
        role: ``production`` or ``test``; empty if its tag is something else.
        name: display name.
        deployment_id: OCID.
        state: OCI's lifecycle state.
        is_healthy: whether it is ACTIVE.
        details: OCI's lifecycle details; may be empty.
        version: that its model is of by the ledger, or else its tag's; None if neither says.
        digest: in its tags; may be empty.
        model_id: OCID of the model that it is configured to serve.
        url: where it answers, without ``/predict``.
        size: in words.
        created_at: ISO 8601.
    """

    role: str
    name: str
    deployment_id: str
    state: str
    is_healthy: bool
    details: str
    version: int | None
    digest: str
    model_id: str
    url: str
    size: str
    created_at: str


@dataclass(frozen=True)
class LiveState:
    """What OCI runs.

    Attributes:
        deployments: of the project, production first; those that are deleted are left out.
        answer: what production's URL answers to one request, in words; empty without production.
        differences: from the ledger, one sentence each.
    """

    deployments: tuple[LiveDeployment, ...]
    answer: str
    differences: tuple[str, ...]


def read_live_state(context: ReleaseContext) -> LiveState:
    """Return what OCI runs, and how it differs from the ledger. One request is sent to production's URL.

    Raises:
        CloudRefusedError: OCI refused to list the deployments.
        CloudUnavailableError: OCI does not answer.
    """
    serving = context.refresh().production
    present = [listed for listed in context.deployments.all() if not listed.lifecycle_state.is_deleted]
    ours = [listed for listed in present if _is_ours(context, listed)]
    ours.sort(key=lambda listed: not _is_production(context, listed))
    answer, answers_as_recorded = _probe(context, serving) if serving else ("", True)
    differences = [
        *_compare_production(context, ours),
        *([] if answers_as_recorded else [f"Production's URL: {answer}."]),
        *_compare_tests(context, ours),
    ]
    return LiveState(tuple(_describe(context, listed) for listed in ours), answer, tuple(differences))


def observe_calls(context: ReleaseContext, calls: Sequence[Call]) -> Observed:
    """Return what OCI says of the targets of calls that the ledger does not record.

    Args:
        context: of the run; its catalog and deployments are read.
        calls: as `list_calls` returns them.

    Raises:
        CloudUnavailableError: OCI does not answer.
    """
    states, heads = {}, {}
    for target in {call.target for call in calls if call.target}:
        try:
            if ".datasciencemodeldeployment." in target:
                deployment = context.deployments.get(target)
                states[target], tags = str(deployment.lifecycle_state), deployment.tags
            else:
                tags = context.catalog.get(target).tags
        except CloudRefusedError as err:
            if err.status == HTTPStatus.NOT_FOUND:
                states[target] = GONE
            continue
        head = tags.get(LEDGER_TAG, "")
        heads[target] = int(head.partition(":")[0]) if HEAD.fullmatch(head) else 0
    return Observed(states, heads)


def _is_ours(context: ReleaseContext, listed: Deployment) -> bool:
    return listed.tags.get(PROJECT_TAG) == context.project or _is_production(context, listed)


def _is_production(context: ReleaseContext, listed: Deployment) -> bool:
    serving = context.state.production
    is_recorded = serving is not None and serving.deployment_id == listed.deployment_id
    return is_recorded or has_role(listed.tags, context.project, Role.PRODUCTION)


def _describe(context: ReleaseContext, listed: Deployment) -> LiveDeployment:
    by_model = {version.model_id: number for number, version in context.state.versions.items()}
    role = listed.tags.get(ROLE_TAG, "")
    return LiveDeployment(
        role=str(Role.PRODUCTION) if _is_production(context, listed) else role if role == Role.TEST else "",
        name=listed.name,
        deployment_id=listed.deployment_id,
        state=str(listed.lifecycle_state),
        is_healthy=listed.lifecycle_state.is_active,
        details=listed.details,
        version=by_model.get(listed.model_id, version_number(listed.tags)),
        digest=digest_of(listed.tags),
        model_id=listed.model_id,
        url=listed.url,
        size=describe_shape(listed.shape),
        created_at=listed.created_at.isoformat(),
    )


def _probe(context: ReleaseContext, serving: Serving) -> tuple[str, bool]:
    """Return what production's URL answers, in words, and whether that is what the ledger has.

    An imported version has no digest: as for `verify_serving`, its answer must have the status 200.
    """
    ask = context.deployments.asker(serving.url, timeout_seconds=context.settings.probes.timeout_seconds, fresh=True)
    try:
        reply = ask(PROBE)
    except (CloudRefusedError, TransientError) as err:
        return f"it does not answer ({err.message})", False
    served = served_release(reply)
    is_right = reply.status == HTTPStatus.OK and is_expected(context, served, serving.version, serving.digest)
    if served is None:
        return f"it does not answer as a recommender ({reply})", is_right
    if not any(served):
        return "it answers, and names no version", is_right
    return f"it answers with v{served[0]}, digest {str(served[1])[:12]}", is_right


def _compare_production(context: ReleaseContext, ours: Sequence[Deployment]) -> list[str]:
    serving = context.state.production
    tagged = [listed for listed in ours if has_role(listed.tags, context.project, Role.PRODUCTION)]
    if serving is None:
        return [f"The ledger has no production, but {listed.name} is tagged as production." for listed in tagged]
    others = [
        f"{listed.name} ({listed.deployment_id}) is tagged as production too."
        for listed in tagged
        if listed.deployment_id != serving.deployment_id
    ]
    production = next((listed for listed in ours if listed.deployment_id == serving.deployment_id), None)
    if production is None or production.lifecycle_state.is_gone:
        return [f"Production ({serving.deployment_id}) is deleted, and the ledger says that it serves.", *others]
    is_switching = context.state.is_switching
    lines = []
    if not production.lifecycle_state.is_active and not is_switching:
        lines.append(f"Production is {production.lifecycle_state}, not ACTIVE. {production.details}".strip())
    if production.model_id != serving.model_id and not is_switching:
        lines.append(f"Production is configured for the model {production.model_id}, not for {serving.model_id}.")
    if production not in tagged:
        lines.append(f"Production ({production.name}) is not tagged as production of {context.project}.")
    if mismatch := names_unknown_ledger(context, production):
        lines.append(f"This storage does not belong to production: {mismatch}.")
    return lines + others


def _compare_tests(context: ReleaseContext, ours: Sequence[Deployment]) -> list[str]:
    """Return the test deployments that nothing needs, one sentence each."""
    return [
        f"The test deployment {listed.name} is left over: housekeeping deletes it."
        for listed in ours
        if has_role(listed.tags, context.project, Role.TEST)
        and not listed.lifecycle_state.is_gone
        and not _is_production(context, listed)
        and is_orphan(listed, context.state, context.now())
    ]
