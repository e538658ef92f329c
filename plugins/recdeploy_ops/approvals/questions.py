"""The question that a person is asked, with the evidence."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.approvals.evidence import Evidence, render_evidence, render_notices, render_rollback
from recdeploy_ops.approvals.verdicts import render_verdict
from recdeploy_ops.domain.events import (
    ApprovalRequested,
    ArtifactBuilt,
    CandidateChecked,
    CandidateEvaluated,
    DataChecked,
    DataExtracted,
    ModelRegistered,
    ModelTrained,
    Promoted,
    RollbackRehearsed,
    TestValidated,
)
from recdeploy_ops.domain.freezes import find_remedy
from recdeploy_ops.domain.gates.endpoint import Agreement, ChangeFacts, EndpointFacts, LatencyFacts
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict
from recdeploy_ops.domain.production_checks import reconcile
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.domain.sizes import RESIZE_PART
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.evaluation.release_report import build_report, page_key, store_report
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.rollout.freezes import current_freezes
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.tagging import tag_with_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release

log = logging.getLogger(__name__)

PREEMPTION = "A rollback preempts this question: it stays here, but an answer is then refused."


@dataclass(frozen=True)
class Question:
    """A question to a person.

    Attributes:
        subject: one line.
        body: the evidence, Markdown.
        version: to promote, or to roll back to.
        digest: its digest, which the answer is bound to.
    """

    subject: str
    body: str
    version: int
    digest: str


def ask(context: ReleaseContext, *, attempt: int, notice: str | None = None, link: str | None = None) -> Question:
    """Record that a person is asked whether to promote, and return the question with its evidence.

    Args:
        context: of the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
        notice: what to say first, e.g. why it is asked again.
        link: address of the report; None if it has none.
    """
    release = context.confirm_lock()
    artifact = context.open_bundle(ArtifactBuilt)
    reconcile(context.state, find_production(context))
    notices = [*filter(None, [notice]), *_note_repetition(release, attempt)]
    if release.retrain_params.skip_test_deployment:
        notices.append("TEST was skipped (skip_test_deployment): nothing was served before this approval.")
    notices += _note_freezes(context)
    parts = fingerprints.read_parts(context)
    report = build_report(context, _judge_size(parts))
    page = store_report(context, report)
    verdict = Verdict(report["verdict"])
    _record_question(context, attempt, artifact.digest, {**parts, fingerprints.PAGE_PART: page}, verdict)
    serving = context.state.production
    replaces = _describe_effect(release.version, serving.version if serving else None)
    return Question(
        subject=f"Promote v{release.version} of {context.project}{replaces}?",
        body="\n\n".join(
            [
                *render_notices(notices),
                render_verdict(report, link or f"{context.store.uri}/{page_key(context.run_id, page)}"),
                describe_evidence(context, context.release),
                PREEMPTION,
            ]
        ),
        version=release.version,
        digest=artifact.digest,
    )


def ask_rollback(context: ReleaseContext, *, attempt: int, notice: str | None = None) -> Question | None:
    """Record that a person is asked whether to roll back, and return the question; None if nobody is to be asked.

    Args:
        context: of the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
        notice: what to say first, e.g. why it is asked again.
    """
    release = context.confirm_lock()
    params = release.rollback_params
    if not params.require_approval:
        return None
    notices = [*filter(None, [notice]), *_note_repetition(release, attempt)]
    target, serving = context.state.versions[release.version], context.state.production
    way = "forward" if serving and target.number > serving.version else "back"
    if target.doubt:
        notices.append(target.doubt)
    rehearsed = release.require(RollbackRehearsed)
    parts = fingerprints.read_rollback_parts(context)
    _record_question(context, attempt, target.digest, parts)
    facts = {
        f"rolls {way} to": f"v{target.number}",
        "its digest": target.digest or "not made by this project",
        "approval fingerprint": fingerprints.fingerprint_of(parts),
        "production serves": f"v{serving.version} since {serving.since}" if serving else "nothing",
        "at": serving.url if serving else "no URL",
        "rehearsed in": f"{rehearsed.seconds} s",
        "rehearsed how": "loaded on a worker" if rehearsed.deployment_id is None else "served by a test deployment",
        "requested by": release.opened.triggered_by or "a schedule",
    }
    return Question(
        subject=f"Roll {context.project} {way} to v{target.number}?",
        body=render_rollback(params.reason or "", notices, facts),
        version=target.number,
        digest=target.digest,
    )


def tag_question(context: ReleaseContext) -> None:
    """Tag the model in question with the ledger head, so that tampering with earlier entries is detectable."""
    model = context.release.get(ModelRegistered) or context.release.get(RollbackRehearsed)
    if model is not None:
        tag_with_head(context, model.model_id)


def describe_evidence(context: ReleaseContext, release: Release, notices: Sequence[str] = ()) -> str:
    """Return the measurements behind a release's question, as Markdown.

    Args:
        context: of the run.
        release: the release, open or closed.
        notices: what to know first.
    """
    extracted = release.require(DataExtracted)
    offline = read_report(context.store, release.require(CandidateChecked))
    online = read_report(context.store, release.require(TestValidated))
    details = online["details"]
    replaced = context.state.production
    if release.get(Promoted) and replaced and replaced.version == release.version:
        replaced = context.state.previous_champion
    metrics = release.require(ModelTrained).metrics
    question = release.require(ApprovalRequested)
    gates = {
        "data": read_report(context.store, release.require(DataChecked)),
        "candidate": offline,
        "lists": read_report(context.store, release.require(CandidateEvaluated)),
        "TEST": online,
        "production": {"findings": _judge_size(question.parts)},
    }
    return render_evidence(
        Evidence(
            version=release.version,
            digest=offline["details"]["digest"],
            fingerprint=question.fingerprint,
            production=f"v{replaced.version} since {replaced.since}" if replaced else None,
            rehearsed=_describe_rehearsal(release),
            notices=notices,
            data={**extracted.rows, "newest interaction": extracted.newest_interaction or "unknown"},
            metrics={"RMSE": metrics.get("rmse"), "MAE": metrics.get("mae")},
            gates=gates,
            endpoint=_read_endpoint(details["endpoint"]) if "endpoint" in details else None,
            latency=LatencyFacts(**details["latency"]) if "latency" in details else None,
            changes=ChangeFacts(**details["changes"]) if details.get("changes") else None,
            samples=details.get("samples", {}),
            titles=details.get("titles", {}),
        )
    )


def _describe_effect(version: int, serving: int | None) -> str:
    if serving is None:
        return ", the first in production"
    return ", which serves already" if version == serving else f", which replaces v{serving} in production"


def _judge_size(parts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the findings of a gate that is judged with the question: a resize of production is a HOLD."""
    resize = parts.get(RESIZE_PART)
    if resize is None:
        return []
    finding = Finding("size", Verdict.HOLD, None, "stays", f"Once promoted, production is resized {resize}.")
    return [{"run": "production", **asdict(finding), "value": "changes"}]


