"""Step 11: ask a person, with the evidence; keep the answer, bound to the digest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.ledger import Kind

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

PROMOTE = "Promote"
REJECT = "Reject"


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
        decision: `PROMOTE` or `REJECT`.
        by: name of who answered; None after a timeout.
        at: when.
        comment: what was written beside it.
        timed_out: nobody answered in time.
    """

    decision: str
    by: str | None
    at: datetime
    comment: str
    timed_out: bool


def ask(releases: Releases, run_id: str, *, attempt: int) -> Question:
    """Record that a person is asked, and return the question with its evidence.

    Args:
        releases: what the steps work with.
        run_id: the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
    """
    release = releases.release(run_id)
    artifact = releases.bundle(release, Kind.ARTIFACT_BUILT)
    earlier = release.get(Kind.APPROVAL_REQUESTED)
    again = earlier is not None and earlier["attempt"] != attempt
    facts = {"attempt": attempt, "version": release.version, "digest": artifact.digest}
    release = releases.record(Kind.APPROVAL_REQUESTED, run_id, facts)
    serving = releases.ledger.book().production
    replaces = f", which replaces v{serving.version} in production" if serving else ", the first in production"
    return Question(
        subject=f"Promote v{release.version} of {releases.settings.project_name}{replaces}?",
        body=describe_evidence(releases, release, asked_again=again),
        version=release.version,
        digest=artifact.digest,
    )


def keep(releases: Releases, run_id: str, answer: Answer, *, attempt: int) -> dict[str, Any]:
    """Record an answer, bound to the digest that was asked about.

    Raises:
        MissingInputError: nobody was asked, or what was asked about was made anew meanwhile.
    """
    asked = releases.facts(releases.release(run_id), Kind.APPROVAL_REQUESTED)
    facts = {
        "decision": answer.decision,
        "by": answer.by or "nobody (timeout)",
        "at": answer.at.isoformat(),
        "comment": answer.comment,
        "timed_out": answer.timed_out,
        "attempt": attempt,
        "version": asked["version"],
        "digest": asked["digest"],
    }
    releases.record(Kind.APPROVAL_ANSWERED, run_id, facts)
    log.info("%s answered %s for v%s (%s).", facts["by"], answer.decision, asked["version"], asked["digest"][:12])
    return facts
