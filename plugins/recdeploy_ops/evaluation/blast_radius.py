"""What all users would see change: champion's and candidate's lists compared exactly, with chance beside it.

Chance is what changes between the candidate and its twins: same data and recipe, another seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.gates.bounds import normal_half_width
from recdeploy_ops.evaluation.interactions import positions
from recdeploy_ops.evaluation.list_matrix import count_shared
from recdeploy_ops.training.recommendations import ITEMS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.evaluation.aligned_lists import Sides
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.evaluation.slices import Slices
    from recdeploy_ops.settings import SourceSettings

MOST_USERS, MOST_ITEMS, MOST_SLICES = 10, 10, 20
FEWEST_WITH_INTERVAL = 2  # users


@dataclass(frozen=True)
class Reach:
    """How many users have an item in their list.

    Attributes:
        item: its id.
        champion: users, of the champion's lists.
        candidate: users, of the candidate's lists.
        twins: users, of the lists of each twin.
    """

    item: str
    champion: int
    candidate: int
    twins: tuple[int, ...]


@dataclass(frozen=True)
class ChangedUser:
    """A user whose list changes much.

    Attributes:
        user: their id.
        kept: items in both lists.
        champion: item ids of the champion's list, best first.
        candidate: of the candidate's.
    """

    user: str
    kept: int
    champion: tuple[str, ...]
    candidate: tuple[str, ...]


@dataclass(frozen=True)
class SliceChange:
    """How much the lists of a slice of users change.

    Attributes:
        name: for a reader, e.g. ``country = DE``.
        users: with both lists.
        kept: items that stay, on average.
        chance: items that stay between the candidate and a twin, on average; None without twins.
    """

    name: str
    users: int
    kept: float
    chance: float | None


@dataclass(frozen=True)
class BlastRadius:
    """What would change if the candidate were promoted.

    Attributes:
        both: users with a list of both.
        new_users: users with a list of the candidate only.
        lost_users: users with a list of the champion only.
        kept: users by the number of items that stay; shape (length of a list + 1,).
        chance: the same between the candidate and its twins, as shares of the users; empty without twins.
        lost: items of the champion's list that a user loses, on average.
        lost_by_chance: items of the candidate's list that a twin's has not, on average; None without twins.
        beyond: how many items a user loses beyond those that a twin's list lacks: the mean over the users with both
            lists, and the ends of its 95 % interval; None without twins, or with one user.
        places: places in all lists of the candidate.
        new_items: items of today's catalogue that the champion's had not.
        new_item_places: places that they have in the candidate's lists.
        entering: items that nobody had in a list.
        leaving: items that nobody will have.
        enter: of those, the ones with the most users.
        leave: likewise.
        movers: items whose number of users changes most.
        slices: the largest, the one with the most users first.
        more_slices: number of smaller ones.
        changed: users who keep the fewest items, of those who lose any.
        titles: names of the items above, by id.
    """

    both: int
    new_users: int
    lost_users: int
    kept: tuple[int, ...]
    chance: tuple[float, ...]
    lost: float
    lost_by_chance: float | None
    beyond: tuple[float, float, float] | None
    places: int
    new_items: int
    new_item_places: int
    entering: int
    leaving: int
    enter: tuple[Reach, ...]
    leave: tuple[Reach, ...]
    movers: tuple[Reach, ...]
    slices: tuple[SliceChange, ...]
    more_slices: int
    changed: tuple[ChangedUser, ...]
    titles: dict[str, str]


def measure_blast_radius(sides: Sides, new_items: NDArray[np.bool_], slices: Slices | None) -> BlastRadius:
    """Compare the lists of all users.

    Args:
        sides: with one numbering.
        new_items: which items the champion's catalogue had not; shape (items,).
        slices: of the users; None without any.
    """
    old, new, items = sides.champion, sides.candidate, len(sides.items)
    has_old, has_new = old[:, 0] >= 0, new[:, 0] >= 0
    both = np.flatnonzero(has_old & has_new)
    kept = count_shared(old[both], new[both])
    before, after = _count_users(old, items), _count_users(new, items)
    of_twins = [_count_users(twin, items) for twin in sides.twins]
    chance = [count_shared(new[has_new], twin[has_new]) for twin in sides.twins]
    width = max(old.shape[1], new.shape[1])

    def name(numbers: NDArray[np.int64]) -> tuple[Reach, ...]:
        return tuple(
            Reach(sides.items[int(n)].as_py(), int(before[n]), int(after[n]), tuple(int(twin[n]) for twin in of_twins))
            for n in numbers
        )

    enter = np.where((before == 0) & (after > 0), after, 0)
    leave = np.where((after == 0) & (before > 0), before, 0)
    changes = _measure_slices(slices, both, kept, chance, np.flatnonzero(has_new)) if slices else ()
    shares = [np.bincount(shared, minlength=width + 1) / max(len(shared), 1) for shared in chance]
    return BlastRadius(
        both=len(both),
        new_users=int((has_new & ~has_old).sum()),
        lost_users=int((has_old & ~has_new).sum()),
        kept=tuple(np.bincount(kept, minlength=width + 1).tolist()),
        chance=tuple(np.mean(shares, axis=0).tolist()) if shares else (),
        lost=_mean_lost(old[both], kept),
        lost_by_chance=float(np.mean([_mean_lost(new[has_new], shared) for shared in chance])) if chance else None,
        beyond=_measure_beyond(old[both], new[both], kept, [twin[both] for twin in sides.twins]),
        places=int((new >= 0).sum()),
        new_items=int(new_items.sum()),
        new_item_places=int(after[new_items].sum()),
        entering=int(np.count_nonzero(enter)),
        leaving=int(np.count_nonzero(leave)),
        enter=name(_largest(enter)),
        leave=name(_largest(leave)),
        movers=name(_largest(np.abs(after - before))),
        slices=changes[:MOST_SLICES],
        more_slices=len(changes[MOST_SLICES:]),
        changed=_name_changed(sides, both, kept),
        titles={},
    )


def name_items(radius: BlastRadius, extracts: Sequence[Path], source: SourceSettings) -> dict[str, str]:
    """Return the titles of the items that a blast radius names.

    Args:
        radius: as measured.
        extracts: folders to look in, the first one first.
        source: names the columns; without one of titles nothing is found.
    """
    reaches = (*radius.enter, *radius.leave, *radius.movers)
    wanted = {reach.item for reach in reaches}
    wanted |= {item for user in radius.changed for item in (*user.champion, *user.candidate)}
    titles: dict[str, str] = {}
    for folder in extracts:
        path = folder / ITEMS
        if source.title_column is None or source.title_column not in pq.read_schema(path).names:
            continue
        table = pq.read_table(path, columns=[source.item_column, source.title_column])
        ids = pa.array(sorted(wanted - titles.keys()), pa.string())
        rows = positions(ids, table.column(0).combine_chunks())
        named = np.flatnonzero(rows >= 0)
        texts = table.column(1).take(rows[named]).to_pylist()
        titles |= {ids[int(n)].as_py(): str(text) for n, text in zip(named, texts, strict=True) if text is not None}
    return titles


def _count_users(lists: Matrix, items: int) -> NDArray[np.int64]:
    """Return how many users have each item; a list has an item once."""
    return np.bincount(lists[lists >= 0], minlength=items)


def _largest(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the largest positive values, at most `MOST_ITEMS`."""
    order = np.argsort(-values, kind="stable")[:MOST_ITEMS]
    return np.asarray(order[values[order] > 0])


