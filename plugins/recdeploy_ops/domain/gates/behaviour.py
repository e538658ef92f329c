"""The gates over what the lists do: is the candidate what its recipe gives?

Two *twins* are models of the same rows and recipe with other seeds, whose lists nobody has touched. How far twins agree
is the *noise floor*: the rest differs by chance alone. A candidate that agrees less with its twins than they with each
other is not what its recipe gives: its lists were exchanged, cut, mixed up or replaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import one_line
from recdeploy_ops.domain.gates.bounds import (
    Least,
    Most,
    Thresholds,
    judge,
    normal_half_width,
    not_measured,
    with_advice,
)
from recdeploy_ops.domain.gates.scales import percent, plain
from recdeploy_ops.domain.recipes import EASE

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.verdicts import Finding
    from recdeploy_ops.domain.recipes import Recipe

NOT_ITS_RECIPE = (
    "the lists are not what this recipe gives for this data: compare recommendations.csv with the operator's output, "
    "and train again"
)

TOO_LITTLE = "there is too little evidence to tell this from chance: look at the lists of some users"


@dataclass(frozen=True)
class EaseBounds(Thresholds):
    """Bounds of EASE, from its own weeks. `ListThresholds` says what each bounds.

    EASE gives the same lists as its twin, to the last item. When it chooses another regularization than the week
    before, its lists spread more or less over the catalogue.

    Attributes:
        disagreement: with its twin.
        strangers: to its twin.
        slice: of users, that agrees least with its twin.
        shared: lists that users share.
        distinct_items: that anyone gets.
    """

    disagreement: Most = Most(0.001, 0.02)
    strangers: Most = Most(0.001, 0.01)
    slice: Least = Least(0.99, 0.9)
    shared: Most = Most(0.15)
    distinct_items: Most = Most(0.4)


@dataclass(frozen=True)
class ListThresholds(Thresholds):
    """Bounds of what the lists may do.

    Attributes:
        disagreement: how far the agreement with the twins may be below that of the twins, as a share of it.
        strangers: users whose list shares no item with a twin's, above those between twins.
        strangers_slack: added to both bounds of ``strangers``, as a share of the strangers between twins: where seeds
            alone make many strangers, their number varies more.
        shared: users whose list another user has too, above the champion's share of such users.
        always_shared: the same share by itself.
        always_tied: lists whose scores are all equal, so that their order says nothing.
        slice: agreement of the worst slice of users with the twins, by that of the twins in this slice.
        floor: how far the noise floor may be from the champion's, as a share of it.
        distinct_items: how far the number of items that anyone gets may be from the champion's, as a share of it.
        top_item: users who get the most recommended item, above the champion's share of such users.
        churn: agreement with the champion's lists, by the noise floor.
        least_floor: with a lower noise floor nothing here fails, as seeds alone go beyond every bound.
        fewest_users: with fewer nothing here fails.
        fewest_in_slice: smaller slices are not looked at.
        ease: bounds that replace those of the same names for the recipe EASE.
    """

    disagreement: Most = Most(0.12, 0.20)
    strangers: Most = Most(0.01, 0.03)
    strangers_slack: float = 0.2
    shared: Most = Most(0.01, 0.05)
    always_shared: Most = Most(0.25)
    always_tied: Most = Most(0.5)
    slice: Least = Least(0.6, 0.6)
    floor: Most = Most(0.25)
    distinct_items: Most = Most(0.25)
    top_item: Most = Most(0.25)
    churn: Least = Least(0.6, 0.25)
    least_floor: float = 0.15
    fewest_users: int = 500
    fewest_in_slice: int = 40
    ease: EaseBounds = EaseBounds()

    def __post_init__(self) -> None:
        shares = (self.strangers_slack, self.least_floor)
        if not all(math.isfinite(share) and 0 <= share <= 1 for share in shares):
            raise ValueError("strangers_slack and least_floor must be between 0 and 1")
        if min(self.fewest_users, self.fewest_in_slice) < 1:
            raise ValueError("fewest_users and fewest_in_slice must be at least 1")

    def of(self, recipe: Recipe) -> ListThresholds:
        """Return the bounds that count for a recipe."""
        if recipe.name != EASE.name:
            return self
        own = self.ease
        return replace(
            self,
            disagreement=own.disagreement,
            strangers=own.strangers,
            slice=own.slice,
            shared=own.shared,
            distinct_items=own.distinct_items,
        )


@dataclass(frozen=True)
class Slice:
    """The slice of users that agrees least with the twins.

    Attributes:
        name: for a reader, e.g. ``country = DE``.
        ratio: agreement with the twins, by that of the twins.
        users: in it.
        floor: agreement of the twins in it.
    """

    name: str
    ratio: float
    users: int
    floor: float


@dataclass(frozen=True)
class TwinFacts:
    """The candidate's lists against its twins'. Agreement is the mean Jaccard index of a user's two lists.

    Attributes:
        users: with a list.
        agreement: with the twins, on average.
        floor: of the twins with each other.
        error: standard error over users of agreement less floor.
        strangers: users whose list shares no item with a twin's, on average over the twins.
        usual_strangers: the same between the twins.
        worst_slice: None without a column of slices, or without a slice that is large enough.
    """

    users: int
    agreement: float
    floor: float
    error: float
    strangers: float
    usual_strangers: float
    worst_slice: Slice | None = None


def judge_twins(facts: TwinFacts | None, bounds: ListThresholds, *, why: str) -> tuple[Finding, ...]:
    """Judge whether the candidate is what its recipe gives.

    Args:
        facts: as measured; None without twins.
        bounds: of the settings.
        why: the reason if ``facts`` is None.
    """
    if facts is None:
        return (not_measured("twin_agreement", why), not_measured("strangers", why))
    can_fail = is_firm(facts.users, facts.floor, bounds)
    advice = NOT_ITS_RECIPE if can_fail else TOO_LITTLE
    below = 1 - facts.agreement / facts.floor if facts.floor else math.nan
    half = normal_half_width(facts.error) / facts.floor if facts.floor else math.nan
    interval = (below - half, below + half) if math.isfinite(half) else None
    slack = bounds.strangers_slack * facts.usual_strangers
    limit = Most(
        bounds.strangers.hold + slack, None if bounds.strangers.fail is None else bounds.strangers.fail + slack
    )
    excess = facts.strangers - facts.usual_strangers
    agreement = (
        f"The lists agree with those of two twins (same data and recipe, other seeds) by {plain(facts.agreement)} "
        f"(mean Jaccard index); the twins agree with each other by {plain(facts.floor)}"
    )
    strangers = (
        f"{percent(facts.strangers)} of the users have a list that shares nothing with a twin's; between the twins "
        f"{percent(facts.usual_strangers)}"
    )
    findings = [
        judge(
            "twin_agreement",
            below,
            bounds.disagreement,
            with_advice(agreement, below, bounds.disagreement, advice),
            count=facts.users,
            interval=interval,
            can_fail=can_fail,
        ),
        judge(
            "strangers",
            excess,
            limit,
            with_advice(strangers, excess, limit, advice),
            count=facts.users,
            can_fail=can_fail,
        ),
    ]
    if facts.worst_slice is not None:
        worst = facts.worst_slice
        seen = (
            f'In the slice "{one_line(worst.name)}" ({worst.users:,} users) the lists agree with the twins\' by '
            f"{percent(worst.ratio)} of the noise floor"
        )
        findings.append(
            judge(
                "worst_slice",
                worst.ratio,
                bounds.slice,
                with_advice(seen, worst.ratio, bounds.slice, f"for these users {NOT_ITS_RECIPE}"),
                count=worst.users,
                can_fail=is_firm(worst.users, worst.floor, bounds),
            )
        )
    return tuple(findings)


def is_firm(users: int, floor: float, bounds: ListThresholds) -> bool:
    """Return whether there is enough evidence for a FAIL."""
    return floor >= bounds.least_floor and users >= bounds.fewest_users
