"""Step 14: watch the promoted version; if it is degraded, take production back to the previous champion."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.domain.baking import BakeMove, BakeResult, Health, count_windows, decide, judge_window
from recdeploy_ops.domain.errors import (
    BakeHeldError,
    CloudRefusedError,
    CloudUnavailableError,
    LockHeldError,
    MissingInputError,
    PromotionFailedError,
)
from recdeploy_ops.domain.events import (
    BakeEnded,
    BakeStarted,
    BaselineMeasured,
    Promoted,
    ReleaseClosed,
    ReleaseOutcome,
    RolledBack,
    SwitchFailed,
    WindowJudged,
)
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.evaluation.served_lists import expect_served
from recdeploy_ops.evaluation.watching import count_probes, measure, plan_watch, probe_production
from recdeploy_ops.rollout.automatic_rollbacks import advance_automatic_rollback
from recdeploy_ops.rollout.production_reports import reporting_production

if TYPE_CHECKING:
    from datetime import datetime

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.baking import Measurements, NextStep
    from recdeploy_ops.domain.waiting import Outcome, Summary

log = logging.getLogger(__name__)

LEVEL = {Health.HEALTHY: logging.INFO, Health.DEGRADED: logging.ERROR, Health.MISSING: logging.WARNING}


def advance(context: ReleaseContext) -> Outcome:
    """Judge one window after the other until the version has passed, is held, or is rolled back.

    A rollback that a person requests preempts the bake: it ends, and the task is done.

    Raises:
        PromotionFailedError: the version was degraded: production serves the previous champion again, or the error
            says what it serves.
        BakeHeldError: it could not be judged; it stays in production.
        StateMismatchError: somebody has changed production by hand.
        SwitchInterruptedError: trying again may help; says what state production is in.
    """
    try:
        with reporting_production(context):
            return _advance(context)
    except (MissingInputError, LockHeldError):
        preempted = _find_preemption(context)
        if preempted is None:
            raise
        return preempted


def _advance(context: ReleaseContext) -> Outcome:
    release = context.confirm_lock()
    if release.get(BakeEnded):
        return _finish(context)
    if release.is_rolling_back or (release.get(BakeStarted) and release.get(RolledBack)):
        return _roll_back(context)
    started = release.get(BakeStarted) or _begin(context)
    if started is None:
        return _finish(context)
    while True:
        judged = context.release.get(WindowJudged)
        step = decide(judged.windows, started.windows, can_roll_back=started.previous is not None) if judged else None
        if step and step.move is not BakeMove.CONTINUE:
            return _end(context, step)
        due = (judged.ended if judged else started.at) + timedelta(minutes=started.window_minutes)
        if context.now() < due:
            number = len(judged.windows) + 1 if judged else 1
            reason = (
                f"v{started.version} is being watched: window {number} of {started.windows} ends at {due:%H:%M} UTC"
            )
            return Waiting(None, reason, due)
        _judge_next(context, started, judged)


def _begin(context: ReleaseContext) -> BakeStarted | None:
    """Record that the bake begins, or that there is none: then return None."""
    release, settings = context.release, context.settings
    promoted = release.require(Promoted)
    minutes, length = settings.release.bake_minutes, settings.watch.window_minutes
    if not minutes:
        reason = f"v{promoted.version} was not watched: the setting release.bake_minutes is 0"
        context.record(BakeEnded(BakeResult.NOT_BAKED, reason))
        return None
    before = context.state.previous_champion
    started = BakeStarted(
        version=promoted.version,
        previous=before.version if before else None,
        windows=count_windows(minutes, length),
        window_minutes=length,
        at=context.now(),
    )
    context.record(started)
    log.info("v%s is watched for %s windows of %g minutes.", started.version, started.windows, length)
    return started


def _judge_next(context: ReleaseContext, started: BakeStarted, judged: WindowJudged | None) -> None:
    """Probe production, add what OCI has counted since the last probes, and record what the window says."""
    before = judged.windows if judged else ()
    window = _measure(context, started, judged)
    measured = context.release.get(BaselineMeasured)
    health, reasons = judge_window(window, measured.baseline if measured else None, context.settings.watch)
    log.log(
        LEVEL[health],
        "Window %s of v%s is %s: %s",
        len(before) + 1,
        started.version,
        health,
        "; ".join(reasons) or "as before",
    )
    context.record(
        WindowJudged(ended=context.now(), found=window, health=health, reasons=reasons, windows=(*before, health))
    )


def _measure(context: ReleaseContext, started: BakeStarted, judged: WindowJudged | None) -> Measurements:
    watch = context.settings.watch
    since = judged.ended if judged else started.at
    others, errors = _count_others(context, since, context.now())
    number = len(judged.windows) + 1 if judged else 1
    known, unknown, _ = count_probes(watch.requests)
    seed = context.release.retrain_params.seed + number
    expected = expect_served(context, context.state.versions[started.version], known=known, unknown=unknown, seed=seed)
    ends = context.now() + timedelta(minutes=started.window_minutes)
    answers = probe_production(
        context.deployments.sender(
            context.release.require(Promoted).url, timeout_seconds=context.settings.probes.timeout_seconds
        ),
        plan_watch(expected, watch.requests, seed=seed),
        expected,
        is_over=lambda: context.now() >= ends,
    )
    return measure(answers, others=others, errors_of_others=errors)


def _count_others(context: ReleaseContext, since: datetime, until: datetime) -> tuple[int, int]:
    """Return what OCI has counted between two rounds of probes: requests, and server errors; nothing if it refuses."""
    deployment_id = context.release.require(Promoted).deployment_id
    try:
        counts = context.monitoring.count_answers(deployment_id, since, until)
    except (CloudRefusedError, CloudUnavailableError) as err:
        log.warning("Only the probes are counted: %s", err)
        return 0, 0
    return counts.requests, counts.errors


def _end(context: ReleaseContext, step: NextStep) -> Outcome:
    if step.move is BakeMove.ROLL_BACK:
        return _roll_back(context)
    result = BakeResult.PASSED if step.move is BakeMove.PASS else BakeResult.HELD
    judged = context.release.require(WindowJudged)
    reason = "; ".join((step.reason, *judged.reasons))
    context.record(BakeEnded(result, reason))
    return _finish(context)


def _roll_back(context: ReleaseContext) -> Waiting | Summary:
    try:
        done = advance_automatic_rollback(context)
    except PromotionFailedError as err:
        if context.release.get(SwitchFailed) and context.release.open_switch is None:
            context.record(BakeEnded(BakeResult.ROLLBACK_FAILED, err.message))
        raise
    if isinstance(done, Waiting):
        return done
    reason = f"v{done.version} serves again at {done.url}, verified: {done.reason}"
    context.record(BakeEnded(BakeResult.ROLLED_BACK, reason))
    return _finish(context)


def _finish(context: ReleaseContext) -> Summary:
    """Return how the bake ended; raise unless the version has passed, or was not watched."""
    release = context.release
    ended = release.require(BakeEnded)
    match ended.result:
        case BakeResult.PASSED | BakeResult.NOT_BAKED:
            log.info("The bake of v%s: %s (%s)", release.version, ended.result, ended.reason)
            return {"bake": str(ended.result), "version": release.version}
        case BakeResult.HELD:
            raise BakeHeldError(
                f"v{release.version} stays in production, but its bake could not be passed: {ended.reason}.",
                Remedy("Look at production's logs and metrics, and roll back if customers get wrong answers"),
            )
        case BakeResult.ROLLED_BACK:
            raise PromotionFailedError(f"v{release.version} was rolled back automatically: {ended.reason}.")
        case BakeResult.ROLLBACK_FAILED:
            raise PromotionFailedError(ended.reason)


def _find_preemption(context: ReleaseContext) -> Summary | None:
    """Return that a rollback has closed this release while it was watched; None if it has not."""
    release = context.refresh().releases.get(context.run_id)
    closed = release.get(ReleaseClosed) if release and not release.is_open else None
    if release is None or closed is None or closed.by is None or closed.outcome is not ReleaseOutcome.PROMOTED:
        return None
    log.warning("The bake of v%s has ended: the rollback %s has taken its release over.", release.version, closed.by)
    return {"bake": "preempted", "by": closed.by, "version": release.version}
