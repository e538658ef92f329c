"""Step 8: train the models to compare with, and judge how good the candidate's lists are."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.churn import Churn, name_changed
from recdeploy_ops.domain.errors import IntegrityError, MissingInputError
from recdeploy_ops.domain.events import CandidateEvaluated, DataExtracted, GateModelsTrained, ModelTrained
from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.quality import judge_quality
from recdeploy_ops.domain.gates.recipe_changes import allow_another_recipe
from recdeploy_ops.domain.gates.verdicts import GateReport
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.behaviour import Folders, judge_behaviour, measure_files
from recdeploy_ops.evaluation.champion_sides import ChampionSide
from recdeploy_ops.evaluation.champions import Champion, Unknown, fetch_champion, find_champion
from recdeploy_ops.evaluation.comparisons import Comparison, train_comparison
from recdeploy_ops.evaluation.gate_runs import record_report
from recdeploy_ops.evaluation.returning_users import read_returning_users
from recdeploy_ops.evaluation.stored_sides import describe_inputs, is_recorded, read_side, store_side
from recdeploy_ops.storage.bundles import fetch_bundle, store_bundle, verify_bundle, write_manifest
from recdeploy_ops.training.gate_models import Side
from recdeploy_ops.training.recommendations import RECOMMENDATIONS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.recipes import Recipe
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.evaluation.blast_radius import BlastRadius
    from recdeploy_ops.storage.bundles import Bundle

log = logging.getLogger(__name__)

TODAY, APPROVED, RESULTS, CHAMPIONS, STORED = "today", "approved", "results", "champion", "stored"
NO_RECIPE = "the candidate's lists were not made by this project's training, so no twin of it can be trained"


def advance(context: ReleaseContext) -> Outcome:
    """Judge the candidate's lists against its twins', the champion's, and both sides' backtests.

    Raises:
        TrainingFailedError: a model to compare with could not be trained.
        GateFailedError: the lists are not what the recipe gives, or rank worse than the champion's.
    """
    context.confirm_lock()
    champion = find_champion(context)
    with workspace() as folder:
        champion = _fetch(context, champion, folder)
        comparison = _compare(context, champion, folder)
        recipe = recipe_of(context.release.require(ModelTrained).inputs.get("model", {}))
        report, details = _judge(context, recipe, champion, comparison, folder)
    report = leave_out(report, recipe)
    if isinstance(champion, Champion) and "model" in champion.inputs:
        quality = comparison.quality if comparison else None
        report = allow_another_recipe(report, recipe_of(champion.inputs["model"]), recipe, quality)
    return record_report(context, CandidateEvaluated, report, details)


def _fetch(context: ReleaseContext, champion: Champion | Unknown, folder: Path) -> Champion | Unknown:
    fetch_bundle(context.store, context.open_bundle(DataExtracted), folder / TODAY)
    fetch_bundle(context.store, context.open_bundle(ModelTrained), folder / RESULTS, [RECOMMENDATIONS])
    if isinstance(champion, Unknown):
        return champion
    unknown = fetch_champion(context, champion, champion.extract, folder / APPROVED)
    return unknown or fetch_champion(context, champion, champion.results, folder / CHAMPIONS) or champion


def _compare(context: ReleaseContext, champion: Champion | Unknown, folder: Path) -> Comparison | None:
    """Return the trainings to compare with, from an earlier try if it had the same inputs; None without a recipe."""
    trained = context.release.require(ModelTrained)
    recipe = trained.inputs.get("model")
    if recipe is None:
        return None
    known = champion if isinstance(champion, Champion) and "model" in champion.inputs else None
    inputs = {
        "candidate": dict(trained.inputs),
        "champion": describe_inputs(known, context.settings.gates.quality) if known else None,
        "quality": asdict(context.settings.gates.quality),
    }
    stored = _reuse(context, inputs)
    if stored is None:
        stored = _train(context, champion, known, inputs, folder)
    fetch_bundle(context.store, stored, folder / STORED)
    context.record(GateModelsTrained(prefix=stored.prefix, digest=stored.digest, inputs=inputs))
    return Comparison.read(folder / STORED, stored.facts["comparison"])


def _train(
    context: ReleaseContext,
    champion: Champion | Unknown,
    known: Champion | None,
    inputs: Mapping[str, Any],
    folder: Path,
) -> Bundle:
    candidate = inputs["candidate"]
    (folder / "work").mkdir()
    comparison = train_comparison(
        folder / "work",
        Side(folder / TODAY, candidate["model"]),
        _champion_side(context, known, inputs["champion"], folder) if known else None,
        context.settings,
        top_k=candidate["top_k"],
        seed=candidate["seed"],
        why=_why_not(champion),
        report=log.info,
    )
    target = folder / "trained"
    target.mkdir()
    write_manifest(target, {"inputs": inputs, "comparison": comparison.write(target)})
    return store_bundle(context.store, context.prefix("gate-models"), target)


def _champion_side(
    context: ReleaseContext, champion: Champion, inputs: Mapping[str, Any], folder: Path
) -> ChampionSide:
    """Return the champion's side of the backtest: stored, or else trained now, and stored for the next release."""
    side = read_side(context, champion, inputs, folder / "stored-side", extract=folder / APPROVED)
    if isinstance(side, ChampionSide):
        log.info("The champion's side of the backtest is stored: only the candidate's is trained.")
        return side
    log.info("The champion's side of the backtest is trained by this release: %s.", side)
    trained, event = store_side(context, champion, inputs, folder / APPROVED, folder / "side")
    if not is_recorded(context, event):
        context.record(event)
    return trained


