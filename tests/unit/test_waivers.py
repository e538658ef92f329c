"""What an intended change turns into a HOLD, and what it does not."""

from __future__ import annotations

import pytest

from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.gates.waivers import WAIVABLE, accept_change

REASON = "a new catalogue"


def report(gate: str, verdict: Verdict = Verdict.FAIL) -> GateReport:
    return GateReport((Finding(gate, verdict, 0.2, "HOLD > 2 %, FAIL > 10 %", "20 % are gone."),))


@pytest.mark.parametrize("gate", sorted(WAIVABLE))
def test_a_change_that_is_intended_is_held_with_its_reason(gate: str) -> None:
    accepted = accept_change(report(gate), REASON, by="ann")
    assert accepted.verdict is Verdict.HOLD
    assert accepted.findings[0].message == (
        "20 % are gone. It would be rejected, but ann triggered this run with accept_change: a new catalogue"
    )


@pytest.mark.parametrize("reason", [None, "", "  \n"])
def test_without_a_reason_nothing_is_accepted(reason: str | None) -> None:
    assert accept_change(report("history_lost"), reason, by="ann") == report("history_lost")


@pytest.mark.parametrize(
    "gate", ["schema", "unique_users", "finite_ratings", "rating_spread", "list_unrated", "known_users", "quality"]
)
def test_what_would_break_a_list_or_an_answer_is_still_rejected(gate: str) -> None:
    assert accept_change(report(gate), REASON, by="ann") == report(gate)


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.HOLD])
def test_other_verdicts_stay(verdict: Verdict) -> None:
    assert accept_change(report("churn", verdict), REASON, by=None) == report("churn", verdict)
