"""The gate over quality: does today's recipe on today's rows rank as well as the champion's on its own?

The question is a backtest on data that a person has already approved: of each user with enough interactions the last
ones are held out of the champion's extract; both sides are trained without them, several times each, and asked for
them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.gates.bounds import Thresholds, not_measured
from recdeploy_ops.domain.gates.scales import Scale, percent, plain
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class QualityThresholds(Thresholds):
    """How the backtest is made, and its bounds.

    Attributes:
        margin: PASS if the candidate is certainly not worse by this share.
        fewest_users: with held-out interactions, for any verdict but HOLD.
        fewest_hits: of them, users for whom either side recommends a held-out item.
        seeds: trainings of each side.
        depth: length of a list; models of a backtest are not served, and longer lists have less noise.
        held_out_share: of a user's interactions.
        most_held_out: of a user's interactions.
        fewest_interactions: users with fewer are not asked about.
        most_users: more are sampled.
    """

    margin: float = 0.1
    fewest_users: int = 200
    fewest_hits: int = 100
    seeds: int = 5
    depth: int = 100
    held_out_share: float = 0.2
    most_held_out: int = 10
    fewest_interactions: int = 10
    most_users: int = 20_000

    def __post_init__(self) -> None:
        if not (0 < self.margin < 1 and 0 < self.held_out_share <= 0.5):
            raise ValueError("margin must be between 0 and 1, and held_out_share between 0 and 0.5")
        if not 2 <= self.seeds <= 50:
            raise ValueError(
                "seeds must be between 2 and 50: with one, the effect of the seed cannot be told from the recipe's"
            )
        counts = (self.fewest_users, self.fewest_hits, self.depth, self.most_held_out, self.most_users)
        if min(counts) < 1 or self.fewest_interactions < 2:
            raise ValueError("a number of users, hits or items must be at least 1, fewest_interactions at least 2")
        if self.fewest_interactions * self.held_out_share < 1:
            raise ValueError("fewest_interactions times held_out_share must be at least 1, or nothing is held out")
        if self.most_users < self.fewest_users:
            raise ValueError(f"most_users must be at least fewest_users, which is {self.fewest_users}")


@dataclass(frozen=True)
class QualityFacts:
    """The backtest. Numbers of quality are mean NDCG over users and trainings.

    Attributes:
        users: with held-out interactions.
        hits: of them, users for whom either side recommends a held-out item.
        relative: the candidate's quality relative to the champion's, less 1.
        low: lower end of its 95 % interval, which covers users and seeds.
        high: upper end.
        champion: its quality.
        candidate: its quality.
        at_10: the relative difference in the first ten places, and its interval; for information.
        random: of random lists.
        popularity: of the most popular items that a user has not rated, the same for everyone.
        depth: length of a list.
        champion_trainings: of its side; one if its recipe is deterministic.
        candidate_trainings: likewise.
    """

    users: int
    hits: int
    relative: float
    low: float
    high: float
    champion: float
    candidate: float
    at_10: tuple[float, float, float]
    random: float
    popularity: float
    depth: int
    champion_trainings: int
    candidate_trainings: int

    def to_plain(self) -> dict[str, Any]:
        """Return the facts as plain values; a number that is not finite is None, as JSON has no NaN."""
        values = {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {**values, "at_10": [_finite(number) for number in self.at_10]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> QualityFacts:
        """Return what `to_plain` turned into plain values."""
        values: dict[str, Any] = {name: math.nan if value is None else value for name, value in plain.items()}
        relative, low, high = (math.nan if value is None else value for value in plain["at_10"])
        return cls(**{**values, "at_10": (relative, low, high)})

    @property
    def half_width(self) -> float:
        """Return half the width of the interval."""
        return (self.high - self.low) / 2


def judge_quality(facts: QualityFacts | None, bounds: QualityThresholds, *, why: str) -> Finding:
    """Judge the backtest.

    PASS: certainly not worse by the margin. FAIL: certainly worse, and by more than the margin at best guess.

    Args:
        facts: as measured; None if it could not be made.
        bounds: of the settings.
        why: the reason if ``facts`` is None.
    """
    if facts is None:
        return not_measured("quality", why)
    threshold = (
        f"PASS if the interval is above -{percent(bounds.margin)}, FAIL if it is below 0 and the value below "
        f"-{percent(bounds.margin)}"
    )
    numbers = (facts.relative, facts.low, facts.high)
    if not all(map(math.isfinite, numbers)):
        message, verdict = _advise_more(facts, bounds).strip(), Verdict.HOLD
        return Finding("quality", verdict, None, threshold, message, facts.users, scale=Scale.SHARE)
    verdict, advice = _decide(facts, bounds)
    return Finding(
        "quality",
        verdict,
        facts.relative,
        threshold,
        _describe(facts) + advice,
        facts.users,
        interval=(facts.low, facts.high),
        scale=Scale.SHARE,
    )


def _decide(facts: QualityFacts, bounds: QualityThresholds) -> tuple[Verdict, str]:
    """Return the verdict on a difference that was measured, and what to do."""
    if facts.users < bounds.fewest_users or facts.hits < bounds.fewest_hits:
        return Verdict.HOLD, _advise_more(facts, bounds)
    if facts.high < 0 and facts.relative < -bounds.margin:
        return Verdict.FAIL, " It ranks worse: look at what changed in the data and in the settings of training."
    if facts.low > -bounds.margin:
        return Verdict.PASS, ""
    return Verdict.HOLD, _advise_wider(facts, bounds)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _describe(facts: QualityFacts) -> str:
    return (
        f"On interactions held out of the champion's data, today's recipe ranks {facts.relative:+.1%} (95 % interval "
        f"{facts.low:+.1%} to {facts.high:+.1%}) relative to the champion's: NDCG@{facts.depth} "
        f"{plain(facts.candidate)} against {plain(facts.champion)}, {facts.candidate_trainings} and "
        f"{facts.champion_trainings} trainings, {facts.users:,} users, {facts.hits:,} with a hit. Random lists reach "
        f"{plain(facts.random)}, the most popular items {plain(facts.popularity)}."
    )


def _advise_more(facts: QualityFacts, bounds: QualityThresholds) -> str:
    return (
        f" Too little evidence: at least {bounds.fewest_users:,} users with {bounds.fewest_interactions} interactions "
        f"are needed, and {bounds.fewest_hits:,} of them with a hit; there are {facts.users:,} and {facts.hits:,}. A "
        "person must judge."
    )


def _advise_wider(facts: QualityFacts, bounds: QualityThresholds) -> str:
    if facts.half_width <= bounds.margin:
        return " It may be worse by more than the margin: look at what changed in the data and in the settings."
    needed = math.ceil(facts.users * (facts.half_width / bounds.margin) ** 2)
    return (
        f" The interval is wider than the margin: about {needed:,} users with {bounds.fewest_interactions} "
        "interactions would be enough. A person must judge."
    )
