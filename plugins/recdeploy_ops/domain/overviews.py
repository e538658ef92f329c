"""The state of a project in one mapping of plain values: what the page *Recommender* shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.events import ApprovalRequested, CandidateEvaluated, ModelTrained, TestDeployed
from recdeploy_ops.domain.freezes import find_freezes
from recdeploy_ops.domain.release_status import describe_progress, judge
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.timelines import summarise_releases, trace_production

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.freezes import FreezeWindow
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.versions import Version

MOST = 200  # releases and periods that are shown, newest first


def describe_overview(
    entries: Sequence[Entry], project: str, now: datetime, windows: Sequence[FreezeWindow] = ()
) -> dict[str, Any]:
    """Return what is in production, what is in progress, the history and the versions.

    Args:
        entries: the whole ledger, in order; may be empty.
        project: name of the project.
        now: UTC.
        windows: in which the settings freeze promotions.

    Returns:
        plain values: ``project``, ``now``, ``status``, ``production``, ``release``, ``freeze`` (what freezes promotions
        now, each with ``cause``, ``reason``, ``by``, ``since`` and ``until``), ``periods`` and ``releases`` (newest
        first, at most `MOST`), ``versions`` (newest first), ``entries`` (their number).
    """
    state = replay(entries)
    status = judge(state)
    periods, releases = trace_production(entries), summarise_releases(entries)
    return {
        "project": project,
        "now": now.isoformat(),
        "status": {"phase": str(status.phase), "message": status.message},
        "production": asdict(state.production) if state.production else None,
        "release": _describe_release(state.holding_release) if state.holding_release else None,
        "freeze": [asdict(freeze) for freeze in find_freezes(state.freezes, windows, now)],
        "periods": [asdict(period) for period in periods[: -MOST - 1 : -1]],
        "releases": [asdict(release) for release in releases[: -MOST - 1 : -1]],
        "versions": [
            _describe_version(version, state)
            for _, version in sorted(state.versions.items(), key=lambda pair: pair[0], reverse=True)
        ],
        "entries": len(entries),
    }


def _describe_release(release: Release) -> dict[str, Any]:
    """Return the release in progress."""
    test = release.get(TestDeployed)
    return {
        "run_id": release.run_id,
        "dag_id": release.opened.dag_id,
        "version": release.version,
        "is_rollback": release.is_rollback,
        "opened_at": release.opened_at,
        "triggered_by": release.opened.triggered_by or "",
        "progress": describe_progress(release),
        "is_waiting": release.is_waiting_for_approval,
        "has_report": release.get(ApprovalRequested) is not None,
        "test": {"deployment_id": test.deployment_id, "url": test.url} if test and test.deployment_id else None,
    }


def _describe_version(version: Version, state: LedgerState) -> dict[str, Any]:
    """Return one version, with the measures of its training."""
    release = state.releases.get(version.run_id)
    trained = release.get(ModelTrained) if release else None
    evaluated = release.get(CandidateEvaluated) if release else None
    metrics = trained.metrics if trained and release and release.version == version.number else {}
    return {
        "version": version.number,
        "stage": str(version.stage),
        "digest": version.digest,
        "model_id": version.model_id,
        "run_id": version.run_id,
        "dag_id": release.opened.dag_id if release else "",
        "made_at": release.opened_at if release else None,
        "verdict": str(evaluated.verdict) if evaluated else "",
        "metrics": {name: value for name, value in metrics.items() if isinstance(value, int | float)},
        "can_be_restored": version.can_be_restored,
    }
