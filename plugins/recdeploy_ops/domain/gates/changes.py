"""The gates over the candidate's lists by themselves, and against the champion's: how much changes for customers?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.behaviour import is_firm
from recdeploy_ops.domain.gates.bounds import judge, not_measured, with_advice
from recdeploy_ops.domain.gates.scales import percent, plain

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.behaviour import ListThresholds
    from recdeploy_ops.domain.gates.verdicts import Finding


@dataclass(frozen=True)
class Concentration:
    """How lists spread over the catalogue.

    Attributes:
        distinct_items: items that anyone gets.
        top_share: users who get the most recommended item.
        shared: users whose list, in any order, another user has too.
    """

    distinct_items: int
    top_share: float
    shared: float


@dataclass(frozen=True)
class ChampionFacts:
    """The champion's lists, for the users who have one in both.

    Attributes:
        users: how many these are.
        agreement: mean Jaccard index of the champion's and the candidate's list.
        concentration: of the champion's lists of these users.
        own: of the candidate's lists of the same users.
    """

    users: int
    agreement: float
    concentration: Concentration
    own: Concentration


@dataclass(frozen=True)
class Floors:
    """The noise floors; None where one is unknown.

    Attributes:
        candidate: of the candidate's twins.
        champion: of the champion's.
    """

    candidate: float | None
    champion: float | None


def judge_lists_alone(own: Concentration, tied: float, users: int, bounds: ListThresholds) -> tuple[Finding, ...]:
    """Judge what needs no champion and no twin: lists that many users share, and scores that tie.

    Args:
        own: of the candidate's lists.
        tied: share of the lists whose scores are all equal.
        users: with a list.
        bounds: of the settings.
    """
    same = f"{percent(own.shared)} of the users have a list that another user has too"
    ties = f"{percent(tied)} of the lists have the same score for every item, so that their order says nothing"
    ratings = "look at how the ratings are spread: with hardly any difference there is nothing to learn"
    return (
        judge(
            "shared_lists",
            own.shared,
            bounds.always_shared,
            with_advice(same, own.shared, bounds.always_shared, ratings),
            count=users,
        ),
        judge(
            "tied_scores", tied, bounds.always_tied, with_advice(ties, tied, bounds.always_tied, ratings), count=users
        ),
    )


def judge_changes(
    champion: ChampionFacts | None,
    floors: Floors,
    bounds: ListThresholds,
    *,
    why: str,
) -> tuple[Finding, ...]:
    """Judge the candidate's lists against the champion's.

    Args:
        champion: as measured; None if there is none.
        floors: of both.
        bounds: of the settings.
        why: the reason if ``champion`` is None.
    """
    if champion is None:
        gates = ("more_shared_lists", "noise_floor", "distinct_items", "top_item", "churn")
        return tuple(not_measured(gate, why) for gate in gates)
    users, before, own, floor = champion.users, champion.concentration, champion.own, floors.candidate
    can_fail = floor is not None and is_firm(users, floor, bounds)
    more = own.shared - before.shared
    spread = abs(own.distinct_items / before.distinct_items - 1) if before.distinct_items else math.nan
    reach = own.top_share - before.top_share
    return (
        judge(
            "more_shared_lists",
            more,
            bounds.shared,
            with_advice(
                f"{percent(own.shared)} of the users share their list with another; the champion had "
                f"{percent(before.shared)}",
                more,
                bounds.shared,
                "the model tells users apart less than before: look for users who lost their interactions",
            ),
            count=users,
            can_fail=users >= bounds.fewest_users,
        ),
        _judge_floor(users, floors, bounds),
        judge(
            "distinct_items",
            spread,
            bounds.distinct_items,
            with_advice(
                f"{own.distinct_items:,} different items are recommended; the champion recommends "
                f"{before.distinct_items:,}",
                spread,
                bounds.distinct_items,
                "look at what enters and what leaves the lists",
            ),
            count=users,
        ),
        judge(
            "top_item",
            max(reach, 0.0),
            bounds.top_item,
            with_advice(
                f"{percent(own.top_share)} of the users get the most recommended item; of the champion's "
                f"{percent(before.top_share)}",
                reach,
                bounds.top_item,
                "look at that item: a robot or an error may push it",
            ),
            count=users,
        ),
        _judge_churn(champion, floor, bounds, can_fail=can_fail),
    )


def _judge_floor(users: int, floors: Floors, bounds: ListThresholds) -> Finding:
    if floors.candidate is None or not floors.champion:
        whose = "candidate" if floors.candidate is None else "champion"
        return not_measured("noise_floor", f"the {whose}'s noise floor is unknown")
    moved = abs(floors.candidate / floors.champion - 1)
    message = (
        f"By chance two trainings agree by {plain(floors.candidate)}; for the champion it was {plain(floors.champion)}"
    )
    advice = "data or recipe differ from the champion's more than usual: compare both"
    return judge("noise_floor", moved, bounds.floor, with_advice(message, moved, bounds.floor, advice), count=users)


def _judge_churn(champion: ChampionFacts, floor: float | None, bounds: ListThresholds, *, can_fail: bool) -> Finding:
    if not floor:
        unknown = "the noise floor is unknown" if floor is None else "the twins share no item"
        return not_measured("churn", unknown)
    ratio = champion.agreement / floor
    message = (
        f"The lists agree with the champion's by {plain(champion.agreement)} (mean Jaccard index), {percent(ratio)} of "
        "what two trainings on the same data agree by"
    )
    advice = "much more changes for customers than chance explains: look at the most changed users"
    return judge(
        "churn",
        ratio,
        bounds.churn,
        with_advice(message, ratio, bounds.churn, advice),
        count=champion.users,
        can_fail=can_fail,
    )
