"""How ways to recommend rank held-out interactions: the recipe, a challenger, the most popular items, and chance.

It says what a shop could do better, and decides about no release.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.gates.scales import percent, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

POPULARITY, RANDOM = "popularity", "random"
TITLES = {POPULARITY: "The most popular items", RANDOM: "Random items"}


@dataclass(frozen=True)
class Ranked:
    """One way to recommend.

    Attributes:
        name: of the recipe, `POPULARITY` or `RANDOM`.
        quality: mean NDCG over users and trainings.
        relative: its quality relative to the configured recipe's, less 1; None for that one itself, or if unknown.
        low: lower end of the 95 % interval of ``relative``; None without one.
        high: upper end.
    """

    name: str
    quality: float
    relative: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_clearly_better(self) -> bool:
        """Return whether it certainly ranks better than the configured recipe."""
        return self.low is not None and self.low > 0

    @property
    def title(self) -> str:
        """Return its name in a sentence."""
        return TITLES.get(self.name, f"The recipe {self.name}")


@dataclass(frozen=True)
class Rankings:
    """All of them, on one backtest.

    Attributes:
        configured: the configured recipe.
        others: challenger and baselines.
        depth: length of a list.
        users: who were asked.
        why: why the challenger is missing, as a clause; empty if it is there.
    """

    configured: Ranked
    others: tuple[Ranked, ...]
    depth: int
    users: int
    why: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values; a number that is not finite is None."""

        def plain_of(ranked: Ranked) -> dict[str, Any]:
            return {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(ranked).items()
            }

        others = [plain_of(ranked) for ranked in self.others]
        return {**asdict(self), "configured": plain_of(self.configured), "others": others}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Rankings:
        """Return what `to_plain` turned into plain values."""
        others = tuple(Ranked(**ranked) for ranked in plain["others"])
        return cls(**{**plain, "configured": Ranked(**plain["configured"]), "others": others})

    def describe(self) -> tuple[str, ...]:
        """Return what a shop could do better, a sentence each, with the setting to change."""
        own, sentences = self.configured, []
        for ranked in self.others:
            if not ranked.is_clearly_better or ranked.name == RANDOM:
                continue
            advice = (
                "training.recipe ease or als ranks what people will take"
                if ranked.name == POPULARITY
                else f"set training.recipe to {ranked.name} to release it next"
            )
            sentences.append(
                f"{ranked.title} would rank {percent(ranked.relative or 0)} better than {own.name} (95 % interval "
                f"{percent(ranked.low or 0)} to {percent(ranked.high or 0)}; NDCG@{self.depth} "
                f"{plain(ranked.quality)} against {plain(own.quality)}): {advice}. It decides nothing about this "
                "release."
            )
        if self.why:
            sentences.append(f"The challenger was not measured: {self.why}.")
        return tuple(sentences)
