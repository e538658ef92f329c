"""The gates over the newest interactions: do they look like those of earlier windows of the same length?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import pstdev

from recdeploy_ops.domain.gates.bounds import Least, Most, Thresholds, judge, normal_half_width, not_measured
from recdeploy_ops.domain.gates.scales import percent, plain
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict

GATES = (
    "newest_rows",
    "newest_range",
    "newest_user",
    "newest_item",
    "newest_unknown_items",
    "newest_repeated",
    "newest_popularity",
    "newest_correlation",
)


@dataclass(frozen=True)
class NewestThresholds(Thresholds):
    """How far the newest window may leave the earlier ones.

    Attributes:
        windows: earlier windows to compare with.
        fewest_windows: with fewer nothing is measured.
        volume_factor: times more or fewer rows than any earlier window.
        outside_range: share of ratings outside the approved range.
        user_share: share of one user's rows, if that is also more than ``user_factor`` times the most before.
        user_factor: see there.
        item_share: share of one item's rows, likewise.
        item_factor: see there.
        unknown_items: share of rows on items without an approved rating, if also ``unknown_factor`` times the most.
        unknown_factor: see there.
        repeated: share of rows of a user with an item that the user had before, if also ``repeated_factor`` times the
            most before.
        repeated_factor: see there.
        popularity_drop: how far the items' mean percentile of popularity may be below the least before, if that is
            also more than two standard deviations.
        fewest_pairs: rows on items with five approved ratings that the correlation needs.
    """

    windows: int = 8
    fewest_windows: int = 4
    volume_factor: float = 3.0
    outside_range: Most = Most(0.0, 0.01)
    user_share: float = 0.2
    user_factor: float = 2.0
    item_share: float = 0.1
    item_factor: float = 2.0
    unknown_items: float = 0.2
    unknown_factor: float = 2.0
    repeated: float = 0.02
    repeated_factor: float = 2.0
    popularity_drop: float = 0.1
    fewest_pairs: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.fewest_windows <= self.windows <= 104:
            raise ValueError("fewest_windows must be between 1 and windows, and windows at most 104")
        if not all(math.isfinite(number) and number >= 1 for number in (self.volume_factor, self.fewest_pairs)):
            raise ValueError("volume_factor and fewest_pairs must be at least 1")
        shares = (self.user_share, self.item_share, self.unknown_items, self.repeated, self.popularity_drop)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share must be between 0 and 1")
        factors = (self.user_factor, self.item_factor, self.unknown_factor, self.repeated_factor)
        if not all(math.isfinite(factor) and factor >= 1 for factor in factors):
            raise ValueError("a factor must be at least 1")


@dataclass(frozen=True)
class WindowFacts:
    """Interactions of one window, described by what was known before it.

    Attributes:
        rows: interactions.
        user_share: of them, the busiest user's.
        user: the busiest user.
        item_share: of them, the busiest item's.
        item: the busiest item.
        unknown_items: share on items without an earlier rating.
        popularity: mean percentile, by number of earlier ratings, of the items that have any; None if none has.
        correlation: of ratings with the mean earlier rating of their item, where that has five; None if undefined.
        pairs: rows that the correlation rests on.
        repeated: share of rows whose user had the item before.
    """

    rows: int
    user_share: float
    user: str
    item_share: float
    item: str
    unknown_items: float
    popularity: float | None
    correlation: float | None
    pairs: int
    repeated: float


@dataclass(frozen=True)
class NewestFacts:
    """The interactions since the champion's newest one, and earlier windows of the same length.

    Attributes:
        newest: the interactions since.
        earlier: the latest window first.
        outside_range: share of new ratings outside the range of the approved ones.
        lowest: of the approved ratings.
        highest: of the approved ratings.
        days: length of a window.
    """

    newest: WindowFacts | None
    earlier: tuple[WindowFacts, ...]
    outside_range: float
    lowest: float
    highest: float
    days: float


def judge_newest(facts: NewestFacts | None, bounds: NewestThresholds, *, why: str) -> tuple[Finding, ...]:
    """Judge whether the newest interactions look like those before.

    Args:
        facts: as measured; None without an approved extract with timestamps.
        bounds: of the settings.
        why: the reason if ``facts`` is None.
    """
    if facts is None:
        return tuple(not_measured(gate, why) for gate in GATES)
    new = facts.newest
    if new is None:
        reason = "no interaction is newer than the champion's newest one: check that the source is up to date"
        return tuple(not_measured(gate, reason) for gate in GATES)
    if len(facts.earlier) < bounds.fewest_windows:
        reason = (
            f"the champion's extract has {len(facts.earlier)} earlier windows of {facts.days:.3g} days with enough "
            f"interactions, and {bounds.fewest_windows} are needed"
        )
        return tuple(not_measured(gate, reason) for gate in GATES)
    return (
        _judge_rows(new, facts, bounds),
        _judge_range(new, facts, bounds),
        *_judge_shares(new, facts.earlier, bounds),
        _judge_popularity(new, facts.earlier, bounds),
        _judge_correlation(new, bounds),
    )


def correlation_interval(correlation: float, pairs: int) -> tuple[float, float]:
    """Return the 95 % interval of Pearson's correlation by Fisher's z; ``pairs`` must be more than 3."""
    if abs(correlation) >= 1:
        return correlation, correlation
    half = normal_half_width(1 / math.sqrt(pairs - 3))
    return math.tanh(math.atanh(correlation) - half), math.tanh(math.atanh(correlation) + half)


def _judge_rows(new: WindowFacts, facts: NewestFacts, bounds: NewestThresholds) -> Finding:
    counts = [window.rows for window in facts.earlier]
    low, high = min(counts) / bounds.volume_factor, max(counts) * bounds.volume_factor
    verdict = Verdict.PASS if low <= new.rows <= high else Verdict.HOLD
    message = (
        f"{new.rows:,} interactions in the last {facts.days:.3g} days; earlier windows had {min(counts):,} to "
        f"{max(counts):,}"
    )
    if verdict is Verdict.HOLD:
        message += ": check that the import is complete, and that nothing was imported twice"
    return Finding(
        "newest_rows", verdict, new.rows, f"HOLD outside {low:,.0f} to {high:,.0f}", message + ".", new.rows, "rows"
    )


def _judge_range(new: WindowFacts, facts: NewestFacts, bounds: NewestThresholds) -> Finding:
    message = (
        f"{percent(facts.outside_range)} of the new ratings are outside the approved range, {facts.lowest:g} to "
        f"{facts.highest:g}"
    )
    if facts.outside_range:
        message += ": check the scale of the ratings in interactions.sql"
    return judge("newest_range", facts.outside_range, bounds.outside_range, message + ".", count=new.rows, unit="rows")


def _judge_shares(new: WindowFacts, earlier: tuple[WindowFacts, ...], bounds: NewestThresholds) -> tuple[Finding, ...]:
    most_user = max(window.user_share for window in earlier)
    most_item = max(window.item_share for window in earlier)
    most_unknown = max(window.unknown_items for window in earlier)
    return (
        _judge_share(
            "newest_user",
            new.user_share,
            max(bounds.user_share, bounds.user_factor * most_user),
            f"user {new.user!r} made {percent(new.user_share)} of the new interactions; earlier at most "
            f"{percent(most_user)} were one user's",
            "look at that account: a robot, a test or an import under one name",
            new.rows,
        ),
        _judge_share(
            "newest_item",
            new.item_share,
            max(bounds.item_share, bounds.item_factor * most_item),
            f"item {new.item!r} got {percent(new.item_share)} of the new interactions; earlier at most "
            f"{percent(most_item)} were one item's",
            "look at that item: a default id, a promotion or a robot",
            new.rows,
        ),
        _judge_share(
            "newest_unknown_items",
            new.unknown_items,
            max(bounds.unknown_items, bounds.unknown_factor * most_unknown),
            f"{percent(new.unknown_items)} of the new interactions are with items that nobody had rated; earlier at "
            f"most {percent(most_unknown)}",
            "check that ids are joined correctly and keep their leading zeros",
            new.rows,
        ),
        _judge_share(
            "newest_repeated",
            new.repeated,
            max(bounds.repeated, bounds.repeated_factor * max(window.repeated for window in earlier)),
            f"{percent(new.repeated)} of the new interactions are of a user with an item that the user had before; "
            f"earlier at most {percent(max(window.repeated for window in earlier))}",
            "check that nothing was imported twice, and that no join multiplies rows",
            new.rows,
        ),
    )


def _judge_share(gate: str, share: float, limit: float, seen: str, advice: str, rows: int) -> Finding:
    message = seen[0].upper() + seen[1:] + (f": {advice}." if share > limit else ".")
    return judge(gate, share, Most(limit), message, count=rows, unit="rows")


def _judge_popularity(new: WindowFacts, earlier: tuple[WindowFacts, ...], bounds: NewestThresholds) -> Finding:
    before = [window.popularity for window in earlier if window.popularity is not None]
    if new.popularity is None or not before:
        return not_measured("newest_popularity", "no new interaction is with an item that was rated before")
    limit = max(0.0, min(before) - max(bounds.popularity_drop, 2 * pstdev(before)))
    message = (
        f"the items of new interactions are on average more popular than {percent(new.popularity)} of the rated "
        f"items; in earlier windows than {percent(min(before))} to {percent(max(before))}"
    )
    if new.popularity < limit:
        message += ": check that item ids are joined correctly"
    return judge(
        "newest_popularity",
        new.popularity,
        Least(limit),
        message[0].upper() + message[1:] + ".",
        count=new.rows,
        unit="rows",
    )


def _judge_correlation(new: WindowFacts, bounds: NewestThresholds) -> Finding:
    threshold = "HOLD if the interval touches 0, FAIL if it is below 0"
    needed = max(bounds.fewest_pairs, 4)
    if new.pairs < needed:
        few = f"{new.pairs:,} new ratings are of items with five approved ones, and {needed} are needed"
        return not_measured("newest_correlation", few)
    if new.correlation is None:
        equal = "the new ratings, or the approved means of their items, are all equal or not finite"
        return not_measured("newest_correlation", equal)
    low, high = correlation_interval(new.correlation, new.pairs)
    verdict = Verdict.FAIL if high < 0 else Verdict.HOLD if low <= 0 else Verdict.PASS
    message = (
        f"New ratings and the mean approved rating of their item correlate by {plain(new.correlation)} (95 % interval "
        f"{plain(low)} to {plain(high)})"
    )
    if verdict is not Verdict.PASS:
        message += ": check whether ratings are turned round, or belong to other items"
    return Finding(
        "newest_correlation", verdict, new.correlation, threshold, message + ".", new.pairs, "rows", (low, high)
    )
