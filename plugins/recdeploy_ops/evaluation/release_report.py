"""The report of a release: everything that was measured, the verdict in words, and what was not measured."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.churn import Churn
from recdeploy_ops.domain.events import (
    CandidateChecked,
    CandidateEvaluated,
    DataChecked,
    DataExtracted,
    ModelTrained,
    TestValidated,
)
from recdeploy_ops.domain.gates.verdicts import SEVERITY, Verdict
from recdeploy_ops.domain.new_users import NewUserList
from recdeploy_ops.domain.rankings import Rankings
from recdeploy_ops.evaluation.pages import render_page
from recdeploy_ops.evaluation.report_numbers import describe_numbers
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.bundles import canonical_json
from recdeploy_ops.storage.keys import run_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recdeploy_ops.context import ReleaseContext

log = logging.getLogger(__name__)

# The gate runs of a release, by the name under which their findings are shown.
RUNS = {"data": DataChecked, "candidate": CandidateChecked, "lists": CandidateEvaluated, "TEST": TestValidated}
NEVER_MEASURED = (
    "The order within a list: sets of items are compared, and two items that change places are below the noise.",
    "Whether the newest interactions are complete: where their number varies from week to week, half of them may be "
    "missing.",
    "A bot that is at most as active as the most active users of earlier weeks.",
    "Sales, clicks and satisfaction: offline evidence says what people did without these lists.",
    "This very model on what people do next: it has seen everything up to now. The backtest judges its recipe and its "
    "data, and the twins say that it is one of their kind.",
    "Merit of new products: nobody has rated them yet.",
)


def build_report(context: ReleaseContext, more: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the report of the run's release as plain values, from the gates that have run so far.

    Args:
        context: of the run.
        more: findings of no gate run, with the name of the run, e.g. that production is resized.
    """
    release = context.release
    stored = {
        name: read_report(context.store, event)
        for name, kind in RUNS.items()
        if (event := release.get(kind)) is not None
    }
    findings = [{"run": name, **finding} for name, report in stored.items() for finding in report["findings"]]
    findings += [dict(finding) for finding in more]
    findings.sort(key=lambda finding: -SEVERITY[Verdict(finding["verdict"])])
    lists = stored.get("lists", {}).get("details", {})
    extracted, trained = release.get(DataExtracted), release.get(ModelTrained)
    production = context.state.production
    report = {
        "project": context.project,
        "run": context.run_id,
        "version": release.version,
        "replaces": production.version if production and production.version != release.version else None,
        "serves_already": production is not None and production.version == release.version,
        "serving_since": production.since if production else None,
        "verdict": str(_worst(findings)),
        "data": {**extracted.rows, "newest interaction": extracted.newest_interaction} if extracted else {},
        "metrics": dict(trained.metrics) if trained else {},
        "findings": findings,
        "margin": context.settings.gates.quality.margin,
        "quality": lists.get("quality"),
        "recipes": _describe_recipes(lists.get("recipes")),
        "new_users": _describe_new_users(trained.metrics.get("new_users") if trained else None),
        "twins": lists.get("twins"),
        "own": lists.get("own"),
        "champion": lists.get("champion"),
        "blast_radius": lists.get("blast_radius"),
        "churn": _describe_churn(lists.get("churn")),
        "returning_users": lists.get("returning_users"),
        "not_measured": _describe_unmeasured(findings),
        "never_measured": list(NEVER_MEASURED),
    }
    return {**report, **_describe_verdict(report), "numbers": describe_numbers(report)}


def store_report(context: ReleaseContext, report: Mapping[str, Any], name: str | None = None) -> str:
    """Store a report as a page and as JSON beside the run; return the sha256 of the page.

    Args:
        context: of the run.
        report: as `build_report` returns it.
        name: of both objects; by default the first digits of the page's sha256.
    """
    page = render_page(report).encode()
    sha256 = hashlib.sha256(page).hexdigest()
    key = page_key(context.run_id, name or sha256)
    context.store.replace(key, page)
    context.store.replace(f"{key.removesuffix('.html')}.json", canonical_json(dict(report)))
    log.info("The report is stored as %s/%s", context.store.uri, key)
    return sha256


def page_key(run_id: str, name: str) -> str:
    """Return the storage key of a page of a run, by a sha256 that names it."""
    return f"{run_prefix(run_id, 'report')}/{name[:16]}.html"


def _worst(findings: Sequence[Mapping[str, Any]]) -> Verdict:
    return max((Verdict(finding["verdict"]) for finding in findings), key=SEVERITY.__getitem__, default=Verdict.HOLD)


def _describe_unmeasured(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each reason why something was not measured, with the gates that it concerns."""
    gates: dict[str, list[str]] = {}
    for finding in findings:
        if reason := finding.get("unmeasured"):
            gates.setdefault(reason, []).append(finding["gate"])
    return [f"{', '.join(names)}: {reason}." for reason, names in gates.items()]


def _describe_recipes(plain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how recipes rank, as plain values with titles, and what follows from it as sentences."""
    if plain is None:
        return None
    rankings = Rankings.from_plain(plain)
    rows = [{**asdict(ranked), "title": ranked.title} for ranked in (rankings.configured, *rankings.others)]
    numbers = {"depth": rankings.depth, "users": rankings.users}
    return {**numbers, "rows": rows, "sentences": list(rankings.describe())}


def _describe_new_users(plain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return both lists for new users on both halves as plain values, and what follows from them as sentences."""
    if plain is None:
        return None
    chosen = NewUserList.from_plain(plain)
    compared = asdict(chosen.compared) if chosen.compared else None
    return {"compared": compared, "sentences": list(chosen.describe()), "advises": chosen.advises_popularity}


def _describe_churn(plain: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Return why lists change, a row for each reason."""
    if plain is None:
        return None
    churn = Churn.from_plain(plain)
    return [asdict(part) for part in (*churn.split(), churn.together) if part]


def _describe_verdict(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict as a headline, and what follows from it."""
    version, replaces, findings = f"v{report['version']}", report["replaces"], report["findings"]
    into = f"replace v{replaces} in production" if replaces else "become the first version in production"
    if report["serves_already"]:
        into = "be promoted again, though it serves already"
    passed = sum(finding["verdict"] == Verdict.PASS for finding in findings)
    held = [finding for finding in findings if finding["verdict"] == Verdict.HOLD]
    failed = [finding for finding in findings if finding["verdict"] == Verdict.FAIL]
    if failed:
        what = "Nobody is asked: correct the causes below, and run again."
        return {
            "headline": f"{version} is rejected",
            "lead": f"{len(failed)} of {len(findings)} checks {'fails' if len(failed) == 1 else 'fail'}. {what}",
        }
    if held:
        what = "Read why, and promote only if you can say for each reason why it does not matter."
        count = "1 is" if len(held) == 1 else f"{len(held)} are"
        return {
            "headline": f"A person must look before {version} may {into}",
            "lead": f"{passed} of {len(findings)} checks pass; {count} on HOLD. {what}",
        }
    return {"headline": f"{version} may {into}", "lead": f"All {passed} checks pass."}
