"""Rejecting a candidate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind

if TYPE_CHECKING:
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


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