def _note_freezes(context: ReleaseContext) -> list[str]:
    """Return what to know before an answer: that promotions are frozen, and that the version was rolled back."""
    notes = []
    freezes, serving = current_freezes(context), context.state.production
    if freezes:
        remedy = find_remedy(freezes).describe(Audience.AIRFLOW)
        notes += [f"When this was asked, promotions were frozen {freeze}." for freeze in freezes]
        notes.append(f"Promote is refused while they are. {remedy}")
    version = context.state.versions[context.release.version]
    if version.stage is Stage.RETIRED and serving and serving.version < version.number:
        notes.append(f"v{version.number} was in production and was rolled back: the history says why.")
    return notes


def _note_repetition(release: Release, attempt: int) -> list[str]:
    earlier = release.get(ApprovalRequested)
    if earlier is None or earlier.attempt == attempt:
        return []
    notice = "Asked again: an earlier answer to this question was lost or is void, and does not count."
    log.warning(notice)
    return [notice]


def _record_question(
    context: ReleaseContext, attempt: int, digest: str, parts: Mapping[str, str], verdict: Verdict | None = None
) -> None:
    question = ApprovalRequested(
        attempt=attempt,
        version=context.release.version,
        digest=digest,
        parts=dict(parts),
        fingerprint=fingerprints.fingerprint_of(parts),
        verdict=verdict,
    )
    context.record(question)
    tag_question(context)


def _describe_rehearsal(release: Release) -> str | None:
    """Return which rollback was rehearsed in this run, and how long that took."""
    rehearsed = release.get(RollbackRehearsed)
    return f"v{rehearsed.version} in {rehearsed.seconds} s" if rehearsed else None


def _read_endpoint(stored: dict[str, Any]) -> EndpointFacts:
    agreements = {name: Agreement(**stored[name]) for name in ("known", "unknown", "malformed")}
    return EndpointFacts(**{**stored, **agreements})