def _reuse(context: ReleaseContext, inputs: Mapping[str, Any]) -> Bundle | None:
    trained = context.release.get(GateModelsTrained)
    if trained is None or trained.inputs != inputs:
        return None
    try:
        bundle = context.open_bundle(GateModelsTrained)
        verify_bundle(context.store, bundle)
    except (MissingInputError, IntegrityError) as err:
        log.warning("Training the models for the gates again, as the earlier ones cannot be used: %s", err)
        return None
    log.info("The models for the gates are already trained on the same inputs: using %s", bundle.prefix)
    return bundle


def _judge(
    context: ReleaseContext, recipe: Recipe, champion: Champion | Unknown, comparison: Comparison | None, folder: Path
) -> tuple[GateReport, dict[str, Any]]:
    gates, known = context.settings.gates, champion if isinstance(champion, Champion) else None
    champions = Folders(folder / CHAMPIONS, folder / APPROVED) if known else None
    measured, radius = measure_files(
        Folders(folder / RESULTS, folder / TODAY),
        champions,
        comparison.twins if comparison else None,
        settings=context.settings,
    )
    quality = comparison.quality if comparison else None
    returning = read_returning_users(folder / TODAY, champions, context.settings.source) if champions else None
    findings = (
        *judge_behaviour(
            measured,
            known.floor if known else None,
            gates.lists.of(recipe),
            no_twins=NO_RECIPE,
            no_champion=_why_not(champion),
        ),
        judge_quality(quality, gates.quality, why=comparison.why if comparison else NO_RECIPE),
    )
    details = {
        **asdict(measured),
        "blast_radius": asdict(radius) if radius else None,
        "churn": asdict(_describe_churn(context, known, radius)) if known and radius else None,
        "quality": quality.to_plain() if quality else None,
        "recipes": comparison.rankings.to_plain() if comparison and comparison.rankings else None,
        "returning_users": asdict(returning) if returning else None,
        "compared_with": known.version if known else None,
    }
    return GateReport(findings), details


def _describe_churn(context: ReleaseContext, champion: Champion, radius: BlastRadius) -> Churn:
    candidate = context.release.require(ModelTrained).inputs
    beyond, low, high = radius.beyond or (None, None, None)
    return Churn(
        lost=radius.lost,
        beyond=beyond,
        low=low,
        high=high,
        has_seed=not recipe_of(candidate.get("model", {})).is_deterministic,
        has_new_data=context.open_bundle(DataExtracted).digest != champion.extract.digest,
        changed=name_changed(candidate, champion.inputs),
    )


def _why_not(champion: Champion | Unknown) -> str:
    if isinstance(champion, Champion):
        return "the champion's recipe is unknown" if "model" not in champion.inputs else "no user has lists of both"
    return champion.why
