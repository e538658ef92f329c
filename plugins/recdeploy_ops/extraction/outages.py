"""Which errors of a database driver may pass by themselves: the database is away, and has not refused anything.

The DB-API does not tell: most drivers raise OperationalError for an outage, a wrong password and (SQLite) a missing
table alike. So each error is looked at for what the operating system or the database itself has said. What nothing
here knows does not pass: it is shown to a person at once.
"""

from __future__ import annotations

import errno
import socket
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = (ConnectionError, TimeoutError, socket.gaierror)
NO_WAY = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH})
# Besides what python-oracledb calls recoverable: the listener does not answer, or does not know the service, which a
# database that starts makes known to it.
ORACLE_CODES = frozenset({"DPY-6000", "DPY-6001", "DPY-6003", "ORA-12170", "ORA-12541", "ORA-12543"})
# SQLSTATE: connection exception, transaction rollback (also by a standby's recovery), insufficient resources, shutdown.
POSTGRES_STATES = ("08", "40", "53", "57P")
# libpq has no SQLSTATE for what fails before there is a connection, and says more than one thing in one class.
LIBPQ_SAYS = (
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
    """Say whether trying again may help, from an error and from what caused it."""
    return any(
        isinstance(cause, NETWORK)
        or (isinstance(cause, OSError) and cause.errno in NO_WAY)
        or _says_oracle(cause)
        or _says_postgres(cause)
        or getattr(cause, "sqlite_errorcode", 0) & PRIMARY in SQLITE_CODES
        for cause in _causes(err)
    )


def _says_oracle(err: BaseException) -> bool:
    said: Any = err.args[0] if err.args else None
    return bool(getattr(said, "isrecoverable", False)) or getattr(said, "full_code", None) in ORACLE_CODES


def _says_postgres(err: BaseException) -> bool:
    if not any(kind.__module__.startswith("psycopg") for kind in type(err).__mro__):
        return False
    state = getattr(err, "sqlstate", None) or getattr(err, "pgcode", None)
    return state.startswith(POSTGRES_STATES) if state else any(said in str(err) for said in LIBPQ_SAYS)


def _causes(err: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = err
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
