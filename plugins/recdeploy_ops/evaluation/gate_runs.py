"""The end of a gate run: its report is stored as JSON, recorded in the ledger, and raised if it says FAIL."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import GateFailedError
from recdeploy_ops.domain.gates.verdicts import SEVERITY, Verdict
from recdeploy_ops.domain.gates.waivers import accept_change
from recdeploy_ops.evaluation.release_report import build_report, store_report
from recdeploy_ops.storage.bundles import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import GateEvent
    from recdeploy_ops.domain.gates.verdicts import GateReport
    from recdeploy_ops.domain.waiting import Outcome

log = logging.getLogger(__name__)

LEVEL = {Verdict.PASS: logging.INFO, Verdict.HOLD: logging.WARNING, Verdict.FAIL: logging.ERROR}


def record_report(
    context: ReleaseContext, kind: type[GateEvent], report: GateReport, details: Mapping[str, Any]
) -> Outcome:
    """Store a gate report, record its verdict, and raise if it says FAIL; then nobody is asked, and a page says why.

    Args:
        context: of the run.
        kind: the event that is recorded.
        report: the findings.
        details: more facts to store beside the findings, e.g. measurements.

    Raises:
        GateFailedError: the verdict is FAIL.
    """
    if not context.release.is_rollback:
        params = context.release.retrain_params
        report = accept_change(report, params.accept_change, by=context.release.opened.triggered_by)
    for finding in sorted(report.findings, key=lambda f: SEVERITY[f.verdict]):
        log.log(LEVEL[finding.verdict], "%s %s: %s", finding.verdict, finding.gate, finding.message)
    content = canonical_json({**report.to_json(), "details": details})
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{context.prefix('reports')}/{kind.type}-{sha256[:16]}.json"
    context.store.create(key, content)
    context.record(kind(verdict=report.verdict, report=key, sha256=sha256))
    if report.verdict is Verdict.FAIL:
        store_report(context, build_report(context), name=sha256)
        raise GateFailedError(report)
    return {"verdict": str(report.verdict), "report": key}
