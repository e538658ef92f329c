"""The three queries, run one after the other into three Parquet files."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import SettingsError, SourceDataError
from recdeploy_ops.extraction import values
from recdeploy_ops.extraction.sources import QueryFailedError
from recdeploy_ops.extraction.statements import read_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from recdeploy_ops.extraction.sources import Source
    from recdeploy_ops.extraction.statements import Query
    from recdeploy_ops.settings import Settings, SourceSettings

PARTIAL = ".partial"
# Equal rows give equal row groups, however they were batched.
ROW_GROUP_ROWS = 65_536
REPORT_SECONDS = 5.0


def extract_tables(source: Source, settings: Settings, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Run ``interactions.sql``, ``users.sql`` and ``items.sql`` and write a Parquet file of each.

    Memory is bounded by the batch and the row group. Interactions come first, so that the user of an interaction is
    also in the users if someone signs up during the extract.

    Args:
        source: the database.
        settings: names the queries, their parameters and the columns.
        folder: gets ``interactions.parquet``, ``users.parquet`` and ``items.parquet``; all of them or none.
        report: called with a line of progress every five seconds.

    Returns:
        Facts for the manifest, as plain values: for each table ``rows``, ``columns`` and ``null_ids`` (rows
        left out because an id is NULL or empty), and ``newest_interaction`` (ISO 8601 in UTC, or None).

    Raises:
        SourceDataError: no connection, no such table or column, no rows, or a value that cannot be used.
        SettingsError: a query names a bind variable without a value.
        SourceUnavailableError: the database is unavailable: another try may help.
    """
    plans = [_plan(source, settings, table) for table in _tables(settings.source)]
    _warn_of_unused(settings.source, plans, report)
    partial = folder / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for plan in plans:
            (folder / plan.file).unlink(missing_ok=True)
        writings = [_write(plan, partial / plan.file, report) for plan in plans]
        for plan in plans:
            (partial / plan.file).replace(folder / plan.file)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    newest = writings[0].newest
    facts = {plan.table.name: writing.facts() for plan, writing in zip(plans, writings, strict=True)}
    return {**facts, "newest_interaction": None if newest is None else newest.isoformat()}


@dataclass(frozen=True)
class Table:
    """The columns that one of the queries must return, named as in the settings."""

    name: str
    keys: tuple[str, ...]
    rating: str | None = None
    timestamp: str | None = None
    keeps_others: bool = True

    @property
    def required(self) -> tuple[str, ...]:
        """Return the columns that the query must have."""
        return (*self.keys, *(c for c in (self.rating, self.timestamp) if c is not None))


@dataclass(frozen=True)
class Plan:
    """A query whose columns are known.

    Attributes:
        columns: output name by position in the query's result, required columns first.
        returned: the names that the query gives its columns.
    """

    source: Source
    table: Table
    query: Query
    parameters: Mapping[str, Any]
    batch_rows: int
    columns: Mapping[str, int]
    returned: tuple[str, ...]

    @property
    def file(self) -> str:
        """Return the name of the Parquet file."""
        return f"{self.table.name}.parquet"

    def schema(self) -> pa.Schema:
        """Return the schema of the Parquet file."""
        kinds = {self.table.rating: pa.float64(), self.table.timestamp: values.TIMESTAMP}
        return pa.schema([(name, kinds.get(name, pa.string())) for name in self.columns])


@dataclass
class Writing:
    """The progress of writing one table."""

    columns: tuple[str, ...]
    rows: int = 0
    null_ids: int = 0
    newest: datetime | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seen(self) -> int:
        """Return how many rows the database has returned."""
        return self.rows + self.null_ids

    def facts(self) -> dict[str, Any]:
        """Return the facts for the manifest."""
        return {"rows": self.rows, "columns": list(self.columns), "null_ids": self.null_ids}

    def describe(self, name: str) -> str:
        """Return a line of progress."""
        rate = self.seen / max(time.monotonic() - self.started, 1e-3)
        return f"{name}: {self.seen:,} rows, {rate:,.0f} rows/s"


def _tables(source: SourceSettings) -> tuple[Table, Table, Table]:
    user, item = source.user_column, source.item_column
    tables = (
        Table("interactions", (user, item), source.rating_column, source.timestamp_column, keeps_others=False),
        Table("users", (user,)),
        Table("items", (item,)),
    )
    names = [name.casefold() for name in tables[0].required]
    if len(set(names)) < len(names):
        raise SettingsError(f"The columns {', '.join(tables[0].required)} in the settings (source) must differ.")
    return tables


