"""Which errors of a database driver are transient: the database is unavailable, but has not refused anything.

The DB-API does not distinguish them: most drivers raise OperationalError for an outage, a wrong password and (SQLite) a
missing table alike. So an error is classified by the code of the operating system or the database. An unknown error is
not transient: it is reported at once.
"""

from __future__ import annotations

import errno
import socket
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = (ConnectionError, TimeoutError, socket.gaierror)
UNREACHABLE = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH})
# In addition to the errors that python-oracledb calls recoverable: the listener does not answer, or does not know the
# service yet, which a starting database registers.
ORACLE_CODES = frozenset({"DPY-6000", "DPY-6001", "DPY-6003", "ORA-12170", "ORA-12541", "ORA-12543"})
# SQLSTATE: connection exception, transaction rollback (also by a standby's recovery), insufficient resources, shutdown.
POSTGRES_STATES = ("08", "40", "53", "57P")
# libpq has no SQLSTATE for errors before there is a connection, and uses one class for several of them.
LIBPQ_MESSAGES = (
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "could not translate host name",
    "Network is unreachable",
    "failed to resolve host",  # psycopg 3
    "No route to host",
    "remaining connection slots",
    "server closed the connection unexpectedly",
    "the database system is",  # starting up, shutting down, in recovery mode
    "timeout expired",
    "too many clients",
)
SQLITE_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
PRIMARY = 0xFF  # of an extended code of SQLite, such as SQLITE_BUSY_SNAPSHOT


def may_pass(err: BaseException) -> bool:
    """Return whether trying again may help, judged by an error and its causes."""
    return any(
        isinstance(cause, NETWORK)
        or (isinstance(cause, OSError) and cause.errno in UNREACHABLE)
        or _is_oracle_outage(cause)
        or _is_postgres_outage(cause)
        or getattr(cause, "sqlite_errorcode", 0) & PRIMARY in SQLITE_CODES
        for cause in _causes(err)
    )


def _is_oracle_outage(err: BaseException) -> bool:
    details: Any = err.args[0] if err.args else None
    return bool(getattr(details, "isrecoverable", False)) or getattr(details, "full_code", None) in ORACLE_CODES


def _is_postgres_outage(err: BaseException) -> bool:
    if not any(kind.__module__.startswith("psycopg") for kind in type(err).__mro__):
        return False
    state = getattr(err, "sqlstate", None) or getattr(err, "pgcode", None)
    return state.startswith(POSTGRES_STATES) if state else any(message in str(err) for message in LIBPQ_MESSAGES)


def _causes(err: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = err
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
