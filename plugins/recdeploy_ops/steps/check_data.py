"""Step 4: the data-quality gate, before time is spent on training."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import DataChecked, DataExtracted
from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.evaluation.reports import record_report
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome


def advance(context: ReleaseContext) -> Outcome:
    """Judge the extract.

    Raises:
        GateFailedError: bad data stops the run.
    """
    release = context.confirm_lock()
    bundle = context.open_bundle(DataExtracted)
    with workspace() as folder:
        fetch_bundle(context.store, bundle, folder)
        measured = measure_data(folder, context.settings, bundle.facts)
    # The time of the release, so that another try gives the same verdict; reopening the release updates it.
    now = datetime.fromisoformat(release.last_opened_at)
    report = judge_data(measured, context.settings.gates, now)
    return record_report(context, DataChecked, report, {"extract": bundle.digest})
