"""Durable state: documents in one SQLite file that survives a killed process."""

import json
import sqlite3
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
"""


@dataclass
class Resource:
    """One stored resource: `body` is what OCI shows, `private` what it does not."""

    kind: str
    id: str
    body: Json
    private: Json = field(default_factory=dict)
    etag: str = ""


class Store:
    """Keeps resources; every save gives the resource a new etag.

    Only the event loop's thread uses it. What one `transaction` changes becomes durable together or not.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, made when absent."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # The kernel has every committed page, so that a killed process loses nothing; only a power cut could.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)
        self._depth = 0
        self._afterwards: list[Callable[[], object]] = []

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for tables with queries of their own."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside together, or nothing of it; a nested one joins the outermost."""
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
            self._connection.execute("COMMIT")
        finally:
            self._depth = 0
        for action in self._afterwards:
            action()

    def afterwards(self, action: Callable[[], object]) -> None:
        """Do something once the present transaction is durable, such as removing a file that it replaced."""
        self._afterwards.append(action)

    def save(self, resource: Resource) -> Resource:
        """Insert or replace `resource` and give it a new etag."""
        resource.etag = uuid.uuid4().hex
        self._connection.execute(
            "INSERT INTO resources (kind, id, etag, body, private) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET etag = excluded.etag, body = excluded.body, private = excluded.private",
            (
                resource.kind,
                resource.id,
                resource.etag,
                json.dumps(resource.body),
                json.dumps(resource.private),
            ),
        )
        return resource

    def find(self, kind: str, identifier: str) -> Resource | None:
        """Return the resource of this kind with this id, if there is one."""
        row = self._connection.execute(
            "SELECT kind, id, body, private, etag FROM resources WHERE id = ? AND kind = ?",
            (identifier, kind),
        ).fetchone()
        return _resource(row) if row else None

    def find_any(self, identifier: str) -> Resource | None:
        """Return the resource with this id, whatever its kind."""
        row = self._connection.execute(
            "SELECT kind, id, body, private, etag FROM resources WHERE id = ?", (identifier,)
        ).fetchone()
        return _resource(row) if row else None

    def all_of(self, kind: str) -> list[Resource]:
        """Return every resource of this kind, the oldest first."""
        rows = self._connection.execute(
            "SELECT kind, id, body, private, etag FROM resources WHERE kind = ? ORDER BY position", (kind,)
        )
        return [_resource(row) for row in rows]

    def delete(self, identifier: str) -> None:
        """Forget the resource with this id."""
        self._connection.execute("DELETE FROM resources WHERE id = ?", (identifier,))

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in ("resources", "objects", "retry_tokens"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are the three above

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _resource(row: tuple[str, str, str, str, str]) -> Resource:
    kind, identifier, body, private, etag = row
    return Resource(kind=kind, id=identifier, body=json.loads(body), private=json.loads(private), etag=etag)
