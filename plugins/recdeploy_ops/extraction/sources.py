"""The sources of rows: a driver that returns Arrow, or any database by a streaming cursor."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.domain.errors import SourceDataError, TransientError
from recdeploy_ops.extraction.outages import may_pass
from recdeploy_ops.extraction.statements import escape_colons
from recdeploy_ops.extraction.values import (
    BYTES,
    HOLDS_BYTES,
    HOLDS_NO_ID,
    HOLDS_NO_UTF8,
    is_id,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

# pyarrow converts a column of only one of these without loss.
ARROW_KINDS = {bool, int, float, str, bytes, memoryview, Decimal, datetime, date}
NUMBERS = {int, float, Decimal}
# Rows at a time: so few Python objects stay in the processor's caches; with 10,000 rows it takes 1.5 times as long.
CURSOR_ROWS = 2_000
# One sort order and one date format on every Oracle database, whatever its territory.
ORACLE_SESSION = (
    "ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY NLS_NUMERIC_CHARACTERS = '.,' "
    "NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF'"
)


class QueryFailedError(SourceDataError):
    """The database refused a query or gave up on it."""


class SourceUnavailableError(TransientError):
    """The database does not answer, or has stopped answering."""


class Source(Protocol):
    """A database that can be read in batches."""

    @property
    def name(self) -> str:
        """Name the database for messages."""
        ...

    def batches(
        self, sql: str, parameters: Mapping[str, Any], batch_rows: int
    ) -> AbstractContextManager[Iterator[pa.Table]]:
        """Run a query and yield its rows for the duration of the block.

        The block gets at least one table, which is empty without rows. However the block ends, rows and connection
        are closed.

        Args:
            sql: one query with bind variables as ``:name``.
            parameters: a value for each of them, and no other.
            batch_rows: rows to fetch at a time.

        Raises:
            SourceDataError: no connection is possible, now or later.
            QueryFailedError: the database refused the query; quotes its message.
            SourceUnavailableError: it is unavailable, or was lost while it was read: another try may help.
        """
        ...


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

    @contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[Iterator[pa.Table]]:
        """See `Source.batches`."""
        errors: tuple[type[Exception], ...] = (*(self._errors or _oracle_errors()), OSError)
        try:
            connection = self._connect()
        except errors as err:
            raise _not_connected(self.name, err) from err
        with (
            _closed_quietly(connection, errors),
            closing(self._tables(connection, sql, parameters, batch_rows, errors)) as tables,
        ):
            yield tables

    def _tables(
        self,
        connection: Any,
        sql: str,
        parameters: Mapping[str, Any],
        batch_rows: int,
        errors: tuple[type[Exception], ...],
    ) -> Generator[pa.Table, None, None]:
        try:
            # Decimals, because a float would lose digits of long ids.
            for frame in connection.fetch_df_batches(sql, dict(parameters), size=batch_rows, fetch_decimals=True):
                yield pa.table(frame)
        except errors as err:
            raise _failed(self.name, err, is_outage=may_pass(err)) from err


class CursorSource:
    """Any database that SQLAlchemy supports, read by a streaming (server-side) cursor.

    Args:
        engine: creates an engine; called once per query, which disposes of it.
        name: for messages.
    """

    def __init__(self, engine: Callable[[], Engine], name: str) -> None:
        self._engine = engine
        self.name = name

    @contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[Iterator[pa.Table]]:
        """See `Source.batches`."""
        from sqlalchemy.exc import SQLAlchemyError

        with ExitStack() as stack:
            engine = self._engine()
            stack.callback(engine.dispose)
            # An error while rows are fetched is the driver's.
            errors = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)
            try:
                connection = stack.enter_context(engine.connect())
            except errors as err:
                raise _not_connected(self.name, err) from err
            rows = self._tables(connection, sql, parameters, min(batch_rows, CURSOR_ROWS), errors)
            yield stack.enter_context(closing(rows))

    def _tables(
        self,
        connection: Connection,
        sql: str,
        parameters: Mapping[str, Any],
        size: int,
        errors: tuple[type[Exception], ...],
    ) -> Generator[pa.Table, None, None]:
        from sqlalchemy import text

        dialect = connection.dialect
        driver_connection: Any = connection.connection.dbapi_connection
        try:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=size)
            result = streaming.execute(text(escape_colons(sql)), dict(parameters))
            names = list(result.keys())
            rows = result.fetchmany(size)
            yield table_of(names, rows)
            while rows := result.fetchmany(size):
                yield table_of(names, rows)
        except errors as err:
            original: Any = getattr(err, "orig", None) or err
            is_lost = isinstance(original, dialect.loaded_dbapi.Error) and (
                dialect.is_disconnect(original, driver_connection, None)
            )
            raise _failed(self.name, err, is_outage=is_lost or may_pass(err)) from err


def table_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows of Python values as an Arrow table; a column of mixed types (SQLite) becomes text."""
    columns = [_column_of(name, list(map(itemgetter(index), rows))) for index, name in enumerate(names)]
    return pa.Table.from_arrays([array for _, array in columns], schema=pa.schema([field for field, _ in columns]))


def _column_of(name: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """Return a column and its field; if it became text, the metadata marks values that may have to be refused."""
    kinds = set(map(type, values)) - {type(None)}
    array = _array_of(values, kinds)
    if array is not None:
        return pa.field(name, array.type), array
    marks: dict[str, str] = {}
    texts: list[str | None] = []
    for index, value in enumerate(values):
        text = None if value is None else text_of(value)
        texts.append(None if text is None else escaped(text))
        if isinstance(value, BYTES):
            marks.setdefault(HOLDS_BYTES, str(index))
        elif not is_id(value):
            marks.setdefault(HOLDS_NO_ID, str(index))
        elif texts[-1] != text:
            marks.setdefault(HOLDS_NO_UTF8, str(index))
    array = pa.array(texts, pa.string())
    return pa.field(name, array.type, metadata=marks), array


def _array_of(values: Sequence[Any], kinds: set[type]) -> pa.Array | None:
    """Return values of one type, or numbers, unchanged; None for any other mixture."""
    try:
        if len(kinds) <= 1 and kinds <= ARROW_KINDS:
            return pa.array(values)
        if kinds <= NUMBERS:
            return pa.array([None if v is None else Decimal(str(v)) for v in values])
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        pass  # too long for Arrow's numbers, or not UTF-8: the column becomes text
    return None


@contextmanager
def _closed_quietly(connection: Any, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Close a connection at the end of the block, ignoring that a lost connection cannot be closed."""
    try:
        yield
    finally:
        with suppress(*errors):
            connection.close()


def _oracle_errors() -> tuple[type[Exception], ...]:
    import oracledb

    return (oracledb.Error,)


def _not_connected(name: str, err: Exception) -> SourceDataError | SourceUnavailableError:
    kind = SourceUnavailableError if may_pass(err) else SourceDataError
    return kind(
        f"No connection to {name}: {_message(err)}. Check host, user and password of this Airflow "
        "connection, and that the database can be reached from the workers."
    )


def _failed(name: str, err: Exception, *, is_outage: bool) -> QueryFailedError | SourceUnavailableError:
    if is_outage:
        return SourceUnavailableError(f"The connection to {name} was lost while it was read: {_message(err)}.")
    return QueryFailedError(f"{name} says: {_message(err)}")


def _message(err: Exception) -> str:
    """Return the driver's message on one line; SQLAlchemy would add statement and parameters."""
    return " ".join(str(getattr(err, "orig", None) or err).split()).rstrip("^. ")
