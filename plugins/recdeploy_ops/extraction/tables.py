"""The three queries, run one after the other into three Parquet files."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.extraction import values
from recdeploy_ops.extraction.plans import plan_tables, query_failed
from recdeploy_ops.extraction.repeats import REPEATED
from recdeploy_ops.extraction.sources import QueryFailedError, UnreadableValueError
from recdeploy_ops.extraction.times import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.extraction.plans import Plan
    from recdeploy_ops.extraction.repeats import Merging
    from recdeploy_ops.extraction.sources import Source
    from recdeploy_ops.settings import Settings

PARTIAL = ".partial"
# Equal rows give equal row groups, however they were batched. A row group ends with the row that reaches either.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 65_536, 64 * 2**20
REPORT_SECONDS = 5.0


def extract_tables(source: Source, settings: Settings, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Run ``interactions.sql``, ``users.sql`` and ``items.sql`` and write a Parquet file of each.

    Memory is bounded by the batch and the row group. Interactions come first, so that the user of an interaction is
    also in the users if someone signs up during the extract.

    Args:
        source: the database.
        settings: names the queries, their parameters and the columns.
        folder: gets ``interactions.parquet``, ``users.parquet`` and ``items.parquet``; all of them or none. If repeated
            interactions were merged, also `REPEATED` with all of their rows.
        report: called with a line of progress every five seconds.

    Returns:
        Facts for the manifest, as plain values: for each table ``rows``, ``columns`` and ``null_ids`` (rows
        left out because an id is NULL or empty), of interactions also ``merged`` (rows that were merged into others),
        and ``newest_interaction`` (ISO 8601 in UTC, or None).

    Raises:
        SourceDataError: no connection, no such table or column, no rows, or a value that cannot be used.
        SettingsError: a query names a bind variable without a value.
        SourceUnavailableError: the database is unavailable: another try may help.
    """
    plans = plan_tables(source, settings, report)
    partial = folder / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name in (*(plan.file for plan in plans), REPEATED):
            (folder / name).unlink(missing_ok=True)
        writings = [_write(plan, partial, report) for plan in plans]
        for path in partial.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    newest = writings[0].newest
    facts = {plan.table.name: writing.facts() for plan, writing in zip(plans, writings, strict=True)}
    return {**facts, "newest_interaction": None if newest is None else newest.isoformat()}


@dataclass
class Writing:
    """The progress of writing one table."""

    columns: tuple[str, ...]
    rows: int = 0
    null_ids: int = 0
    merged: int | None = None
    newest: datetime | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seen(self) -> int:
        """Return how many rows the database has returned."""
        return self.rows + self.null_ids

    def facts(self) -> dict[str, Any]:
        """Return the facts for the manifest."""
        facts = {"rows": self.rows - (self.merged or 0), "columns": list(self.columns), "null_ids": self.null_ids}
        return facts if self.merged is None else {**facts, "merged": self.merged}

    def describe(self, name: str) -> str:
        """Return a line of progress."""
        rate = self.seen / max(time.monotonic() - self.started, 1e-3)
        return f"{name}: {self.seen:,} rows, {rate:,.0f} rows/s"


def _write(plan: Plan, folder: Path, report: Callable[[str], None]) -> Writing:
    writing = Writing(tuple(plan.returned))
    next_report = writing.started + REPORT_SECONDS
    with ExitStack() as stack:
        writer = stack.enter_context(_open_writer(plan, folder / plan.file))
        rows = _clean_batches(plan, stack.enter_context(_ordered_batches(plan)), writing)
        if plan.table.merging is not None:
            rows = _merge(plan.table.merging, rows, writing, _Repeats(plan, folder / REPEATED, stack))
        for group in _in_row_groups(rows):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            if time.monotonic() >= next_report:
                report(writing.describe(plan.table.name))
                next_report = time.monotonic() + REPORT_SECONDS
    if not writing.rows:
        why = f"only NULL or empty ids in its {writing.seen} rows" if writing.seen else "no rows"
        given = f" (with {dict(plan.parameters)})" if plan.parameters else ""
        raise SourceDataError(
            f"{plan.query.file}{given} returned {why} from {plan.source.name}: check that the table "
            "is filled, and what the query filters."
        )
    merged = f", {writing.merged:,} merged into others" if writing.merged else ""
    report(writing.describe(plan.table.name) + f", {writing.null_ids:,} left out without an id{merged}")
    return writing


def _open_writer(plan: Plan, path: Path) -> pq.ParquetWriter:
    repeating = [name for name in plan.returned if name != plan.table.timestamp]  # timestamps rarely repeat
    return pq.ParquetWriter(path, plan.schema(), compression="zstd", store_schema=True, use_dictionary=repeating)


