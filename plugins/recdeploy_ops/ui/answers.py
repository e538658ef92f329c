"""Let Airflow handle one answer to a question at a time, so that only the first is accepted.

Airflow 3.3.2 checks whether a question has been answered on a row that it read before it locked that row: of two
answers within some 60 ms both get 200, and the later one counts. A task cannot notice that: the Task SDK shows neither
the audit log nor the first answer. This middleware of the API server handles the answers to one question one after the
other. The second then gets Airflow's own 409.

Within a process a lock of asyncio does that; among several API servers an advisory lock of Airflow's database, if
that is PostgreSQL or MySQL. With SQLite Airflow is one process.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from recdeploy_ops.ui.questions import App, Message, Receive, Send

ROUTE = re.compile(r".*(/dags/[^/]+/dagRuns/[^/]+/taskInstances/[^/]+/-?\d+/hitlDetails)/?", re.DOTALL)
# How each database takes and releases a named lock; PostgreSQL's ends with the transaction, so that it also works
# where a pool lends connections for a transaction only. A killed server leaves none.
LOCKS = {
    "postgresql": ("SELECT pg_advisory_xact_lock(:number)", ""),
    "mysql": ("SELECT GET_LOCK(:name, -1)", "SELECT RELEASE_LOCK(:name)"),
}


class OneAnswer:
    """ASGI middleware around Airflow's API server.

    Args:
        app: the wrapped application.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass everything on; an answer first waits until an earlier one to the same question has been handled."""
        is_change = scope["type"] == "http" and scope["method"] == "PATCH"
        route = ROUTE.fullmatch(scope["path"]) if is_change else None
        if route is None:
            await self._app(scope, receive, send)
            return
        lock = self._locks.setdefault(route[1], asyncio.Lock())
        async with lock, _locked_in_database(route[1]):
            await self._app(scope, receive, send)


@asynccontextmanager
async def _locked_in_database(question: str) -> AsyncIterator[None]:
    """Hold the lock of a question in Airflow's database while the block lasts."""
    from airflow.settings import engine

    if engine is None or engine.dialect.name not in LOCKS:
        yield
        return
    async with AsyncExitStack() as stack:
        connection = await asyncio.to_thread(engine.connect)
        stack.push_async_callback(asyncio.to_thread, connection.close)
        await asyncio.to_thread(take_lock, connection, question)
        stack.push_async_callback(asyncio.to_thread, release_lock, connection, question)
        yield


def take_lock(connection: Connection, question: str) -> None:
    """Wait until no other connection has the lock of a question, and take it; the transaction stays open."""
    _run(connection, question, LOCKS[connection.dialect.name][0])


def release_lock(connection: Connection, question: str) -> None:
    """Release the lock of a question, and end the transaction."""
    release = LOCKS[connection.dialect.name][1]
    if release:
        _run(connection, question, release)
    connection.rollback()


def _run(connection: Connection, question: str, statement: str) -> None:
    from sqlalchemy import text

    digest = hashlib.sha256(question.encode()).digest()
    values = {"number": int.from_bytes(digest[:8], signed=True), "name": digest.hex()}
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    connection.execute(text(statement), used)
