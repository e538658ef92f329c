"""Step 11: ask a person, with the evidence; keep the answer, bound to the digest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals import fingerprints
from recdeploy_ops.approvals.evidence import Evidence, render_evidence, render_rollback
from recdeploy_ops.domain.errors import ApprovalError, SelfApprovalError
from recdeploy_ops.domain.gates.endpoint import Agreement, ChangeFacts, EndpointFacts, LatencyFacts
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import CHANGING_DECISIONS, Decision
from recdeploy_ops.domain.release_plan import reconcile
from recdeploy_ops.evaluation.reports import read_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

PREEMPTION = "A rollback pre-empts this question: it stays here, and an answer is refused then."


@dataclass(frozen=True)
class Question:
    """What a person is asked.

    Attributes:
        subject: one line.
        body: the evidence, Markdown.
        version: what would be promoted.
        digest: its digest, to which the answer is bound.
    """

    subject: str
    body: str
    version: int
    digest: str


@dataclass(frozen=True)
class Answer:
    """What a person answered, or a timeout.

    Attributes:
        decision: one of the question's options.
        by: name of who answered; None after a timeout.
        at: when.
        comment: what was written beside it.
        timed_out: nobody answered in time.
    """

    decision: Decision
    by: str | None
    at: datetime
    comment: str
    timed_out: bool


def ask(releases: Releases, run_id: str, *, attempt: int, notice: str | None = None) -> Question:
    """Record that a person is asked, and return the question with its evidence.

    Args:
        releases: what the steps work with.
        run_id: the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
        notice: what to say before all else, e.g. why it is asked again.
    """
    release = releases.release(run_id)
    artifact = releases.bundle(release, Kind.ARTIFACT_BUILT)
    reconcile(releases.ledger.book(), releases.production())
    notices = [*filter(None, [notice]), *_note_repetition(release, attempt)]
    if release.params["skip_test_deployment"]:
        notices.append("TEST was skipped (skip_test_deployment): nothing was served before this approval.")
    parts = fingerprints.read_parts(releases, release)
    release = _record_question(releases, release, attempt, artifact.digest, parts)
    serving = releases.ledger.book().production
    replaces = _describe_place(release.version, serving.version if serving else None)
    return Question(
        subject=f"Promote v{release.version} of {releases.settings.project_name}{replaces}?",
        body=f"{describe_evidence(releases, release, notices)}\n\n{PREEMPTION}",
        version=release.version,
        digest=artifact.digest,
    )


def ask_rollback(releases: Releases, run_id: str, *, attempt: int, notice: str | None = None) -> Question | None:
    """Record that a person is asked whether to roll back, and return the question; None when nobody is to be asked.

    Args:
        releases: what the steps work with.
        run_id: the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
        notice: what to say before all else, e.g. why it is asked again.
    """
    release = releases.release(run_id)
    if not release.params["require_approval"]:
        return None
    notices = [*filter(None, [notice]), *_note_repetition(release, attempt)]
    book = releases.ledger.book()
    target, serving = book.versions[release.version], book.production
    parts = fingerprints.read_rollback_parts(releases, release)
    release = _record_question(releases, release, attempt, target.digest, parts)
    serves = f"v{serving.version} since {serving.since}" if serving else "nothing"
    facts = {
        "goes back to": f"v{target.number}",
        "its digest": target.digest or "not made by this project",
        "approval fingerprint": fingerprints.fingerprint_of(parts),
        "production serves": serves,
        "at": serving.url if serving else "no URL",
        "rehearsed in": f"{release.facts[Kind.ROLLBACK_REHEARSED]['seconds']} s",
        "wanted by": release.facts[Kind.RELEASE_OPENED]["triggered_by"] or "a schedule",
    }
    return Question(
        subject=f"Roll {releases.settings.project_name} back to v{target.number}?",
        body=render_rollback(release.params["reason"] or "", notices, facts),
        version=target.number,
        digest=target.digest,
    )


def require_rollback_approved(releases: Releases, release: Release) -> None:
    """Refuse a rollback that was to be approved and was not, or not as it is now.

    Raises:
        ApprovalError: a person answered Keep, or what was approved has changed since.
        MissingInputError: nobody has answered.
    """
    if not release.params["require_approval"]:
        return
    answer = releases.facts(release, Kind.APPROVAL_ANSWERED)
    if answer["decision"] != Decision.ROLL_BACK:
        raise ApprovalError(f"The rollback to v{release.version} was refused: {answer['by']} answered to keep it.")
    asked = releases.facts(release, Kind.APPROVAL_REQUESTED)
    fingerprints.require_unchanged(asked, fingerprints.read_rollback_parts(releases, release))


def keep(releases: Releases, run_id: str, answer: Answer, *, attempt: int) -> dict[str, Any]:
    """Record an answer, bound to the digest that was asked about.

    Raises:
        MissingInputError: nobody was asked, or what was asked about was made anew meanwhile.
        ApprovalError: the answer is to an earlier try.
        SelfApprovalError: whoever triggered the run has approved it, which the settings forbid.
    """
    release = releases.release(run_id)
    asked = releases.facts(release, Kind.APPROVAL_REQUESTED)
    if asked["attempt"] != attempt:
        raise ApprovalError(
            f"This answers try {attempt} of the question, but try {asked['attempt']} was asked last. Clear the task "
            "'request_approval' to ask again."
        )
    triggered_by = releases.facts(release, Kind.RELEASE_OPENED)["triggered_by"]
    if (
        answer.decision in CHANGING_DECISIONS
        and answer.by == triggered_by
        and not releases.settings.release.self_approval
    ):
        raise SelfApprovalError(
            f"{answer.by} triggered this run and may not approve it (setting release.self_approval)."
        )
    facts = {
        "decision": str(answer.decision),
        "by": answer.by or "nobody (timeout)",
        "at": answer.at.isoformat(),
        "comment": answer.comment,
        "timed_out": answer.timed_out,
        "attempt": attempt,
        "version": asked["version"],
        "digest": asked["digest"],
        "fingerprint": asked["fingerprint"],
    }
    _sign(releases, releases.record(Kind.APPROVAL_ANSWERED, run_id, facts))
    log.info("%s answered %s for v%s (%s).", facts["by"], answer.decision, asked["version"], asked["digest"][:12])
    return facts


def _describe_place(version: int, serving: int | None) -> str:
    if serving is None:
        return ", the first in production"
    return ", which serves already" if version == serving else f", which replaces v{serving} in production"


def _note_repetition(release: Release, attempt: int) -> list[str]:
    earlier = release.get(Kind.APPROVAL_REQUESTED)
    if earlier is None or earlier["attempt"] == attempt:
        return []
    notice = "Asked again: an earlier answer to this question was lost or is void, and does not count."
    log.warning(notice)
    return [notice]


def _record_question(
    releases: Releases, release: Release, attempt: int, digest: str, parts: Mapping[str, str]
) -> Release:
    facts = {
        "attempt": attempt,
        "version": release.version,
        "digest": digest,
        "parts": dict(parts),
        "fingerprint": fingerprints.fingerprint_of(parts),
    }
    release = releases.record(Kind.APPROVAL_REQUESTED, release.run_id, facts)
    _sign(releases, release)
    return release


def _sign(releases: Releases, release: Release) -> None:
    """Let the model that is asked about name the ledger's head: what led here cannot be rewritten unnoticed."""
    model = release.get(Kind.MODEL_REGISTERED) or release.get(Kind.ROLLBACK_REHEARSED)
    if model is not None:
        releases.sign_head(model["model_id"])


