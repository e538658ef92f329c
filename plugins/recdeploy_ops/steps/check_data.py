"""Step 4: the data-quality gate, before anything is spent."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.evaluation.reports import settle
from recdeploy_ops.storage.bundles import fetch_bundle
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases


def advance(releases: Releases, run_id: str) -> Outcome:
    """Judge the extract.

    Raises:
        GateFailedError: bad data stops the run.
    """
    release = releases.release(run_id)
    bundle = releases.bundle(release, Kind.DATA_EXTRACTED)
    with workspace() as folder:
        fetch_bundle(releases.store, bundle, folder)
        facts = measure_data(folder, releases.settings, bundle.facts)
    # The release's own time, so that a second try judges the same; one that is opened again is judged anew.
    now = datetime.fromisoformat(release.last_opened_at)
    report = judge_data(facts, releases.settings.gates, now)
    return settle(releases, run_id, Kind.DATA_CHECKED, report, {"extract": bundle.digest})
