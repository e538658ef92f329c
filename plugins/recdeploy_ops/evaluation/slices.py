"""Slices of users: those with the same value of the column that ``source.segment_column`` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.evaluation.interactions import positions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

LONGEST_NAME = 60


@dataclass(frozen=True)
class Slices:
    """The slice of each user.

    Attributes:
        names: of the slices, for a reader, e.g. ``country = DE`` or ``country is unknown``.
        codes: the position in ``names`` of each user's slice; shape (users,).
    """

    names: tuple[str, ...]
    codes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Slices:
        """Return the slices of some users."""
        return Slices(self.names, self.codes[rows])

    def followed_by(self, name: str, users: int) -> Slices:
        """Return the same with more users, who are a slice of their own."""
        return Slices((*self.names, name), np.append(self.codes, np.full(users, len(self.names))))

    def count(self) -> NDArray[np.int64]:
        """Return the number of users in each slice."""
        return np.bincount(self.codes, minlength=len(self.names))

    def add_up(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of the users' values in each slice."""
        return np.asarray(np.bincount(self.codes, values, minlength=len(self.names)), np.float64)


def read_slices(path: Path, users: pa.Array, source: SourceSettings) -> Slices | None:
    """Return the slice of each user; None if the settings name no column of slices.

    Args:
        path: of ``users.parquet``.
        users: ids, in the order that is wanted.
        source: names the columns; one that the file does not have counts as none.
    """
    column = source.segment_column
    if column is None or column not in pq.read_schema(path).names:
        return None
    table = pq.read_table(path, columns=[source.user_column, column])
    rows = positions(users, table.column(0).combine_chunks())
    values = table.column(1).combine_chunks().cast(pa.string()).take(rows).fill_null("").dictionary_encode()
    names = (f"{column} = {value}" if value else f"{column} is unknown" for value in values.dictionary.to_pylist())
    return Slices(tuple(shorten(name, LONGEST_NAME) for name in names), values.indices.to_numpy().astype(np.int64))
