"""The history gates: what the champion was trained on is still there, row by row, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.bounds import Most, Thresholds, judge, not_measured
from recdeploy_ops.domain.gates.scales import percent

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.verdicts import Finding

WINDOW = "if interactions.sql returns a window that moves, give its first day in source.parameters.since"


@dataclass(frozen=True)
class HistoryThresholds(Thresholds):
    """Bounds as shares of what the champion was trained on.

    Attributes:
        lost: interactions that are gone or changed.
        late: interactions that were added before its newest one.
        missing: items that are gone.
        renamed: items whose title is another.
    """

    lost: Most = Most(0.005, 0.05)
    late: Most = Most(0.05, 0.5)
    missing: Most = Most(0.02, 0.1)
    renamed: Most = Most(0.02, 0.2)


@dataclass(frozen=True)
class Differences:
    """Rows or items of the approved extract that differ today.

    Attributes:
        count: how many.
        examples: the first ones, in words.
    """

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class HistoryFacts:
    """Today's extract against the champion's, which is approved.

    Attributes:
        approved: distinct interactions of the approved extract in the period that both cover.
        lost: of them, those that are gone or have another rating or time.
        late: interactions of today's extract, not after the newest approved one, whose user and item were not approved
            together; None without timestamps.
        approved_items: distinct items of the approved extract.
        missing: of them, those that are gone.
        kept_items: of them, those that are still there.
        renamed: of those, the ones with another title; None without titles.
    """

    approved: int
    lost: Differences
    late: Differences | None
    approved_items: int
    missing: Differences
    kept_items: int
    renamed: Differences | None


def judge_history(facts: HistoryFacts | None, bounds: HistoryThresholds, *, why: str) -> tuple[Finding, ...]:
    """Judge whether the approved data are still there.

    Args:
        facts: as measured; None if there is nothing to compare with.
        bounds: of the settings.
        why: the reason if ``facts`` is None.
    """
    if facts is None:
        return (
            not_measured("history_lost", why),
            not_measured("history_late", why),
            not_measured("items_missing", why),
            not_measured("items_renamed", why),
        )
    return (
        _compare(
            "history_lost",
            facts.lost,
            (facts.approved, "approved interactions"),
            bounds.lost,
            "are gone or have another rating or time",
            f"compare interactions.sql and its source with the champion's extract; {WINDOW}",
        ),
        _compare(
            "history_late",
            facts.late,
            (facts.approved, "approved interactions"),
            bounds.late,
            "as many were added before the newest approved one",
            "find out which import wrote old interactions",
        ),
        _compare(
            "items_missing",
            facts.missing,
            (facts.approved_items, "approved items"),
            bounds.missing,
            "are gone from items.sql",
            "check that items.sql returns the whole catalogue, with ids as text",
        ),
        _compare(
            "items_renamed",
            facts.renamed,
            (facts.kept_items, "approved items"),
            bounds.renamed,
            "have another title",
            "check that items.sql joins ids and titles correctly",
        ),
    )


def _compare(
    gate: str, differing: Differences | None, whole: tuple[int, str], bound: Most, what: str, advice: str
) -> Finding:
    """Judge the share of the approved rows or items that differ; ``whole`` is their number, and what they are."""
    count, unit = whole
    if differing is None:
        missing = "timestamps" if gate == "history_late" else "titles"
        return not_measured(gate, f"the settings name no column of {missing}, or one of the extracts lacks it")
    if not count:
        return not_measured(gate, f"there are no {unit} to compare with")
    share = differing.count / count
    message = f"{differing.count:,} of {count:,} {unit} ({percent(share)}) {what}"
    if gate == "history_late":
        message = (
            f"{differing.count:,} interactions before the newest approved one are new, {percent(share)} of {count:,}"
        )
    if differing.count:
        first = f" (first: {', '.join(differing.examples)})" if differing.examples else ""
        message += f"{first}: {advice}"
    return judge(gate, share, bound, message + ".", count=count, unit=unit)
