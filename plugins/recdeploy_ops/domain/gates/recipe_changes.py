"""The gate over the recipe: a change of it is for a person, and what it changes for customers rejects nothing.

Another recipe gives other lists and ranks differently; that is why someone chose it. So the gates that compare the
candidate with the champion do not reject it. They hold, as the change itself does, and show both. Lists that are not
what the candidate's own recipe gives are still rejected: its twins are of the same recipe.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.applicability import not_applicable
from recdeploy_ops.domain.gates.scales import plain
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.quality import QualityFacts
    from recdeploy_ops.domain.recipes import Recipe

# The gates over the candidate against the champion.
OF_CHANGES = {"churn", "more_shared_lists", "distinct_items", "top_item", "quality"}
OF_ONE_RECIPE = {"noise_floor"}


def allow_another_recipe(
    report: GateReport, champion: Recipe, candidate: Recipe, quality: QualityFacts | None
) -> GateReport:
    """Return a report in which a change of recipe is a HOLD, and in which no gate rejects the candidate because of it.

    Args:
        report: the judgement of the candidate's lists and of the backtest.
        champion: the recipe of the champion.
        candidate: that of the candidate; if it is the same, the report is returned as it is.
        quality: the backtest of both; None if there is none.
    """
    if champion.name == candidate.name:
        return report
    change = f"the recipe changes from {champion.name} to {candidate.name}"
    message = (
        f"The recipe changes from {champion.name} to {candidate.name}, so most lists change. "
        f"{_describe(champion, candidate, quality)} A person must want this change: docs/recipes.md compares recipes."
    )
    changed = Finding("recipe", Verdict.HOLD, 1.0, "HOLD > 0", message, unit="changes")
    return GateReport((changed, *(_allow(finding, change) for finding in report.findings)))


def _allow(finding: Finding, change: str) -> Finding:
    if finding.gate in OF_ONE_RECIPE:
        return not_applicable(finding, change)
    if finding.gate in OF_CHANGES and finding.verdict is Verdict.FAIL:
        message = f"{finding.message} It does not reject the candidate, as {change}."
        return replace(finding, verdict=Verdict.HOLD, message=message)
    return finding


def _describe(champion: Recipe, candidate: Recipe, quality: QualityFacts | None) -> str:
    if quality is None or not math.isfinite(quality.relative):
        return "No backtest says which of them ranks better."
    return (
        f"On held-out interactions {candidate.name} reaches NDCG@{quality.depth} {plain(quality.candidate)}, "
        f"{champion.name} {plain(quality.champion)}, the most popular items {plain(quality.popularity)}, random lists "
        f"{plain(quality.random)}."
    )
