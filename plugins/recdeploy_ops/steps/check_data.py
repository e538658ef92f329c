"""Step 4: the data gates, before time is spent on training."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import DataChecked, DataExtracted
from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.domain.gates.history import judge_history
from recdeploy_ops.domain.gates.newest import judge_newest
from recdeploy_ops.domain.gates.verdicts import GateReport, Verdict
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.champions import Champion, Unknown, fetch_champion, find_champion
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.evaluation.gate_runs import record_report
from recdeploy_ops.evaluation.history import Extracts, measure_history, parse_day
from recdeploy_ops.evaluation.stored_rows import ROW_HASHES, measure_stored_rows, store_row_hashes
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.gates.verdicts import Finding
    from recdeploy_ops.domain.waiting import Outcome

NOT_READ = "the extract itself is wrong, and is not compared with the champion's"


def advance(context: ReleaseContext) -> Outcome:
    """Judge the extract, by itself and against the champion's.

    Raises:
        GateFailedError: bad data stops the run.
    """
    release = context.confirm_lock()
    bundle = context.open_bundle(DataExtracted)
    with workspace() as folder:
        fetch_bundle(context.store, bundle, folder / "today")
        measured = measure_data(folder / "today", context.settings, bundle.facts)
        # The time of the release, so that another try gives the same verdict; reopening the release updates it.
        now = datetime.fromisoformat(release.last_opened_at)
        recipe = recipe_of(context.settings.model)
        report = leave_out(judge_data(measured, context.settings.gates, now), recipe)
        can_compare = report.verdict is not Verdict.FAIL
        champion = find_champion(context) if can_compare else Unknown(NOT_READ)
        findings = _compare(context, champion, folder)
        stored = store_row_hashes(context, folder / "today") if can_compare else None
    details = {
        "extract": bundle.digest,
        "champion": champion.version if isinstance(champion, Champion) else None,
        ROW_HASHES: stored,
    }
    report = leave_out(GateReport(report.findings + findings), recipe)
    return record_report(context, DataChecked, report, details)


def _compare(context: ReleaseContext, champion: Champion | Unknown, folder: Path) -> tuple[Finding, ...]:
    gates, source = context.settings.gates, context.settings.source
    unknown = (
        fetch_champion(context, champion, champion.extract, folder / "approved")
        if isinstance(champion, Champion)
        else champion
    )
    if unknown is not None or isinstance(champion, Unknown):
        why = unknown.why if unknown else ""
        hashed = measure_stored_rows(context, unknown, folder) if unknown else None
        return (*judge_history(hashed, gates.history, why=why), *judge_newest(None, gates.newest, why=why))
    extracts = Extracts(
        today=folder / "today",
        approved=folder / "approved",
        source=source,
        since=parse_day(source.parameters.get("since")),
        approved_since=parse_day(champion.since),
    )
    history, newest = measure_history(extracts, windows=gates.newest.windows)
    without_times = "interactions have no timestamps"
    return (
        *judge_history(history, gates.history, why=""),
        *judge_newest(newest, gates.newest, why=without_times),
    )
