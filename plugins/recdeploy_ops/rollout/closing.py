"""Close a release: clean up after the run and free the lock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import (
    NEEDS_A_PERSON,
    DeploymentFailedError,
    PromotionFailedError,
    RecdeployError,
    TransientError,
)
from recdeploy_ops.domain.events import (
    CHANGED_PRODUCTION,
    ApprovalAnswered,
    CandidateChecked,
    CandidateEvaluated,
    DataChecked,
    Promoted,
    ReleaseClosed,
    ReleaseOutcome,
    ReleaseRejected,
    RolledBack,
    SwitchFailed,
    SwitchStarted,
    TestValidated,
)
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout import automatic_rollbacks, deletion, rejection, restoration, tagging
from recdeploy_ops.rollout.production_reports import reporting_production

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.waiting import Outcome, Waiting

log = logging.getLogger(__name__)


def advance_closing(context: ReleaseContext) -> Outcome:
    """Restore production, delete the run's test deployment, record the outcome and free the lock.

    A release whose switch is open keeps the lock. Otherwise the lock is freed even if OCI refuses to delete the test
    deployment: the task then fails and names what is left.

    Raises:
        DeploymentFailedError: production or the test deployment needs a person; says what to do.
        PromotionFailedError: production was being switched and could not be restored.
        TransientError: trying again may help; nothing is closed yet.
    """
    with reporting_production(context):
        return _advance(context)


def _advance(context: ReleaseContext) -> Outcome:
    release = context.refresh().releases.get(context.run_id)
    if release is None:
        log.info("The run %s never opened a release: nothing to close.", context.run_id)
        return {"outcome": None}
    waiting, problem = _bring_to_rest(context, release)
    if waiting:
        return waiting
    outcome = _close(context)
    if problem:
        raise _closed_with(problem, context.run_id, outcome)
    tagging_wait = None
    if outcome in CHANGED_PRODUCTION:
        tagging_wait = tagging.advance_tagging(context)
    else:  # production and its tags are unchanged
        tagging.tag_model(context)
    return tagging_wait or {"outcome": str(outcome), "version": release.version}


def _bring_to_rest(context: ReleaseContext, release: Release) -> tuple[Waiting | None, DeploymentFailedError | None]:
    """Restore production and delete the test deployment; return what to wait for, and what needs a person."""
    waiting = problem = None
    try:
        if release.is_open:
            waiting = automatic_rollbacks.advance_interrupted_rollback(context)
            waiting = waiting or restoration.advance_restoration(context)
        waiting = waiting or deletion.advance_test_deletion(context)
    except (TransientError, PromotionFailedError):
        raise
    except RecdeployError as err:
        if context.state.releases[context.run_id].open_switch is not None and context.state.production is not None:
            raise  # the champion is not restored: nothing is closed
        is_first = context.state.production is None and release.get(SwitchStarted) is not None
        what = "the first production that it began to make" if is_first else "its test deployment"
        problem = DeploymentFailedError(f"{what} could not be deleted: {err.message}", err.remedy)
    champion, current = context.state.production, context.state.releases[context.run_id]
    lost = restoration.find_lost_production(current, champion) if current.is_open and champion else None
    if lost and problem:
        lost = DeploymentFailedError(f"{lost.message} Besides, {problem.message}", lost.remedy)
    return waiting, lost or problem


def _closed_with(problem: DeploymentFailedError, run_id: str, outcome: ReleaseOutcome) -> DeploymentFailedError:
    closed = f"The release of {run_id} is closed ({outcome})"
    if problem.message.startswith(NEEDS_A_PERSON):
        return DeploymentFailedError(f"{problem.message} {closed}.", problem.remedy)
    return DeploymentFailedError(f"{closed}, but {problem.message}", problem.remedy)


def _close(context: ReleaseContext) -> ReleaseOutcome:
    release = context.state.releases[context.run_id]
    if not release.is_open:
        return release.outcome or ReleaseOutcome.FAILED
    outcome = decide_outcome(context.state, release)
    if outcome is ReleaseOutcome.FAILED and not release.is_rollback:
        rejection.reject_candidate(context, by="recdeploy", reason=_find_reason(release))
    # Only the tagging of production needs it: a release that did not change production is closed without OCI.
    seen = tagging.newest_change(context, context.state.production) if outcome in CHANGED_PRODUCTION else None
    context.record(ReleaseClosed(outcome=outcome, version=release.version, seen_work_request=seen, by=None))
    context.publish_state()
    log.info("The release of v%s is closed: %s.", release.version, outcome)
    return outcome


def decide_outcome(state: LedgerState, release: Release) -> ReleaseOutcome:
    """Return the outcome of a release that is about to be closed."""
    serving = state.production.version if state.production else None
    back = release.get(RolledBack)  # of a release that was promoted, if its bake has rolled it back
    if back and back.version == serving:
        return ReleaseOutcome.ROLLED_BACK
    if release.get(Promoted) and release.version == serving:
        return ReleaseOutcome.PROMOTED
    answer = release.get(ApprovalAnswered)
    was_kept = release.is_rollback and answer is not None and answer.decision is Decision.KEEP
    return ReleaseOutcome.REJECTED if was_kept or release.get(ReleaseRejected) else ReleaseOutcome.FAILED


def _find_reason(release: Release) -> str:
    failure = release.get(SwitchFailed)
    if failure:
        return f"promotion failed: {failure.reason}"
    for kind in (DataChecked, CandidateChecked, CandidateEvaluated, TestValidated):
        gate = release.get(kind)
        if gate and gate.verdict is Verdict.FAIL:
            return f"{gate.type} said FAIL: see {gate.report}"
    return "the run ended before the candidate was promoted: see its failed tasks"