def describe_evidence(releases: Releases, release: Release, notices: Sequence[str]) -> str:
    """Return everything that was measured on the way to a question that was asked, as Markdown.

    Args:
        releases: what the steps work with.
        release: the release, open or closed.
        notices: what to know before all else.
    """
    extracted = releases.facts(release, Kind.DATA_EXTRACTED)
    offline = read_report(releases, releases.facts(release, Kind.CANDIDATE_CHECKED))
    live = read_report(releases, releases.facts(release, Kind.TEST_VALIDATED))
    details = live["details"]
    book = releases.ledger.book()
    replaced = book.production
    if release.get(Kind.PROMOTED) and replaced and replaced.version == release.version:
        replaced = book.previous_champion
    metrics = releases.facts(release, Kind.MODEL_TRAINED)["metrics"]
    gates = {
        "data": read_report(releases, releases.facts(release, Kind.DATA_CHECKED)),
        "candidate": offline,
        "TEST": live,
    }
    return render_evidence(
        Evidence(
            version=release.version,
            digest=offline["details"]["digest"],
            fingerprint=releases.facts(release, Kind.APPROVAL_REQUESTED)["fingerprint"],
            production=f"v{replaced.version} since {replaced.since}" if replaced else None,
            way_back=_describe_way_back(release),
            notices=notices,
            data={**extracted["rows"], "newest interaction": extracted["newest_interaction"] or "unknown"},
            metrics={"RMSE": metrics.get("rmse"), "MAE": metrics.get("mae")},
            gates=gates,
            endpoint=_read_endpoint(details["endpoint"]) if "endpoint" in details else None,
            latency=LatencyFacts(**details["latency"]) if "latency" in details else None,
            changes=ChangeFacts(**details["changes"]) if details.get("changes") else None,
            samples=details.get("samples", {}),
            titles=details.get("titles", {}),
        )
    )


def _describe_way_back(release: Release) -> str | None:
    """Return which version was brought back on trial in this run, and how long that took."""
    rehearsed = release.get(Kind.ROLLBACK_REHEARSED)
    return f"v{rehearsed['version']} in {rehearsed['seconds']} s" if rehearsed else None


def _read_endpoint(stored: dict[str, Any]) -> EndpointFacts:
    agreements = {name: Agreement(**stored[name]) for name in ("known", "unknown", "malformed")}
    return EndpointFacts(**{**stored, **agreements})