def _mean_lost(lists: Matrix, kept: NDArray[np.int16]) -> float:
    """Return how many items of a list do not stay, on average; 0 without lists."""
    return float(((lists >= 0).sum(axis=1) - kept).mean()) if len(lists) else 0.0


def _measure_beyond(
    old: Matrix, new: Matrix, kept: NDArray[np.int16], twins: Sequence[Matrix]
) -> tuple[float, float, float] | None:
    if not twins or len(old) < FEWEST_WITH_INTERVAL:
        return None
    usual = np.mean([count_shared(new, twin) for twin in twins], axis=0)
    difference = ((old >= 0).sum(axis=1) - kept) - ((new >= 0).sum(axis=1) - usual)
    mean, half = float(difference.mean()), normal_half_width(float(difference.std(ddof=1)) / math.sqrt(len(difference)))
    return mean, mean - half, mean + half


def _measure_slices(
    slices: Slices,
    both: NDArray[np.int64],
    kept: NDArray[np.int16],
    chance: Sequence[NDArray[np.int16]],
    listed: NDArray[np.int64],
) -> tuple[SliceChange, ...]:
    """Return the change of each slice with users who have both lists, the largest one first."""
    of_both, of_listed = slices.take(both), slices.take(listed)
    sizes, stay = of_both.count(), of_both.add_up(kept.astype(np.float64))
    usual = of_listed.add_up(np.mean(chance, axis=0)) / np.maximum(of_listed.count(), 1) if chance else None
    order = np.argsort(-sizes, kind="stable")
    return tuple(
        SliceChange(
            slices.names[n], int(sizes[n]), float(stay[n] / sizes[n]), None if usual is None else float(usual[n])
        )
        for n in order[sizes[order] > 0]
    )


def _name_changed(sides: Sides, both: NDArray[np.int64], kept: NDArray[np.int16]) -> tuple[ChangedUser, ...]:
    full = (sides.champion[both] >= 0).sum(axis=1)
    order = np.argsort(kept, kind="stable")[:MOST_USERS]
    order = order[kept[order] < full[order]]

    def ids(row: NDArray[np.int32]) -> tuple[str, ...]:
        return tuple(sides.items.take(pa.array(row[row >= 0])).to_pylist())

    return tuple(
        ChangedUser(
            user=sides.users[int(both[n])].as_py(),
            kept=int(kept[n]),
            champion=ids(sides.champion[both[n]]),
            candidate=ids(sides.candidate[both[n]]),
        )
        for n in order
    )
