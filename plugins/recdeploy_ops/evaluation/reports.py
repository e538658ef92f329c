"""Gate reports: kept as JSON beside the run, named in the ledger, and raised when they say FAIL."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import GateFailedError
from recdeploy_ops.domain.gates.verdicts import SEVERITY, Verdict
from recdeploy_ops.storage.bundles import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.gates.verdicts import GateReport
    from recdeploy_ops.domain.ledger import Facts, Kind
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

LEVEL = {Verdict.PASS: logging.INFO, Verdict.HOLD: logging.WARNING, Verdict.FAIL: logging.ERROR}


def settle(releases: Releases, run_id: str, kind: Kind, report: GateReport, details: Mapping[str, Any]) -> Outcome:
    """Store a gate report, record its verdict, and raise when it says FAIL.

    Args:
        releases: what the steps work with.
        run_id: the run.
        kind: what is recorded.
        report: the findings.
        details: what was judged, and measurements to show beside the findings.

    Raises:
        GateFailedError: the verdict is FAIL.
    """
    for finding in sorted(report.findings, key=lambda f: SEVERITY[f.verdict]):
        log.log(LEVEL[finding.verdict], "%s %s: %s", finding.verdict, finding.gate, finding.message)
    content = canonical_json({**report.to_json(), "details": details})
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{releases.folder(run_id, 'reports')}/{kind}-{sha256[:16]}.json"
    releases.store.create(key, content)
    releases.record(kind, run_id, {"verdict": str(report.verdict), "report": key, "sha256": sha256})
    if report.verdict is Verdict.FAIL:
        raise GateFailedError(report)
    return {"verdict": str(report.verdict), "report": key}


def read_report(releases: Releases, facts: Facts) -> dict[str, Any]:
    """Return a stored gate report: ``verdict``, ``findings`` and ``details``."""
    value: dict[str, Any] = json.loads(releases.store.read(facts["report"]))
    return value