def _plan(source: Source, settings: Settings, table: Table) -> Plan:
    query = read_query(settings.sql_folder / f"{table.name}.sql")
    given = settings.source.parameters
    unset = sorted(query.variables - set(given))
    if unset:
        raise SettingsError(
            f"{query.file} names the bind variable :{unset[0]}, which has no value: add it to "
            f"source.parameters in the settings, for example `{unset[0]}: null`."
        )
    parameters = {name: given[name] for name in sorted(query.variables)}
    try:
        with source.batches(query.without_rows(), parameters, 1) as batches:
            returned = tuple(next(batches).column_names)
    except QueryFailedError as err:
        raise _query_failed(query, err) from err
    columns = _match_columns(query, table, returned)
    return Plan(source, table, query, parameters, settings.source.batch_rows, columns, returned)


def _match_columns(query: Query, table: Table, returned: tuple[str, ...]) -> dict[str, int]:
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(returned):
        positions.setdefault(name.casefold(), []).append(position)
    columns: dict[str, int] = {}
    for name in table.required:
        same_named = positions.pop(name.casefold(), [])
        if len(same_named) != 1:
            what = "more than one column" if same_named else "no column"
            raise SourceDataError(
                f"{query.file} returns {what} {name!r}; it returns: {', '.join(returned)}. Return it "
                f"once (... AS {name}), or correct the column's name in the settings (source)."
            )
        columns[name] = same_named[0]
    for first, *others in positions.values() if table.keeps_others else ():
        if others:
            raise SourceDataError(f"{query.file} returns {returned[first]!r} more than once: give each an alias.")
        columns[returned[first]] = first
    return columns


def _warn_of_unused(source: SourceSettings, plans: list[Plan], report: Callable[[str], None]) -> None:
    unused = set(source.parameters).difference(*(plan.query.variables for plan in plans))
    if unused:
        report(f"No query names the parameters {', '.join(sorted(unused))} of the settings; they have no effect.")


def _write(plan: Plan, path: Path, report: Callable[[str], None]) -> Writing:
    writing = Writing(tuple(plan.columns))
    next_report = writing.started + REPORT_SECONDS
    repeating = [name for name in plan.columns if name != plan.table.timestamp]  # timestamps rarely repeat
    with (
        pq.ParquetWriter(
            path, plan.schema(), compression="zstd", store_schema=True, use_dictionary=repeating
        ) as writer,
        _ordered_batches(plan) as batches,
    ):
        for rows in _in_row_groups(_clean_batches(plan, batches, writing)):
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
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
    report(writing.describe(plan.table.name) + f", {writing.null_ids:,} left out without an id")
    return writing


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
    """Open the rows sorted by key, then by the other columns, so that rows of one key are in a fixed order as well.

    Some types have no order (CLOB, JSON): the database refuses before the first row, and only the key is sorted by.
    """
    keys = [plan.columns[name] + 1 for name in plan.table.keys]
    everything = keys + [p + 1 for name, p in plan.columns.items() if name not in plan.table.keys]
    for positions in (everything, keys)[everything == keys :]:
        has_rows = False
        try:
            with plan.source.batches(plan.query.ordered_by(positions), plan.parameters, plan.batch_rows) as batches:
                first = next(batches)
                has_rows = True
                yield chain((first,), batches)
                return
        except QueryFailedError as err:
            if has_rows or positions is keys:
                raise _query_failed(plan.query, err) from err


def _clean(plan: Plan, batch: pa.Table, first_row: int) -> pa.Table:
    converted: list[pa.Array] = []
    has_ids: Any = True
    for name, position in plan.columns.items():
        column = batch.column(position)
        location = values.Location(plan.query.file, plan.returned[position], first_row)
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
            converted.append(values.timestamps(column, location))
        else:
            converted.append(values.texts(column))
    return pa.Table.from_arrays(converted, schema=plan.schema()).filter(has_ids)


def _in_row_groups(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        while count >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, ROW_GROUP_ROWS)
            waiting = [joined.slice(ROW_GROUP_ROWS)]
            count -= ROW_GROUP_ROWS
    yield pa.concat_tables(waiting)


def _query_failed(query: Query, err: QueryFailedError) -> SourceDataError:
    return SourceDataError(f"{query.file}: {err}. Correct the query, or the rights of the connection's user.")
