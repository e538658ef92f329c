"""Measurements of the extracted Parquet files for the data gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.gates.data import DataFacts, TableFacts
from recdeploy_ops.evaluation.interactions import Codes, read_codes
from recdeploy_ops.evaluation.orphans import find_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import Settings, SourceSettings

EXAMPLES = 3


def measure_data(folder: Path, settings: Settings, manifest_facts: Mapping[str, Any]) -> DataFacts:
    """Measure an extract. Ids become numbers first, so that memory is some tens of bytes per row.

    Args:
        folder: has ``interactions.parquet``, ``users.parquet`` and ``items.parquet``.
        settings: names the columns.
        manifest_facts: as `extract_tables` returned them: the rows left out, the newest interaction.
    """
    source = settings.source
    problems = {name: _schema_problems(folder / f"{name}.parquet", kinds) for name, kinds in _kinds(source)}
    newest = manifest_facts.get("newest_interaction")
    if any(problems.values()):
        # Nothing else is measured, and what is not measured does not pass.
        tables = {
            name: TableFacts(
                pq.read_metadata(folder / f"{name}.parquet").num_rows, _null_ids(manifest_facts, name), 0, faults
            )
            for name, faults in problems.items()
        }
        return DataFacts(tables, has_timestamps=source.timestamp_column is not None)
    users = read_codes(folder / "users.parquet", source.user_column)
    items = read_codes(folder / "items.parquet", source.item_column)
    by_user = read_codes(folder / "interactions.parquet", source.user_column)
    by_item = read_codes(folder / "interactions.parquet", source.item_column)
    pairs = _Pairs(by_user, by_item)
    orphans = np.flatnonzero(~(by_user.are_in(users) & by_item.are_in(items)))
    ratings = pq.read_table(folder / "interactions.parquet", columns=[source.rating_column]).column(0).to_numpy()
    invalid = np.flatnonzero(~np.isfinite(ratings))
    values, counts = np.unique(ratings[np.isfinite(ratings)], return_counts=True)
    repeated = {"interactions": pairs.repeated(), "users": _repeated(users), "items": _repeated(items)}
    examples = {f"unique_{name}": tuple(first) for name, (_, first) in repeated.items()}
    examples |= {"orphan_ids": pairs.describe(orphans), "finite_ratings": pairs.describe(invalid)}
    rows = {"interactions": by_user, "users": users, "items": items}
    return DataFacts(
        tables={
            name: TableFacts(
                len(codes.codes),
                _null_ids(manifest_facts, name),
                repeated[name][0],
                merged=int(manifest_facts.get(name, {}).get("merged", 0)),
            )
            for name, codes in rows.items()
        },
        orphans=len(orphans),
        missing=tuple(
            side for side in (find_missing(by_user, users, "users"), find_missing(by_item, items, "items")) if side
        ),
        invalid_ratings=len(invalid),
        distinct_ratings=len(values) or None,
        most_frequent=(float(values[counts.argmax()]), float(counts.max() / counts.sum())) if len(values) else None,
        newest_interaction=None if newest is None else datetime.fromisoformat(newest),
        has_timestamps=source.timestamp_column is not None,
        examples=examples,
    )


@dataclass(frozen=True)
class _Pairs:
    """The user and the item of each interaction."""

    users: Codes
    items: Codes

    def repeated(self) -> tuple[int, list[str]]:
        """Return how many rows repeat a user's rating of an item, and the first such pairs."""
        pairs = self.users.codes * len(self.items.ids) + self.items.codes
        pairs.sort()
        again = pairs[1:][pairs[1:] == pairs[:-1]]
        first = dict.fromkeys(int(pair) for pair in again[:EXAMPLES])
        return len(again), [self._name(*divmod(pair, len(self.items.ids))) for pair in first]

    def describe(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the user and item of the first of these rows."""
        return tuple(self._name(int(self.users.codes[row]), int(self.items.codes[row])) for row in rows[:EXAMPLES])

    def _name(self, user: int, item: int) -> str:
        return f"user {self.users.ids[user].as_py()!r} item {self.items.ids[item].as_py()!r}"


def _repeated(column: Codes) -> tuple[int, list[str]]:
    """Return how many rows repeat an id, and the first such ids."""
    counts = np.bincount(column.codes, minlength=len(column.ids))
    first = np.flatnonzero(counts > 1)[:EXAMPLES]
    return int(len(column.codes) - np.count_nonzero(counts)), [repr(column.ids[int(i)].as_py()) for i in first]


def _kinds(source: SourceSettings) -> Iterator[tuple[str, dict[str, pa.DataType]]]:
    ids = {source.user_column: pa.string(), source.item_column: pa.string()}
    optional = {source.timestamp_column: pa.timestamp("us", tz="UTC")} if source.timestamp_column else {}
    yield "interactions", {**ids, source.rating_column: pa.float64(), **optional}
    segment = {source.segment_column: pa.string()} if source.segment_column else {}
    yield "users", {source.user_column: pa.string(), **segment}
    yield "items", {source.item_column: pa.string()}


def _schema_problems(path: Path, kinds: Mapping[str, pa.DataType]) -> tuple[str, ...]:
    schema = pq.read_schema(path)
    types = {name: schema.field(name).type if name in schema.names else None for name in kinds}
    return tuple(
        f"column {name} is missing" if types[name] is None else f"column {name} is {types[name]}, must be {kind}"
        for name, kind in kinds.items()
        if types[name] != kind
    )


def _null_ids(manifest_facts: Mapping[str, Any], name: str) -> int | None:
    count = manifest_facts.get(name, {}).get("null_ids")
    return None if count is None else int(count)
