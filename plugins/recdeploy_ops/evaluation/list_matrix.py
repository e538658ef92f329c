"""The lists of all users as one matrix of integers, and how to compare two of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from recdeploy_ops.domain.gates.changes import Concentration
from recdeploy_ops.evaluation.interactions import mix, positions
from recdeploy_ops.training.recommendations import read_list_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

    # A row per user and a column per rank: a number per item, -1 where a list is shorter.
    Matrix = NDArray[np.int32]

BLOCK = 1 << 16
NONE = np.int32(-1)


@dataclass(frozen=True)
class ListMatrix:
    """The lists of ``recommendations.csv``.

    Attributes:
        users: one id per list.
        items: the id of each number.
        lists: shape (lists, longest list).
        tied: whether all scores of a list are equal, of lists with at least two; shape (lists,).
    """

    users: pa.Array
    items: pa.Array
    lists: Matrix
    tied: NDArray[np.bool_]

    def within(self, users: pa.Array, items: pa.Array) -> Matrix:
        """Return the lists of these users, in this order, with items numbered by their position in ``items``.

        Items that are not there get numbers from ``len(items)`` on. A user without a list gets an empty one.
        """
        numbers = positions(self.items, items)
        strange = np.flatnonzero(numbers < 0)
        numbers[strange] = len(items) + np.arange(len(strange))
        rows = positions(users, self.users)
        coded = np.where(self.lists >= 0, numbers.astype(np.int32)[self.lists], NONE)
        return np.where(rows[:, None] >= 0, coded[rows], NONE)


def read_matrix(results_folder: Path, source: SourceSettings) -> ListMatrix:
    """Read ``recommendations.csv``.

    Args:
        results_folder: of the file.
        source: names its columns.

    Raises:
        TrainingFailedError: the file cannot be used.
    """
    users, items, sizes, tied = [], [], [], []
    for rows, starts in read_list_rows(results_folder, source):
        bounds = np.append(starts, rows.num_rows)
        users.append(rows.column(0).take(pa.array(starts)))
        items.append(rows.column(1).dictionary_encode())
        sizes.append(np.diff(bounds))
        ratings = rows.column(2).to_numpy()
        tied.append((ratings[starts] == ratings[bounds[1:] - 1]) & (sizes[-1] > 1))
    encoded, lengths = pa.chunked_array(items).unify_dictionaries(), np.concatenate(sizes)
    lists = np.full((len(lengths), lengths.max()), NONE)
    lists[np.arange(lists.shape[1]) < lengths[:, None]] = np.concatenate(
        [chunk.indices.to_numpy() for chunk in encoded.chunks]
    )
    return ListMatrix(pa.concat_arrays(users), encoded.chunk(0).dictionary, lists, np.concatenate(tied))


def count_shared(one: Matrix, other: Matrix) -> NDArray[np.int16]:
    """Return how many items the two lists of each user share; shape (users,)."""
    shared = np.zeros(len(one), np.int16)
    for start in range(0, len(one), BLOCK):
        rows = slice(start, start + BLOCK)
        for column in range(one.shape[1]):
            item = one[rows, column : column + 1]
            shared[rows] += ((other[rows] == item) & (item >= 0)).any(axis=1)
    return shared


def jaccard(one: Matrix, other: Matrix) -> NDArray[np.float64]:
    """Return ``|A and B| / |A or B|`` of the two lists of each user, 1 for two empty ones; shape (users,)."""
    shared = count_shared(one, other).astype(np.float64)
    union = (one >= 0).sum(axis=1) + (other >= 0).sum(axis=1) - shared
    index: NDArray[np.float64] = np.divide(shared, union, out=np.ones(len(one)), where=union > 0)
    return index


def measure_concentration(lists: Matrix) -> Concentration:
    """Measure how lists spread over the catalogue.

    Args:
        lists: of users who have one; at least one.
    """
    shown = np.bincount(lists[lists >= 0])
    hashes = np.sort(hash_lists(lists))
    same = hashes[1:] == hashes[:-1]
    repeats = np.append(same, False) | np.append(False, same)
    return Concentration(
        distinct_items=int(np.count_nonzero(shown)),
        top_share=float(shown.max() / len(lists)),
        shared=float(repeats.mean()),
    )


def hash_lists(lists: Matrix) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each list's items, whatever their order; shape (lists,).

    Of 10 million different lists two have the same hash with a probability of 3 in a million.
    """
    hashes = np.zeros(len(lists), np.uint64)
    for column in lists.T:
        hashes += np.where(column >= 0, mix(column.astype(np.uint64)), np.uint64(0))
    return hashes


def mean_over_pairs(matrices: list[Matrix]) -> tuple[NDArray[np.float64], float]:
    """Return each user's mean Jaccard index over neighbouring matrices, and the share of users who share nothing.

    A single matrix stands for a recipe without chance: another training would give the same lists.
    """
    pairs = list(pairwise(matrices)) or [(matrices[0], matrices[0])]
    agreement = np.mean([jaccard(one, other) for one, other in pairs], axis=0)
    strangers = float(np.mean([(count_shared(one, other) == 0).mean() for one, other in pairs]))
    return agreement, strangers
