"""An intended change: a person who triggers a run may say why its data or its lists differ from the champion's."""

from __future__ import annotations

from dataclasses import replace

from recdeploy_ops.domain.gates.verdicts import GateReport, Verdict

# Of the gates that compare with the champion or with twins. What would break training, a list or an answer, and worse
# quality, cannot be waived.
WAIVABLE = {
    "history_lost",
    "history_late",
    "items_missing",
    "items_renamed",
    "newest_range",
    "newest_correlation",
    "twin_agreement",
    "strangers",
    "worst_slice",
    "more_shared_lists",
    "churn",
}


def accept_change(report: GateReport, reason: str | None, *, by: str | None) -> GateReport:
    """Return a gate report in which a FAIL that an intended change explains is a HOLD: a person still decides.

    Args:
        report: the findings.
        reason: why the change is intended; without one nothing is changed.
        by: the requester of the run; None for the schedule.
    """
    if not reason or not reason.strip():
        return report
    who = by or "the schedule"
    return GateReport(
        tuple(
            replace(
                finding,
                verdict=Verdict.HOLD,
                message=f"{finding.message} It would be rejected, but {who} triggered this run with accept_change: "
                f"{reason.strip()}",
            )
            if finding.verdict is Verdict.FAIL and finding.gate in WAIVABLE
            else finding
            for finding in report.findings
        )
    )
