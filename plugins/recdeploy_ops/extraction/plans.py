"""What each query must return, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recdeploy_ops.domain.errors import SettingsError, SourceDataError
from recdeploy_ops.extraction.repeats import Merging
from recdeploy_ops.extraction.sources import QueryFailedError
from recdeploy_ops.extraction.statements import Query, read_query
from recdeploy_ops.extraction.times import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recdeploy_ops.extraction.sources import Source
    from recdeploy_ops.settings import Settings, SourceSettings

LARGE_ROWS = 1_000  # at a time, where a value may have any size


@dataclass(frozen=True)
class Table:
    """The columns that one of the queries returns, named as in the settings.

    Attributes:
        name: of the table.
        keys: its ids.
        rating: of interactions.
        timestamp: of interactions.
        shown: columns for people: kept as text where the query returns them.
        merging: how rows with the same ids become one; None to leave them.
    """

    name: str
    keys: tuple[str, ...]
    rating: str | None = None
    timestamp: str | None = None
    shown: tuple[str, ...] = ()
    merging: Merging | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Return the columns that the query must have."""
        return (*self.keys, *(c for c in (self.rating, self.timestamp) if c is not None))


@dataclass(frozen=True)
class Plan:
    """A query whose columns are known.

    Attributes:
        source: the database.
        table: what the query returns.
        query: of the user, or made from another one.
        parameters: values of its bind variables.
        batch_rows: rows to fetch at a time.
        returned: the query's own name of each column that is fetched, by its name in the settings; required columns
            first.
    """

    source: Source
    table: Table
    query: Query
    parameters: Mapping[str, Any]
    batch_rows: int
    returned: Mapping[str, str]

    @property
    def file(self) -> str:
        """Return the name of the Parquet file."""
        return f"{self.table.name}.parquet"

    def schema(self) -> pa.Schema:
        """Return the schema of the Parquet file."""
        kinds = {self.table.rating: pa.float64(), self.table.timestamp: TIMESTAMP}
        return pa.schema([(name, kinds.get(name, pa.string())) for name in self.returned])

    def statement(self, *, by_keys_alone: bool = False) -> str:
        """Return the rows sorted by key, then by the other columns, so that rows of one key are in a fixed order too.

        Columns are sorted by their position in the result, which does not depend on how a database spells names.

        Args:
            by_keys_alone: leave the other columns out, as some types have no order (CLOB, JSON).
        """
        count = len(self.table.keys if by_keys_alone else self.returned)
        return f"{self.select(self.returned)} ORDER BY {', '.join(str(place + 1) for place in range(count))}"

    def select(self, columns: Sequence[str] | Mapping[str, str]) -> str:
        """Return some columns of the query; nothing else leaves the database."""
        return self.query.select(self.source.quote(self.returned[name]) for name in columns)


def plan_tables(source: Source, settings: Settings, report: Callable[[str], None]) -> list[Plan]:
    """Return the plans of interactions, users and items.

    Without ``users.sql`` the users are those of the interactions; the same holds for ``items.sql``.

    Args:
        source: the database.
        settings: names the queries, their parameters and the columns.
        report: called with a line for what is left out.

    Raises:
        SourceDataError: no connection, no such table or column.
        SettingsError: a query names a bind variable without a value.
        SourceUnavailableError: the database is unavailable.
    """
    interactions, *others = _tables(settings.source)
    plans = [_plan(source, settings, interactions, read_query(settings.sql_folder / "interactions.sql"), report)]
    for table in others:
        path = settings.sql_folder / f"{table.name}.sql"
        query = read_query(path) if path.exists() else _distinct(plans[0], table, report)
        plans.append(_plan(source, settings, table, query, report))
    unused = set(settings.source.parameters).difference(*(plan.query.variables for plan in plans))
    if unused:
        report(f"No query names the parameters {', '.join(sorted(unused))} of the settings; they have no effect.")
    return plans


def _tables(source: SourceSettings) -> tuple[Table, ...]:
    user, item = source.user_column, source.item_column
    titles, segments = (tuple(n for n in (name,) if n) for name in (source.title_column, source.segment_column))
    rating, timestamp = source.rating_column, source.timestamp_column
    merging = None if source.merging == "refuse" else Merging(source.merging, (user, item), rating, timestamp)
    tables = (
        Table("interactions", (user, item), rating, timestamp, merging=merging),
        Table("users", (user,), shown=segments),
        Table("items", (item,), shown=titles),
    )
    for table in tables:
        names = (*table.required, *table.shown)
        if len({name.casefold() for name in names}) < len(names):
            raise SettingsError(f"The columns {', '.join(names)} in the settings (source) must differ.")
    return tables


def _distinct(interactions: Plan, table: Table, report: Callable[[str], None]) -> Query:
    [key] = table.keys
    report(f"There is no {table.name}.sql: the {table.name} are those of interactions.sql.")
    text = interactions.query.distinct(interactions.source.quote(interactions.returned[key]))
    return replace(interactions.query, text=text)


def _plan(source: Source, settings: Settings, table: Table, query: Query, report: Callable[[str], None]) -> Plan:
    given = settings.source.parameters
    unset = sorted(query.variables - set(given))
    if unset:
        raise SettingsError(
            f"{query.file} names the bind variable :{unset[0]}, which has no value: add it to "
            f"source.parameters in the settings, for example `{unset[0]}: null`."
        )
    parameters = {name: given[name] for name in sorted(query.variables)}
    try:
        columns = source.describe(query.without_rows(), parameters)
    except QueryFailedError as err:
        raise query_failed(query, err) from err
    returned = _match_columns(query, table, [column.name for column in columns], report)
    chosen = [column for column in columns if column.name in returned.values()]
    for column in chosen:
        if column.kind:
            raise SourceDataError(
                f"{query.file}: the column {column.name} has the type {column.kind}, which cannot be read: let the "
                f"query convert it, for example CAST({column.name} AS VARCHAR(40)), or leave it out."
            )
    most = LARGE_ROWS if any(column.is_large for column in chosen) else settings.source.batch_rows
    return Plan(source, table, query, parameters, min(most, settings.source.batch_rows), returned)


def _match_columns(query: Query, table: Table, names: Sequence[str], report: Callable[[str], None]) -> dict[str, str]:
    """Return the query's own spelling of each column; upper and lower case do not matter."""
    returned: dict[str, str] = {}
    for wanted in (*table.required, *table.shown):
        same = [name for name in names if name.casefold() == wanted.casefold()]
        if len(same) == 1:
            returned[wanted] = same[0]
        elif same or wanted in table.required:
            what = "more than one column" if same else "no column"
            raise SourceDataError(
                f"{query.file} returns {what} {wanted!r}; it returns: {', '.join(names)}. Return it "
                f"once (... AS {wanted}), or correct the column's name in the settings (source)."
            )
        else:
            report(f"{query.file} returns no column {wanted!r} (source in the settings): it is shown nowhere.")
    return returned


def query_failed(query: Query, err: QueryFailedError) -> SourceDataError:
    """Return the error about a query that the database refused."""
    return SourceDataError(f"{query.file}: {err}. Correct the query, or the rights of the connection's user.")
