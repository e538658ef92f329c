"""The result of a demo, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from demo.damage_checks import check_damage
from recdeploy_ops.domain.gates.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from demo.checks import Check, Inspector
    from demo.cloud import Endpoint
    from demo.damage_checks import DamageCheck
    from demo.options import Decision
    from demo.releases import Outcome

HINT = "While the demo runs (make demo KEEP=1), try it with: make predict USER=id. Look around with: make status"
DECISION_OF: dict[str | None, Decision] = {"promoted": "promote", "rejected": "reject"}


@dataclass(frozen=True)
class Report:
    """The result of a demo.

    Attributes:
        succeeded: whether all checks from outside confirm the decision, and the gates have judged a planted damage as
            they are known to.
        checks: from outside.
        summary: everything, as one JSON object.
        conclusion: the same in a few lines.
        damage_check: what the gates said about the planted damage, in words; empty without one.
    """

    succeeded: bool
    checks: list[Check]
    summary: str
    conclusion: str
    damage_check: str = ""


def make_report(
    inspector: Inspector,
    outcome: Outcome,
    failures: list[str],
    *,
    decision: Decision | None,
    before: Endpoint | None,
    damage: str | None = None,
) -> Report:
    """Check what a finished run left behind.

    Args:
        inspector: makes the checks.
        outcome: of the run.
        failures: errors of the failed tasks.
        decision: the expected one; None for a person's, as the ledger has it.
        before: production before the run.
        damage: the name of the damage that is planted in the store.
    """
    release = inspector.state().releases.get(outcome.run_id)
    ended = release.outcome if release else None
    decision = decision or DECISION_OF.get(ended)
    findings = inspector.findings(outcome.run_id)
    damage_check = check_damage(damage, findings, is_complete=outcome.state == "success") if damage else None
    is_stopped = damage_check is not None and damage_check.verdict is Verdict.FAIL
    checks: list[Check] = []
    if is_stopped:
        checks = inspector.inspect_unchanged(before)
    elif outcome.state == "success" and decision:
        checks = inspector.inspect(outcome.run_id, decision, before)
    succeeded = (
        bool(checks) and all(check.passed for check in checks) and (damage_check is None or damage_check.is_expected)
    )
    production, page = inspector.production(), inspector.page(outcome.run_id)
    facts = {
        "succeeded": succeeded,
        "decision": decision,
        "outcome": ended,
        "version": release.version if release else None,
        "run_id": outcome.run_id,
        "state": outcome.state,
        "production": asdict(production) if production else None,
        "production_before": asdict(before) if before else None,
        "answers": outcome.answers,
        "tasks": {name: {"state": task.state, "seconds": task.seconds} for name, task in outcome.tasks.items()},
        "failures": failures,
        "gates": {verdict: [f["gate"] for f in findings if f["verdict"] == verdict] for verdict in ("HOLD", "FAIL")},
        "report": str(page) if page else None,
        "damage": asdict(damage_check) if damage_check else None,
        "checks": [asdict(check) for check in checks],
    }
    summary = json.dumps(facts, indent=2, ensure_ascii=False)
    version = f" of v{release.version}" if release else ""
    conclusion = f"\nThe release{version} ended: {ended or outcome.state}. {_describe_production(production)}"
    return Report(succeeded, checks, summary, conclusion, _describe_damage(damage_check, page, ended))


def _describe_production(production: Endpoint | None) -> str:
    if production is None:
        return "Nothing is in production."
    return f"v{production.version} is in production:\n\n  {production.url}/predict\n\n{HINT}"


def _describe_damage(damage_check: DamageCheck | None, page: Path | None, ended: str | None) -> str:
    if damage_check is None:
        return ""
    lines = [f"\n{damage_check.text}"]
    if ended == "promoted":
        lines.append("It was promoted: the next release is compared with damaged data.")
    if page:
        lines.append(f"The report: {page.as_uri()}")
    return "\n".join(lines)


def describe(checks: list[Check]) -> list[str]:
    """Return a line for each check."""
    return [f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.seen}" for check in checks]
