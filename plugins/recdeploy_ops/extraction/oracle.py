"""Oracle by python-oracledb, whose rows come as Arrow."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recdeploy_ops.extraction.outages import may_pass
from recdeploy_ops.extraction.sources import (
    CONVERSION_ERRORS,
    Column,
    UnreadableValueError,
    describe_error,
    failed,
    not_connected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

# The types of Oracle that python-oracledb reads as Arrow (its guide, "Working with Data Frames").
ORACLE_KINDS = {"", "BINARY_DOUBLE", "BINARY_FLOAT", "BINARY_INTEGER", "BOOLEAN", "CHAR", "DATE", "NCHAR", "NUMBER"}
ORACLE_KINDS |= {"NVARCHAR", "RAW", "TIMESTAMP", "TIMESTAMP_LTZ", "TIMESTAMP_TZ", "VARCHAR", "VECTOR"}
ORACLE_LARGE = {"BLOB", "CLOB", "LONG", "LONG_RAW", "LONG_NVARCHAR", "NCLOB"}
# One sort order, one format of numbers, dates and times, and one time zone on every Oracle database, whatever its
# territory. So ``ordered_at >= :since`` compares with a text such as 2026-01-31 in UTC, whatever the column's type.
ORACLE_SESSION = (
    "ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY NLS_NUMERIC_CHARACTERS = '.,' "
    "NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF' "
    "NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF TZH:TZM' TIME_ZONE = '+00:00'"
)


def set_oracle_session(connection: Any) -> Any:
    """Set the sort order and the formats of a python-oracledb connection, and return it; close it on failure."""
    with ExitStack() as undo:
        undo.callback(connection.close)
        with connection.cursor() as cursor:
            cursor.execute(ORACLE_SESSION)
        undo.pop_all()
    return connection


class ArrowSource:
    """A python-oracledb connection, read by ``fetch_df_batches``.

    Args:
        connect: opens a connection; called once per query.
        name: for messages.
        errors: of the driver; python-oracledb's by default.
    """

    def __init__(
        self, connect: Callable[[], Any], name: str, *, errors: tuple[type[Exception], ...] | None = None
    ) -> None:
        self._connect = connect
        self._errors = errors
        self.name = name

    def quote(self, name: str) -> str:
        """See `Source.quote`."""
        return f'"{name}"'  # Oracle allows no quote in a name

    def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
        """See `Source.describe`."""
        with self._connected() as (connection, errors):
            try:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(sql, dict(parameters))
                    return [_describe_oracle(column) for column in cursor.description]
            except errors as err:
                raise failed(self.name, err, is_outage=may_pass(err)) from err

    @contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[Iterator[pa.Table]]:
        """See `Source.batches`."""
        with (
            self._connected() as (connection, errors),
            closing(self._tables(connection, sql, parameters, batch_rows, errors)) as tables,
        ):
            yield tables

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, tuple[type[Exception], ...]]]:
        """Open a connection for the duration of the block; yield it with the errors of its driver."""
        errors: tuple[type[Exception], ...] = (*(self._errors or _oracle_errors()), OSError)
        try:
            connection = self._connect()
        except errors as err:
            raise not_connected(self.name, err) from err
        with _closed_quietly(connection, errors):
            yield connection, errors

    def _tables(
        self,
        connection: Any,
        sql: str,
        parameters: Mapping[str, Any],
        batch_rows: int,
        errors: tuple[type[Exception], ...],
    ) -> Generator[pa.Table, None, None]:
        rows = 0
        try:
            # Decimals, because a float would lose digits of long ids.
            for frame in connection.fetch_df_batches(sql, dict(parameters), size=batch_rows, fetch_decimals=True):
                table = pa.table(frame)
                rows += len(table)
                yield table
        except errors as err:
            raise failed(self.name, err, is_outage=may_pass(err)) from err
        except CONVERSION_ERRORS as err:
            raise UnreadableValueError(describe_error(err), (rows + 1, rows + batch_rows)) from err


@contextmanager
def _closed_quietly(connection: Any, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Close a connection at the end of the block, ignoring that a lost connection cannot be closed."""
    try:
        yield
    finally:
        with suppress(*errors):
            connection.close()


def _describe_oracle(column: Any) -> Column:
    """Return a column of python-oracledb's description: name, type and more."""
    kind = str(getattr(column[1], "name", "")).removeprefix("DB_TYPE_")
    return Column(column[0], "" if kind in ORACLE_KINDS | ORACLE_LARGE else kind, is_large=kind in ORACLE_LARGE)


def _oracle_errors() -> tuple[type[Exception], ...]:
    import oracledb

    return (oracledb.Error,)
