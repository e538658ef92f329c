"""Closing a release: nothing of the run is left behind, and the lock is free."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError, RecdeployError, TransientError
from recdeploy_ops.domain.ledger import ROLLBACK, Kind
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout import deletion, rejection, restoration, tagging

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Release
    from recdeploy_ops.domain.waiting import Outcome, Waiting
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


CHANGED_PRODUCTION = frozenset({"promoted", "rolled back"})


def advance_closing(releases: Releases, run_id: str) -> Outcome:
    """Settle production, delete this run's TEST deployment, record the outcome and free the lock.

    The lock is freed even when the deletion is refused: the task then fails and names what is left.

    Raises:
        DeploymentFailedError: production or TEST could not be settled; says what a person must do.
        TransientError: trying again may help; nothing is closed yet.
    """
    release = releases.ledger.book().releases.get(run_id)
    if release is None:
        log.info("The run %s never opened a release: there is nothing to close.", run_id)
        return {"outcome": None}
    waiting, trouble = _settle(releases, release)
    if waiting:
        return waiting
    outcome = _close(releases, releases.ledger.book().releases[run_id])
    if trouble:
        raise DeploymentFailedError(f"The release of {run_id} is closed ({outcome}), but {trouble}")
    labelling = None
    if outcome in CHANGED_PRODUCTION:
        labelling = tagging.advance_label(releases)
    else:  # production is left alone, its tags too
        tagging.label_model(releases)
    return labelling or {"outcome": outcome, "version": release.version}


def _settle(releases: Releases, release: Release) -> tuple[Waiting | None, str | None]:
    """Bring production and TEST to rest; return what to wait for, and what a person must see to."""
    waiting = None
    try:
        if release.is_open:
            waiting = restoration.advance_settlement(releases, release)
        waiting = waiting or deletion.advance_test_removal(releases, release.run_id)
    except (TransientError, PromotionFailedError):
        raise
    except RecdeployError as err:
        if release.open_switch is not None and releases.ledger.book().production is not None:
            raise  # production is not settled: nothing is closed
        return None, f"its TEST deployment could not be deleted: {err}"
    now = releases.ledger.book().releases[release.run_id]
    is_lost = now.is_open and now.get(Kind.PRODUCTION_LOST) is not None
    return waiting, restoration.describe_settlement(releases, now) if is_lost else None


def _close(releases: Releases, release: Release) -> str:
    if not release.is_open:
        return release.outcome or "failed"
    serving = releases.ledger.book().production
    if serving and serving.version == release.version and release.get(Kind.PROMOTED):
        outcome = "promoted"
    elif serving and serving.version == release.version and release.get(Kind.ROLLED_BACK):
        outcome = "rolled back"
    elif release.purpose == ROLLBACK:
        answer = release.get(Kind.APPROVAL_ANSWERED)
        outcome = "rejected" if answer and answer["decision"] == Decision.KEEP else "failed"
    elif release.get(Kind.RELEASE_REJECTED):
        outcome = "rejected"
    else:
        outcome = "failed"
        rejection.refuse(releases, release.run_id, by="recdeploy", reason=_find_reason(release))
    seen = tagging.newest_change(releases, serving)
    closing = {"outcome": outcome, "version": release.version, "seen_work_request": seen}
    releases.record(Kind.RELEASE_CLOSED, release.run_id, closing)
    releases.publish_state()
    log.info("The release of v%s is closed: %s.", release.version, outcome)
    return outcome


def _find_reason(release: Release) -> str:
    failure = release.get(Kind.PROMOTION_FAILED)
    if failure:
        return f"promotion failed: {failure['reason']}"
    for kind in (Kind.DATA_CHECKED, Kind.CANDIDATE_CHECKED, Kind.TEST_VALIDATED):
        facts = release.get(kind)
        if facts and facts["verdict"] == "FAIL":
            return f"{kind} said FAIL: see {facts['report']}"
    return "the run ended before the candidate was promoted: see its failed tasks"
