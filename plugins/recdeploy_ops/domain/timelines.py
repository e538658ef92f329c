"""The ledger as people ask for it: what was in production when, and what each release did, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeGuard

from recdeploy_ops.domain.events import (
    Adopted,
    ApprovalAnswered,
    ReleaseClosed,
    ReleaseOpened,
    ReleaseRejected,
    RollbackCause,
    RolledBack,
    SwitchFailed,
)
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.params import RollbackParams
from recdeploy_ops.domain.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.versions import Serving


AUTOMATIC = "recdeploy"  # decides an automatic rollback


@dataclass(frozen=True)
class Period:
    """A time in which production was verified to serve one version at one deployment.

    Attributes:
        serving: what it served, and since when.
        until: when the next period began, ISO 8601; None if this one lasts.
        run_id: the run that began it.
        how: the type of the event that began it, e.g. ``promoted``.
        by: who decided it; empty where nobody was asked.
        reason: why, in a person's words; may be empty.
    """

    serving: Serving
    until: str | None
    run_id: str
    how: str
    by: str
    reason: str


@dataclass(frozen=True)
class ReleaseSummary:
    """What one release did.

    Attributes:
        run_id: its run.
        dag_id: the run's DAG; ``notebook`` or ``terminal`` outside Airflow.
        purpose: ``retrain`` or ``rollback``.
        version: that it made, or went back to.
        opened_at: when it was first opened, ISO 8601.
        closed_at: when it was last closed, ISO 8601; None while it is open.
        outcome: how it ended; None while it is open.
        triggered_by: who triggered it; empty for the schedule.
        decided_by: who answered the approval, or rejected it; empty if nobody has.
        reason: of the decision, the rollback or the failure; may be empty.
    """

    run_id: str
    dag_id: str
    purpose: str
    version: int
    opened_at: str
    closed_at: str | None
    outcome: str | None
    triggered_by: str
    decided_by: str
    reason: str


def trace_production(entries: Iterable[Entry]) -> list[Period]:
    """Return the periods of production, oldest first; they leave no gap while something was in production.

    Args:
        entries: the whole ledger, in order.
    """
    periods: list[Period] = []
    state = LedgerState()
    for entry in entries:
        before, state = state, replay([entry], state)
        if _place(state.production) == _place(before.production):
            continue
        if periods and periods[-1].until is None:
            periods[-1] = replace(periods[-1], until=entry.at.isoformat())
        if state.production:
            by, reason = _explain(entry.event, state.releases.get(entry.run_id))
            periods.append(Period(state.production, None, entry.run_id, str(entry.type), by, reason))
    return periods


def find_period(periods: Sequence[Period], moment: datetime) -> Period | None:
    """Return the period at a moment; None if nothing was known to be in production then.

    Args:
        periods: as `trace_production` returns them.
        moment: with a time zone.
    """
    for period in reversed(periods):
        if datetime.fromisoformat(period.serving.since) <= moment:
            is_over = period.until is not None and datetime.fromisoformat(period.until) <= moment
            return None if is_over else period
    return None


def find_last_served(periods: Iterable[Period], now: datetime) -> dict[int, datetime]:
    """Return when each version was last in production, UTC.

    Args:
        periods: as `trace_production` returns them.
        now: UTC; what serves now has served until then.
    """
    served: dict[int, datetime] = {}
    for period in periods:
        until = datetime.fromisoformat(period.until) if period.until else now
        served[period.serving.version] = max(until, served.get(period.serving.version, until))
    return served


def summarise_releases(entries: Iterable[Entry]) -> list[ReleaseSummary]:
    """Return what each release did, in the order in which they were opened.

    Args:
        entries: the whole ledger, in order.
    """
    found: dict[str, ReleaseSummary] = {}
    for entry in entries:
        known = found.get(entry.run_id)
        if isinstance(entry.event, ReleaseOpened):
            found[entry.run_id] = _open(known, entry.run_id, entry.event, entry.at.isoformat())
        elif known:
            found[entry.run_id] = _advance(known, entry)
    return list(found.values())


def _open(known: ReleaseSummary | None, run_id: str, event: ReleaseOpened, at: str) -> ReleaseSummary:
    """Return the summary of a release that is opened, again if it is known."""
    reason = event.params.reason or "" if isinstance(event.params, RollbackParams) else None
    return ReleaseSummary(
        run_id=run_id,
        dag_id=event.dag_id,
        purpose=str(event.purpose),
        version=event.version,
        opened_at=known.opened_at if known else at,
        closed_at=None,
        outcome=None,
        triggered_by=event.triggered_by or "",
        decided_by=known.decided_by if known else "",
        reason=reason if reason is not None else known.reason if known else "",
    )


def _advance(summary: ReleaseSummary, entry: Entry) -> ReleaseSummary:
    """Return the summary of a release after one of its later entries."""
    event = entry.event
    if isinstance(event, ApprovalAnswered):
        return replace(summary, decided_by=event.by, reason=event.comment or "")
    if isinstance(event, ReleaseRejected):
        return replace(summary, decided_by=event.by, reason=event.reason)
    if _is_automatic(event):
        return replace(summary, reason=event.reason or "")
    if isinstance(event, SwitchFailed):
        return replace(summary, reason=event.reason)
    if isinstance(event, ReleaseClosed):
        return replace(summary, closed_at=entry.at.isoformat(), outcome=str(event.outcome), version=event.version)
    return summary


def _is_automatic(event: Event) -> TypeGuard[RolledBack]:
    return isinstance(event, RolledBack) and event.cause is RollbackCause.AUTOMATIC


def _place(serving: Serving | None) -> tuple[str, int, str] | None:
    """Return what makes a period: a model that is registered again begins none."""
    return (serving.deployment_id, serving.version, serving.digest) if serving else None


def _explain(event: Event, release: Release | None) -> tuple[str, str]:
    """Return who decided a change of production, and why."""
    if release is None:  # an adoption opens none
        return "", "; ".join(event.difference) if isinstance(event, Adopted) else ""
    if _is_automatic(event):
        return AUTOMATIC, event.reason or ""
    answer = release.get(ApprovalAnswered)
    by = answer.by if answer else release.opened.triggered_by or ""
    reason = event.reason if isinstance(event, RolledBack) else None
    return by, reason or (answer.comment if answer else "")
