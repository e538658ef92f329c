"""Step 13: refuse the candidate; production stays as it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.rollout import deletion
from recdeploy_ops.rollout.rejection import refuse

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str) -> Outcome:
    """Delete TEST, make the champion's artifact and results current again, record who refused and why."""
    release = releases.release(run_id)
    waiting = deletion.advance_test_removal(releases, run_id)
    if waiting:
        return waiting
    answer = releases.facts(release, Kind.APPROVAL_ANSWERED)
    reason = "nobody answered in time" if answer["timed_out"] else answer["comment"] or "no reason given"
    return refuse(releases, run_id, by=answer["by"], reason=reason)
