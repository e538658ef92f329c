"""Measurements of the candidate's lists against its twins' and the champion's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from recdeploy_ops.domain.gates.behaviour import Slice, TwinFacts, judge_twins
from recdeploy_ops.domain.gates.changes import ChampionFacts, Concentration, Floors, judge_changes, judge_lists_alone
from recdeploy_ops.evaluation.aligned_lists import align
from recdeploy_ops.evaluation.blast_radius import measure_blast_radius, name_items
from recdeploy_ops.evaluation.interactions import positions
from recdeploy_ops.evaluation.list_matrix import (
    count_shared,
    jaccard,
    mean_over_pairs,
    measure_concentration,
    read_matrix,
)
from recdeploy_ops.evaluation.slices import read_slices
from recdeploy_ops.training.recommendations import ITEMS, USERS, read_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from recdeploy_ops.domain.gates.behaviour import ListThresholds
    from recdeploy_ops.domain.gates.verdicts import Finding
    from recdeploy_ops.evaluation.blast_radius import BlastRadius
    from recdeploy_ops.evaluation.list_matrix import ListMatrix, Matrix
    from recdeploy_ops.evaluation.slices import Slices
    from recdeploy_ops.settings import Settings, SourceSettings

GONE = "not in today's users.sql"


@dataclass(frozen=True)
class BehaviourFacts:
    """What the candidate's lists do.

    Attributes:
        users: with a list.
        own: of the candidate's lists by themselves.
        tied: share of the lists whose scores are all equal.
        twins: against its twins; None without twins.
        champion: against the champion's lists; None without them, or if no user has both.
    """

    users: int
    own: Concentration
    tied: float
    twins: TwinFacts | None
    champion: ChampionFacts | None


@dataclass(frozen=True)
class Folders:
    """Where a version's files are.

    Attributes:
        results: with ``recommendations.csv``.
        extract: the data that it was trained on.
    """

    results: Path
    extract: Path


@dataclass(frozen=True)
class Population:
    """The users and items of the candidate's extract.

    Attributes:
        users: ids.
        items: ids.
        slices: of the users; None if the settings name no column of slices.
    """

    users: pa.Array
    items: pa.Array
    slices: Slices | None


def read_population(extract: Path, source: SourceSettings) -> Population:
    """Read the users and items of an extract; ``source`` names its columns."""
    users = read_ids(extract / USERS, source.user_column)
    items = read_ids(extract / ITEMS, source.item_column)
    return Population(users, items, read_slices(extract / USERS, users, source))


def measure_files(
    own: Folders, champions: Folders | None, twins: Sequence[Matrix] | None, *, settings: Settings
) -> tuple[BehaviourFacts, BlastRadius | None]:
    """Measure the candidate's lists, and what all users would see change; the latter is None without a champion.

    Args:
        own: the candidate's files.
        champions: the champion's; None without one.
        twins: the lists of its twins, with the users and items of the extract; None without any.
        settings: names the columns, and the smallest slice.

    Raises:
        TrainingFailedError: a file of recommendations cannot be used.
    """
    source = settings.source
    candidate, population = read_matrix(own.results, source), read_population(own.extract, source)
    theirs = read_matrix(champions.results, source) if champions else None
    measured = measure_behaviour(
        candidate, theirs, twins, population, fewest_in_slice=settings.gates.lists.fewest_in_slice
    )
    if champions is None or theirs is None:
        return measured, None
    users, items = population.users, population.items
    sides = align(theirs, candidate, users, items, twins or ())
    known = read_ids(champions.extract / ITEMS, source.item_column)
    slices = population.slices
    if slices is not None:
        slices = slices.followed_by(GONE, len(sides.users) - len(users))
    radius = measure_blast_radius(sides, positions(sides.items, known) < 0, slices)
    return measured, replace(radius, titles=name_items(radius, (own.extract, champions.extract), source))


def measure_behaviour(
    candidate: ListMatrix,
    champion: ListMatrix | None,
    twins: Sequence[Matrix] | None,
    population: Population,
    *,
    fewest_in_slice: int,
) -> BehaviourFacts:
    """Measure the candidate's lists.

    Args:
        candidate: its lists.
        champion: the champion's; None without one.
        twins: the lists of its twins, with the users and items of the population; None without any.
        population: of the candidate's extract.
        fewest_in_slice: smaller slices are not looked at.
    """
    users, items = population.users, population.items
    lists = candidate.within(users, items)
    return BehaviourFacts(
        users=len(candidate.lists),
        own=measure_concentration(candidate.lists),
        tied=float(candidate.tied.mean()),
        twins=None
        if twins is None
        else measure_twins(lists, twins, population.slices, fewest_in_slice=fewest_in_slice),
        champion=None if champion is None else measure_champion(lists, champion.within(users, items)),
    )


def judge_behaviour(
    measured: BehaviourFacts, champion_floor: float | None, bounds: ListThresholds, *, no_twins: str, no_champion: str
) -> tuple[Finding, ...]:
    """Judge the candidate's lists by all gates over what they do.

    Args:
        measured: the candidate's.
        champion_floor: the champion's noise floor; None if it is unknown.
        bounds: of the settings.
        no_twins: why twins are missing.
        no_champion: why a champion's lists are missing.
    """
    twins = measured.twins
    return (
        *judge_twins(twins, bounds, why=no_twins),
        *judge_lists_alone(measured.own, measured.tied, measured.users, bounds),
        *judge_changes(
            measured.champion, Floors(twins.floor if twins else None, champion_floor), bounds, why=no_champion
        ),
    )


def measure_twins(
    candidate: Matrix, twins: Sequence[Matrix], slices: Slices | None, *, fewest_in_slice: int
) -> TwinFacts | None:
    """Compare the candidate's lists with its twins'.

    Args:
        candidate: a row per user.
        twins: with the same users and item numbers; one if the recipe is deterministic, else at least two.
        slices: of the users; None without any.
        fewest_in_slice: smaller slices are not looked at.

    Returns:
        None if no user has a list.
    """
    listed = np.flatnonzero(candidate[:, 0] >= 0)
    if not len(listed):
        return None
    own, others = candidate[listed], [twin[listed] for twin in twins]
    with_twins = np.mean([jaccard(own, twin) for twin in others], axis=0)
    strangers = float(np.mean([(count_shared(own, twin) == 0).mean() for twin in others]))
    among, usual_strangers = mean_over_pairs(others)
    difference = with_twins - among
    return TwinFacts(
        users=len(listed),
        agreement=float(with_twins.mean()),
        floor=float(among.mean()),
        error=float(difference.std(ddof=1) / np.sqrt(len(listed))) if len(listed) > 1 else 0.0,
        strangers=strangers,
        usual_strangers=usual_strangers,
        worst_slice=None if slices is None else _worst_slice(with_twins, among, slices.take(listed), fewest_in_slice),
    )


def measure_champion(candidate: Matrix, champion: Matrix) -> ChampionFacts | None:
    """Compare the candidate's lists with the champion's, for the users who have both.

    Args:
        candidate: a row per user.
        champion: with the same users and item numbers.

    Returns:
        None if no user has a list of both.
    """
    both = np.flatnonzero((candidate[:, 0] >= 0) & (champion[:, 0] >= 0))
    if not len(both):
        return None
    agreement = float(jaccard(candidate[both], champion[both]).mean())
    return ChampionFacts(
        len(both), agreement, measure_concentration(champion[both]), measure_concentration(candidate[both])
    )


def _worst_slice(
    with_twins: NDArray[np.float64], among: NDArray[np.float64], slices: Slices, fewest: int
) -> Slice | None:
    sizes, own, usual = slices.count(), slices.add_up(with_twins), slices.add_up(among)
    large = np.flatnonzero((sizes >= fewest) & (usual > 0))
    if not len(large):
        return None
    worst = large[np.argmin(own[large] / usual[large])]
    return Slice(
        name=slices.names[worst],
        ratio=float(own[worst] / usual[worst]),
        users=int(sizes[worst]),
        floor=float(usual[worst] / sizes[worst]),
    )
