"""The result of a demo, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.checks import Check, Inspector
    from demo.cloud import Endpoint
    from demo.options import Decision
    from demo.releases import Outcome

HINT = "While the demo runs (make demo KEEP=1), try it with: make predict USER=id. Look around with: make status"
DECISION_OF: dict[str | None, Decision] = {"promoted": "promote", "rejected": "reject"}


@dataclass(frozen=True)
class Report:
    """The result of a demo.

    Attributes:
        succeeded: whether all checks from outside confirm the decision.
        checks: from outside.
        summary: everything, as one JSON object.
        conclusion: the same in a few lines.
    """

    succeeded: bool
    checks: list[Check]
    summary: str
    conclusion: str


def make_report(
    inspector: Inspector, outcome: Outcome, failures: list[str], *, decision: Decision | None, before: Endpoint | None
) -> Report:
    """Check what a finished run left behind.

    Args:
        inspector: makes the checks.
        outcome: of the run.
        failures: errors of the failed tasks.
        decision: the expected one; None for a person's, as the ledger has it.
        before: production before the run.
    """
    release = inspector.state().releases.get(outcome.run_id)
    ended = release.outcome if release else None
    decision = decision or DECISION_OF.get(ended)
    checks: list[Check] = []
    if outcome.state == "success" and decision:
        checks = inspector.inspect(outcome.run_id, decision, before)
    succeeded = bool(checks) and all(check.passed for check in checks)
    production = inspector.production()
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
        "checks": [asdict(check) for check in checks],
    }
    summary = json.dumps(facts, indent=2, ensure_ascii=False)
    version = f" of v{release.version}" if release else ""
    conclusion = f"\nThe release{version} ended: {ended or outcome.state}. {_describe_production(production)}"
    return Report(succeeded, checks, summary, conclusion)


def _describe_production(production: Endpoint | None) -> str:
    if production is None:
        return "Nothing is in production."
    return f"v{production.version} is in production:\n\n  {production.url}/predict\n\n{HINT}"


def describe(checks: list[Check]) -> list[str]:
    """Return a line for each check."""
    return [f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.seen}" for check in checks]
