"""Any database that SQLAlchemy supports, by a streaming cursor whose Python values become Arrow."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.extraction.outages import may_pass
from recdeploy_ops.extraction.sources import (
    CONVERSION_ERRORS,
    Column,
    UnreadableValueError,
    describe_error,
    failed,
    message_of,
    not_connected,
)
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

    from sqlalchemy import Connection, Engine

# pyarrow converts a column of only one of these without loss.
ARROW_KINDS = {bool, int, float, str, bytes, memoryview, Decimal, datetime, date}
NUMBERS = {int, float, Decimal}
# Rows at a time: so few Python objects stay in the processor's caches; with 10,000 rows it takes 1.5 times as long.
CURSOR_ROWS = 2_000
# Of a batch, if rows are large: the first rows say how large, then each batch for the next.
BATCH_BYTES, FIRST_ROWS = 16 * 2**20, 100
ENCODING = (
    "The database may keep text without an encoding (SQL_ASCII): name it in the extra of this Airflow connection, for "
    'example {"client_encoding": "latin1"}.'
)


class CursorSource:
    """Any database that SQLAlchemy supports, read by a streaming (server-side) cursor.

    Args:
        engine: creates an engine; called once per query, which disposes of it.
        name: for messages.
    """

    def __init__(self, engine: Callable[[], Engine], name: str) -> None:
        self._engine = engine
        self.name = name

    def quote(self, name: str) -> str:
        """See `Source.quote`."""
        engine = self._engine()
        try:
            return engine.dialect.identifier_preparer.quote_identifier(name)
        finally:
            engine.dispose()

    def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
        """See `Source.describe`."""
        with self.batches(sql, parameters, 1) as batches:
            return [Column(name) for name in next(batches).column_names]

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
                raise not_connected(self.name, err) from err
            except (TypeError, UnicodeDecodeError) as err:  # of a driver that asks for the encoding, e.g. SQL_ASCII
                raise not_connected(self.name, err, ENCODING) from err
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
        done, count = 0, min(size, FIRST_ROWS)
        try:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=size)
            result = streaming.execute(text(escape_colons(sql)), dict(parameters))
            names = list(result.keys())
            table = table_of(names, result.fetchmany(count))
            yield table
            while len(table):
                done += len(table)
                count = max(1, min(size, BATCH_BYTES * len(table) // max(table.nbytes, 1)))
                table = table_of(names, result.fetchmany(count))
                if len(table):
                    yield table
        except errors as err:
            original: Any = getattr(err, "orig", None) or err
            is_lost = isinstance(original, dialect.loaded_dbapi.Error) and (
                dialect.is_disconnect(original, driver_connection, None)
            )
            if isinstance(original, dialect.loaded_dbapi.DataError):
                raise UnreadableValueError(message_of(err), (done + 1, done + count)) from err
            raise failed(self.name, err, is_outage=is_lost or may_pass(err)) from err
        except CONVERSION_ERRORS as err:
            raise UnreadableValueError(describe_error(err), (done + 1, done + count)) from err


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