class _Repeats:
    """Writes the rows that are merged; the file is made with the first of them, and closed with the stack."""

    def __init__(self, plan: Plan, path: Path, stack: ExitStack) -> None:
        self._plan, self._path, self._stack = plan, path, stack
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def keep(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._stack.enter_context(_open_writer(self._plan, self._path))
        self._writer.write_table(rows)
        self.rows += len(rows)


def _merge(merging: Merging, rows: Iterator[pa.Table], writing: Writing, repeats: _Repeats) -> Iterator[pa.Table]:
    writing.merged = 0
    kept = 0
    for merged in merging.merge(rows, repeats.keep):
        kept += len(merged)
        yield merged
    writing.merged = writing.rows - kept


def _clean_batches(plan: Plan, batches: Iterator[pa.Table], writing: Writing) -> Iterator[pa.Table]:
    for batch in batches:
        clean = _clean(plan, batch, first_row=writing.seen + 1)
        writing.rows += len(clean)
        writing.null_ids += len(batch) - len(clean)
        if plan.table.timestamp is not None:
            newest = pc.max(clean.column(plan.table.timestamp)).as_py()
            writing.newest = max((t for t in (writing.newest, newest) if t is not None), default=None)
        yield clean


@contextmanager
def _ordered_batches(plan: Plan) -> Iterator[Iterator[pa.Table]]:
    """Open the sorted rows; by their keys alone if the database refuses to sort by the others, before the first row."""
    has_others = len(plan.returned) > len(plan.table.keys)
    for by_keys_alone in (False, True)[not has_others :]:
        has_rows = False
        try:
            statement = plan.statement(by_keys_alone=by_keys_alone)
            with plan.source.batches(statement, plan.parameters, plan.batch_rows) as batches:
                first = next(batches)
                has_rows = True
                yield chain((first,), batches)
                return
        except UnreadableValueError as err:
            raise _name_unreadable(plan, err) from err
        except QueryFailedError as err:
            if has_rows or by_keys_alone or not has_others:
                raise query_failed(plan.query, err) from err


def _clean(plan: Plan, batch: pa.Table, first_row: int) -> pa.Table:
    converted: list[pa.Array] = []
    has_ids: Any = True
    for position, (name, returned) in enumerate(plan.returned.items()):
        column = batch.column(position)
        location = values.Location(plan.query.file, returned, first_row)
        if name in plan.table.required:
            is_key = name in plan.table.keys
            marks = (values.HOLDS_NO_ID, values.HOLDS_NO_UTF8) if is_key else (values.HOLDS_BYTES,)
            values.refuse_marked(batch.schema.field(position), column, location, *marks)
        if name in plan.table.keys:
            converted.append(values.id_texts(column, location))
            given = pc.fill_null(pc.not_equal(converted[-1], ""), False)
            has_ids = pc.and_(has_ids, given)
        elif name == plan.table.rating:
            converted.append(values.ratings(column, location))
        elif name == plan.table.timestamp:
            converted.append(timestamps(column, location))
        else:
            converted.append(values.texts(column))
    return pa.Table.from_arrays(converted, schema=plan.schema()).filter(has_ids)


def _in_row_groups(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        ends = np.cumsum(_sizes(batch))
        start = 0
        while start < len(batch):
            before = int(ends[start - 1]) if start else 0
            reached = int(np.searchsorted(ends, ROW_GROUP_BYTES - size + before)) + 1
            end = min(len(batch), start + ROW_GROUP_ROWS - rows, reached)
            waiting.append(batch.slice(start, end - start))
            rows += end - start
            size += int(ends[end - 1]) - before
            if rows == ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield pa.concat_tables(waiting)
                waiting, rows, size = [], 0, 0
            start = end
    if waiting:
        yield pa.concat_tables(waiting)


def _sizes(batch: pa.Table) -> NDArray[np.int64]:
    """Return the bytes of each row: 8 for a number, and those of each text; shape (rows,)."""
    sizes = np.full(len(batch), 8 * batch.num_columns, np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type):
            sizes += pc.binary_length(column).fill_null(0).to_numpy()
    return sizes


def _name_unreadable(plan: Plan, err: UnreadableValueError) -> SourceDataError:
    """Return the error about a value that the driver cannot read, with the column that it fails at."""
    column = next((returned for name, returned in plan.returned.items() if not _is_readable(plan, name)), None)
    where = f"{plan.query.file}, column {column}" if column else plan.query.file
    if err.rows and plan.batch_rows > 1:
        where += f", one of the rows {err.rows[0]:,} to {err.rows[1]:,} of the sorted result"
    shown = f"CAST({column} AS VARCHAR(40))" if column else "CAST"
    return SourceDataError(
        f"{where}: the driver cannot read a value ({err.reason}). Correct it in the table, or let the query leave it "
        f"out or convert it, for example {shown}."
    )


def _is_readable(plan: Plan, name: str) -> bool:
    try:
        with plan.source.batches(plan.select([name]), plan.parameters, plan.batch_rows) as batches:
            for _ in batches:
                pass
    except SourceDataError:
        return False
    return True
