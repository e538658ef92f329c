"""Outages of the database: they are tried again, and refusals are not."""

from __future__ import annotations

import errno
import socket
import sqlite3
import ssl
from contextlib import closing
from typing import TYPE_CHECKING

import oracledb
import psycopg
import psycopg2
import pyarrow as pa
import pytest
from oracledb.errors import _Error as OracleMessage
from shops import FakeOracle
from sqlalchemy import create_engine

from recdeploy_ops.domain.errors import TransientError
from recdeploy_ops.extraction import ArrowSource, CursorSource, QueryFailedError, SourceUnavailableError
from recdeploy_ops.extraction.outages import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recdeploy_ops.extraction import Source


def of_oracle(text: str) -> oracledb.Error:
    """Return the exception that python-oracledb raises for an error text of the database."""
    code = int(text[4:9]) if text.startswith("ORA-") else 0
    message = OracleMessage(text, code=code)
    error: oracledb.Error = message.exc_type(message)
    return error


def of_sqlite(code: int) -> sqlite3.OperationalError:
    """Return the exception that sqlite3 raises with an extended code."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    return error


class ShutDown(psycopg2.OperationalError):
    """psycopg2 sets ``pgcode`` itself; it is read-only."""

    pgcode = "57P01"


class NoSuchTable(psycopg2.ProgrammingError):
    pgcode = "42P01"


@pytest.mark.parametrize(
    ("err", "passes"),
    [
        (of_oracle("ORA-03113: end-of-file on communication channel"), True),
        (of_oracle("ORA-01033: ORACLE initialization or shutdown in progress"), True),
        (of_oracle("ORA-12514: TNS:listener does not currently know of service requested"), True),
        (of_oracle("DPY-4011: the database or network closed the connection"), True),
        (of_oracle('DPY-6001: Service "x" is not registered with the listener'), True),
        (of_oracle("ORA-01017: invalid credential or not authorized; logon denied"), False),
        (of_oracle("ORA-28000: the account is locked"), False),
        (of_oracle("ORA-00942: table or view does not exist"), False),
        (of_oracle('ORA-00904: "STARS": invalid identifier'), False),
        (of_oracle("DPY-4027: no configuration directory specified"), False),
        (ShutDown("terminating connection due to administrator command"), True),
        (psycopg.errors.ConnectionFailure("lost"), True),
        (psycopg.errors.TooManyConnections("sorry"), True),
        (psycopg2.OperationalError("FATAL:  the database system is starting up"), True),
        (psycopg2.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.OperationalError("failed to resolve host 'db': Temporary failure in name resolution"), True),
        (NoSuchTable('relation "users" does not exist'), False),
        (psycopg.errors.UndefinedColumn('column "stars" does not exist'), False),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), False),
        (psycopg2.OperationalError('FATAL:  password authentication failed for user "ann"'), False),
        (psycopg2.OperationalError("fe_sendauth: no password supplied"), False),
        (psycopg2.OperationalError('FATAL:  database "shop" does not exist'), False),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (socket.gaierror(-3, "Temporary failure in name resolution"), True),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (ssl.SSLCertVerificationError("certificate verify failed"), False),
        (FileNotFoundError(errno.ENOENT, "No such file", "tnsnames.ora"), False),
        (sqlite3.OperationalError("no such table: users"), False),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), True),
        (of_sqlite(sqlite3.SQLITE_LOCKED_SHAREDCACHE), True),
        (of_sqlite(sqlite3.SQLITE_ERROR_MISSING_COLLSEQ), False),
        (ValueError("Connection refused"), False),
    ],
    ids=lambda value: f"{type(value).__name__}: {value}" if isinstance(value, Exception) else str(value),
)
def test_an_outage_may_pass_and_a_refusal_does_not(err: Exception, *, passes: bool) -> None:
    assert may_pass(err) is passes


def test_the_cause_of_an_error_counts_unless_it_is_suppressed() -> None:
    def raised(cause: Exception | None) -> Exception:
        try:
            try:
                raise ConnectionRefusedError
            except ConnectionRefusedError:
                raise RuntimeError from cause
        except RuntimeError as err:
            return err

    assert may_pass(raised(TimeoutError()))
    assert not may_pass(raised(None))


def read(source: Source, sql: str) -> None:
    with source.batches(sql, {}, 1) as rows:
        list(rows)


@pytest.fixture
def free_port() -> Iterator[int]:
    """Return a port on which no process listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_an_unreachable_postgres_is_an_outage(driver: str, free_port: int) -> None:
    source = CursorSource(lambda: create_engine(f"postgresql+{driver}://a:b@127.0.0.1:{free_port}/shop"), "the shop")

    with pytest.raises(SourceUnavailableError, match=r"No connection to the shop: .*Connection refused"):
        read(source, "SELECT 1")
    assert issubclass(SourceUnavailableError, TransientError)


def test_an_unreachable_oracle_is_an_outage(free_port: int) -> None:
    source = ArrowSource(
        lambda: oracledb.connect(user="a", password="b", dsn=f"127.0.0.1:{free_port}/shop"), "the shop"
    )

    with pytest.raises(SourceUnavailableError, match="No connection to the shop: DPY-6005"):
        read(source, "SELECT 1 FROM dual")


ROWS = [pa.table({"A": [1]})]


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        (of_oracle("DPY-4011: the database or network closed the connection"), SourceUnavailableError),
        (ConnectionResetError("Connection reset by peer"), SourceUnavailableError),
        (of_oracle("ORA-01722: invalid number"), QueryFailedError),
    ],
)
def test_oracle_that_is_lost_while_rows_arrive_is_an_outage(err: Exception, kind: type[Exception]) -> None:
    connection = FakeOracle(ROWS, err)

    with ArrowSource(lambda: connection, "the shop").batches("SELECT 1 FROM dual", {}, 1) as rows:
        assert len(next(rows)) == 1
        with pytest.raises(kind, match=f"the shop.*{str(err)[:9]}"):
            next(rows)
    assert connection.is_closed


def test_a_lost_connection_that_cannot_be_closed_is_an_outage_too() -> None:
    class Lost(FakeOracle):
        def close(self) -> None:
            raise of_oracle("DPY-1001: not connected to database")

    connection = Lost(ROWS, of_oracle("DPY-4011: the database or network closed the connection"))
    with pytest.raises(SourceUnavailableError, match="DPY-4011"):
        read(ArrowSource(lambda: connection, "the shop"), "SELECT 1 FROM dual")


def test_a_locked_sqlite_is_an_outage_and_a_missing_table_is_not(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    source = CursorSource(lambda: create_engine(f"sqlite:///{file}", connect_args={"timeout": 0}), "the shop")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE users (user_id)")
        with pytest.raises(QueryFailedError, match="no such table: items"):
            read(source, "SELECT * FROM items")
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(SourceUnavailableError, match="database is locked"):
            read(source, "SELECT * FROM users")


def test_a_connection_that_sqlalchemy_calls_lost_is_an_outage() -> None:
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        opened.append(sqlite3.connect(":memory:"))
        return opened[-1]

    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
    source = CursorSource(lambda: create_engine("sqlite://", creator=connect), "the shop")

    with source.batches(numbers, {}, 2) as rows:
        next(rows)
        opened[-1].close()
        with pytest.raises(SourceUnavailableError, match="was lost while it was read: Cannot operate on a closed"):
            next(rows)
