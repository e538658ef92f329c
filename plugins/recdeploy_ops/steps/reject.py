"""Step 13: refuse the candidate; production stays as it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.steps import removals

if TYPE_CHECKING:
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Delete TEST, make the champion's artifact and results current again, record who refused and why."""
    release = releases.release(run_id)
    waiting = removals.advance_test_removal(releases, run_id)
    if waiting:
        return waiting
    answer = releases.facts(release, Kind.APPROVAL_ANSWERED)
    reason = "nobody answered in time" if answer["timed_out"] else answer["comment"] or "no reason given"
    return refuse(releases, run_id, by=answer["by"], reason=reason)


def refuse(releases: Releases, run_id: str, *, by: str, reason: str) -> dict[str, object]:
    """Record a rejection and make the champion's files current again.

    Args:
        releases: what the steps work with.
        run_id: the run.
        by: who refused.
        reason: why.
    """
    version = releases.release(run_id).version
    book = releases.ledger.book()
    champion = book.versions.get(book.production.version) if book.production else None
    if champion:
        releases.point_current(
            version=champion.number,
            digest=champion.digest,
            artifact=champion.artifact,
            results=champion.results,
        )
    releases.record(Kind.RELEASE_REJECTED, run_id, {"version": version, "by": by, "reason": reason})
    releases.publish_state()
    serving = f"production stays on v{champion.number}" if champion else "there is no production yet"
    log.info("v%s is rejected by %s (%s); %s.", version, by, reason, serving)
    return {
        "version": version,
        "by": by,
        "reason": reason,
        "production": champion.number if champion else None,
    }
