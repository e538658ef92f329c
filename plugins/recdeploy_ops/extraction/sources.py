"""What a source of rows is, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from recdeploy_ops.domain.errors import SourceDataError, TransientError
from recdeploy_ops.extraction.outages import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    import pyarrow as pa

# For Airflow and the notebook alike: the worker, or the notebook session, is where the query runs.
ADVICE = "Check host, user and password of this connection, and that the database can be reached from where this runs."


# Drivers raise these for a value that they cannot convert, beside their own errors: trying again gives the same. With
# an OSError the connection was lost, so that another try may help.
CONVERSION_ERRORS = (ValueError, TypeError, ArithmeticError, NotImplementedError)


class QueryFailedError(SourceDataError):
    """The database refused a query or gave up on it."""


class UnreadableValueError(SourceDataError):
    """The driver cannot convert a value, such as a date before Christ.

    Attributes:
        reason: the driver's message.
        rows: numbers of the first and the last row of the batch, in the result, from 1; None if they are unknown.
    """

    def __init__(self, reason: str, rows: tuple[int, int] | None = None) -> None:
        super().__init__(f"The driver cannot read a value: {reason}")
        self.reason = reason
        self.rows = rows


@dataclass(frozen=True)
class Column:
    """A column of a query.

    Attributes:
        name: as the query returns it.
        kind: its type, where the driver has no Arrow type for it, as the database calls it; else empty.
        is_large: whether a value may have any size.
    """

    name: str
    kind: str = ""
    is_large: bool = False


class SourceUnavailableError(TransientError):
    """The database does not answer, or has stopped answering."""


class Source(Protocol):
    """A database that can be read in batches."""

    @property
    def name(self) -> str:
        """Name the database for messages."""
        ...

    def quote(self, name: str) -> str:
        """Return the name of a column as a query must write it."""
        ...

    def describe(self, sql: str, parameters: Mapping[str, Any]) -> list[Column]:
        """Return the columns of a query without reading a row; raises as `batches` does."""
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
            UnreadableValueError: the driver cannot convert a value.
            SourceUnavailableError: it is unavailable, or was lost while it was read: another try may help.
        """
        ...


def not_connected(name: str, err: Exception, advice: str = ADVICE) -> SourceDataError | SourceUnavailableError:
    """Return the error about a connection that cannot be opened.

    Args:
        name: of the source.
        err: the driver's.
        advice: what to do.
    """
    kind = SourceUnavailableError if may_pass(err) else SourceDataError
    return kind(f"No connection to {name}: {message_of(err)}. {advice}")


def failed(name: str, err: Exception, *, is_outage: bool) -> QueryFailedError | SourceUnavailableError:
    """Return the error about a query that the database refused, or was lost during.

    Args:
        name: of the source.
        err: the driver's.
        is_outage: whether another try may help.
    """
    if is_outage:
        return SourceUnavailableError(f"The connection to {name} was lost while it was read: {message_of(err)}.")
    return QueryFailedError(f"{name} says: {message_of(err)}")


def describe_error(err: Exception) -> str:
    """Return an error that is not the database's, with its type: some say only ``-44``."""
    return f"{type(err).__name__}: {message_of(err)}"


def message_of(err: Exception) -> str:
    """Return the driver's message on one line; SQLAlchemy would add statement and parameters."""
    return " ".join(str(getattr(err, "orig", None) or err).split()).rstrip("^. ")
