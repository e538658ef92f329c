"""Durable state: documents in one SQLite file that survives a kill."""

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    etag TEXT NOT NULL,
    body TEXT NOT NULL,
    private TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS resources_by_kind ON resources (kind, position);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (bucket, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS retry_tokens (
    token TEXT PRIMARY KEY,
    expires REAL NOT NULL,
    reply TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS versions (
    since REAL NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    etag TEXT NOT NULL,
    body TEXT NOT NULL,
    private TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS versions_by_id ON versions (id, since);
CREATE INDEX IF NOT EXISTS versions_by_kind ON versions (kind);
CREATE TABLE IF NOT EXISTS settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS datapoints (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    compartment TEXT NOT NULL,
    stream TEXT NOT NULL,
    time REAL NOT NULL,
    value REAL NOT NULL,
    count INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS datapoints_by_metric ON datapoints (namespace, name, time);
CREATE TABLE IF NOT EXISTS answers (
    time REAL NOT NULL,
    deployment TEXT NOT NULL,
    status INTEGER NOT NULL,
    milliseconds REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_time ON answers (time);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT,
    call TEXT NOT NULL
);
"""
# What a snapshot holds.
STATE_TABLES = ("resources", "objects", "retry_tokens", "versions", "settings", "datapoints", "answers")
_TABLES = (*STATE_TABLES, "calls")
# Each query for now, and for an earlier moment. In the latter the bare columns belong to the row with the maximum:
# SQLite's documented rule for a single max() in a query.
_FIND = "SELECT kind, id, body, private, etag FROM resources WHERE id = :value"
_FIND_THEN = (
    "SELECT kind, id, body, private, etag, max(since) FROM versions WHERE id = :value AND since <= :moment GROUP BY id"
)
_ALL = "SELECT kind, id, body, private, etag FROM resources WHERE kind = :value ORDER BY position"
_ALL_THEN = (
    "SELECT kind, id, body, private, etag, max(since) FROM versions"
    " WHERE kind = :value AND since <= :moment GROUP BY id ORDER BY position"
)
# The oldest state that a stale read can return.
KEEP_VERSIONS_SECONDS = 600.0


@dataclass
class Resource:
    """One stored resource: `body` is visible through OCI, `private` is not."""

    kind: str
    id: str
    body: Json
    private: Json = field(default_factory=dict)
    etag: str = ""


class Store:
    """Stores resources; every save gives the resource a new etag.

    Only the event loop's thread uses it. The changes of one `transaction` are committed together or not at all.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`; create it if it does not exist."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # The kernel holds every committed page: a kill loses nothing, only a power cut could.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)
        self._depth = 0
        self._afterwards: list[Callable[[], object]] = []
        self._moment: float | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for queries of other tables."""
        return self._connection

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[None]:
        """Commit the changes inside together, or none; a nested transaction joins the outermost.

        Without `commit` they are rolled back: an ordered fault only pretends to make them.
        """
        if self._depth:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._depth, self._afterwards = 1, []
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT" if commit else "ROLLBACK")
        finally:
            self._depth = 0
        for action in self._afterwards if commit else ():
            action()

    @contextmanager
    def as_of(self, moment: float) -> Iterator[None]:
        """Read resources as they were at this time."""
        self._moment = moment
        try:
            yield
        finally:
            self._moment = None

    def afterwards(self, action: Callable[[], object]) -> None:
        """Run an action after the present transaction is committed, such as removing a replaced file."""
        self._afterwards.append(action)

    def save(self, resource: Resource) -> Resource:
        """Insert or replace `resource` with a new etag; earlier versions are kept for stale reads."""
        resource.etag = uuid.uuid4().hex
        run, now = self._connection.execute, time.time()
        run(
            "INSERT INTO resources (kind, id, etag, body, private) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET etag = excluded.etag, body = excluded.body, private = excluded.private",
            (resource.kind, resource.id, resource.etag, json.dumps(resource.body), json.dumps(resource.private)),
        )
        old = now - KEEP_VERSIONS_SECONDS
        run(
            "DELETE FROM versions WHERE id = ?1 AND since <"
            " (SELECT max(since) FROM versions WHERE id = ?1 AND since <= ?2)",
            (resource.id, old),
        )
        run(
            "INSERT INTO versions SELECT ?, position, kind, id, etag, body, private FROM resources WHERE id = ?",
            (now, resource.id),
        )
        return resource

    def find(self, kind: str, identifier: str) -> Resource | None:
        """Return the resource of this kind with this id, or None."""
        resource = self.find_any(identifier)
        return resource if resource and resource.kind == kind else None

    def find_any(self, identifier: str) -> Resource | None:
        """Return the resource with this id, of any kind, or None."""
        rows = self._read(_FIND, _FIND_THEN, identifier)
        return rows[0] if rows else None

    def all_of(self, kind: str) -> list[Resource]:
        """Return every resource of this kind, the oldest first."""
        return self._read(_ALL, _ALL_THEN, kind)

    def _read(self, query_now: str, query_then: str, value: str) -> list[Resource]:
        query = query_now if self._moment is None else query_then
        rows = self._connection.execute(query, {"value": value, "moment": self._moment})
        return [_resource(row) for row in rows]

    def delete(self, identifier: str) -> None:
        """Remove the resource with this id."""
        for table in ("resources", "versions"):
            self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (identifier,))  # noqa: S608 - the two above

    def clear(self) -> None:
        """Remove everything."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are those above

    def setting(self, name: str) -> Any:
        """Return a stored setting, or None."""
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def save_setting(self, name: str, value: Any) -> None:
        """Store a setting."""
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _resource(row: tuple[Any, ...]) -> Resource:
    kind, identifier, body, private, etag = row[:5]
    return Resource(kind=kind, id=identifier, body=json.loads(body), private=json.loads(private), etag=etag)
