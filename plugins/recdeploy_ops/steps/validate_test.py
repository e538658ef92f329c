"""Step 11: probe the test deployment, alternating with production."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import CloudRefusedError, StateMismatchError, TransientError
from recdeploy_ops.domain.events import TestDeployed, TestValidated
from recdeploy_ops.domain.gates.endpoint import judge_endpoint, judge_latency
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.production_checks import confirm_switchable
from recdeploy_ops.domain.records import NO_ANSWER, Reply
from recdeploy_ops.domain.remedies import RunTask
from recdeploy_ops.evaluation.candidates import fetch_candidate
from recdeploy_ops.evaluation.endpoints import compare_latency, compare_with_production, probe_endpoint
from recdeploy_ops.evaluation.gate_runs import record_report
from recdeploy_ops.evaluation.probes import latency_requests
from recdeploy_ops.rollout.switches import patient_asker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.evaluation.candidates import Candidate
    from recdeploy_ops.evaluation.endpoints import Ask
    from recdeploy_ops.evaluation.probes import Expectation

log = logging.getLogger(__name__)

SKIPPED = GateReport(
    (
        Finding(
            gate="test_endpoint",
            verdict=Verdict.HOLD,
            value=None,
            threshold="a TEST deployment",
            message="skip_test_deployment is set: the candidate was never served before this approval.",
        ),
    )
)


def advance(context: ReleaseContext) -> Outcome:
    """Judge the answers of the test deployment.

    Raises:
        GateFailedError: an answer does not match `recommendations.csv` or the contract.
        CloudUnavailableError: the test deployment gave no answer after all repeats: nothing is judged.
        CloudRefusedError: OCI refused the requests.
        StateMismatchError: the test deployment is not ACTIVE; or production is not what the ledger says, or OCI would
            not switch it.
    """
    tested = context.confirm_lock().require(TestDeployed)
    if tested.deployment_id is None:
        log.warning("The test deployment was skipped: no endpoint to validate.")
        return record_report(context, TestValidated, SKIPPED, {"skipped": True})
    with fetch_candidate(context) as candidate:
        report, details = _probe(context, tested.deployment_id, candidate.expected)
        details["url"] = tested.url
        details["titles"] = _read_titles(context, candidate, details["samples"])
    return record_report(context, TestValidated, report, details)


def _probe(context: ReleaseContext, deployment_id: str, expected: Expectation) -> tuple[GateReport, dict[str, Any]]:
    probes = context.settings.probes
    ask_test = _ask_test(context, deployment_id)
    serving = context.state.production
    ask_production = _ask_production(context, serving.deployment_id) if serving else None
    answers = probe_endpoint(ask_test, expected=expected, malformed=probes.malformed_requests)
    latency = compare_latency(ask_test, ask_production, latency_requests(expected, probes.latency_requests))
    changes = compare_with_production(ask_production, expected) if ask_production else None
    details: dict[str, Any] = {
        "digest": expected.digest,
        "endpoint": asdict(answers),
        "latency": asdict(latency),
        "changes": asdict(changes) if changes else None,
        "samples": {user: ranking[:3] for user, ranking in list(expected.known.items())[:3]},
    }
    return judge_endpoint(answers, judge_latency(latency, context.settings.gates), changes), details


def _read_titles(
    context: ReleaseContext, candidate: Candidate, samples: dict[str, Sequence[tuple[str, float]]]
) -> dict[str, str]:
    """Return the titles of the items in the samples, if the query for items returns titles."""
    source = context.settings.source
    path = candidate.extract / "items.parquet"
    title = source.title_column
    if title is None or title not in pq.read_schema(path).names:
        return {}
    wanted = pa.array({item for ranking in samples.values() for item, _ in ranking}, pa.string())
    rows = pq.read_table(path, columns=[source.item_column, title], filters=pc.field(source.item_column).isin(wanted))
    return {
        item: str(text) for item, text in zip(*(column.to_pylist() for column in rows.columns), strict=True) if text
    }


def _ask_test(context: ReleaseContext, deployment_id: str) -> Ask:
    deployment = context.deployments.get(deployment_id)
    if not deployment.lifecycle_state.is_active:
        raise StateMismatchError(
            f"The test deployment, {deployment.name} ({deployment_id}), is {deployment.lifecycle_state}: it cannot be "
            "probed.",
            RunTask(task="deploy_test"),
        )
    return patient_asker(context, deployment.url)


def _ask_production(context: ReleaseContext, deployment_id: str) -> Ask:
    """Return what sends requests to production, which may be one that this release is to repair."""
    production = context.deployments.get(deployment_id)
    for line in confirm_switchable(context.state, production):
        log.info("%s", line)
    return _unless_lost(patient_asker(context, production.url))


def _unless_lost(ask: Ask) -> Ask:
    """Return a function that sends requests to production until one is lost, and then only returns `NO_ANSWER`."""
    is_lost = False

    def ask_unless_lost(request: object) -> Reply:
        nonlocal is_lost
        if not is_lost:
            try:
                return ask(request)
            except (TransientError, CloudRefusedError) as err:
                log.warning("Production is not measured further: %s", err)
                is_lost = True
        return Reply(NO_ANSWER, None, 0.0)

    return ask_unless_lost
