"""Which gates apply to which recipe: one that cannot say anything about a recipe neither passes nor holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict

if TYPE_CHECKING:
    from recdeploy_ops.domain.recipes import Recipe

# Every other gate applies to every recipe.
OF_RATINGS = {"rating_spread", "newest_correlation", "explained_variance"}
OF_CHANCE = {"noise_floor"}
OF_A_SCALE = {"newest_range"}


def why_not(gate: str, recipe: Recipe) -> str:
    """Return why a gate does not apply to a recipe, as a clause; empty if it applies."""
    if gate in OF_RATINGS and not recipe.predicts_ratings:
        return f"the recipe {recipe.name} ranks items and predicts no ratings"
    if gate in OF_A_SCALE and recipe.reads_counts:
        return "counts of purchases have no range: the next customer may buy more than any before"
    if gate in OF_CHANCE and recipe.is_deterministic:
        return f"two trainings of the recipe {recipe.name} on the same data give the same lists"
    return ""


def leave_out(report: GateReport, recipe: Recipe) -> GateReport:
    """Return a report in which the gates that do not apply to the recipe say so, instead of judging it."""
    return GateReport(tuple(_leave_out(finding, why_not(finding.gate, recipe)) for finding in report.findings))


def _leave_out(finding: Finding, why: str) -> Finding:
    return not_applicable(finding, why) if why else finding


def not_applicable(finding: Finding, why: str) -> Finding:
    """Return a finding that neither passes nor holds, with the reason as a clause."""
    return replace(
        finding,
        verdict=Verdict.PASS,
        value=None,
        threshold="does not apply",
        message=f"Does not apply: {why}.",
        interval=None,
        unmeasured="",
        inapplicable=why,
    )
