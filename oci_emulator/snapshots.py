"""Snapshots of the whole state, which can be restored repeatedly within milliseconds."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oci_emulator.serving.proxy import Proxy, Route
from oci_emulator.store import STATE_TABLES, Store

# Their files are written once, so that a hard link preserves them.
FOLDERS = ("artifacts", "objects", "parts")


@dataclass(frozen=True)
class Snapshot:
    """The rows of each table, and the servers of each deployment."""

    rows: dict[str, list[Sequence[object]]]
    routes: dict[str, Route]


@dataclass
class Snapshots:
    """Snapshots by name, until the emulator ends; each has its files in a folder below `folder`.

    The servers of a snapshot keep running when their deployment is deleted or switched, so that restoring is fast.
    """

    store: Store
    proxy: Proxy
    data_dir: Path
    folder: Path
    _taken: dict[str, Snapshot] = field(default_factory=dict)

    def take(self, name: str) -> None:
        """Save the present state under this name, replacing an earlier snapshot."""
        self.remove(name)
        for part in FOLDERS:
            shutil.copytree(self.data_dir / part, self.folder / name / part, copy_function=os.link)
        rows = {table: self._run(f"SELECT * FROM {table}").fetchall() for table in STATE_TABLES}  # noqa: S608 - names of `STATE_TABLES`
        self._taken[name] = Snapshot(rows, self.proxy.routes())
        self._keep_servers()

    async def restore(self, name: str) -> None:
        """Restore the state of a snapshot. Raises KeyError for an unknown name."""
        snapshot = self._taken[name]
        with self.store.transaction():
            for table, rows in snapshot.rows.items():
                self._run(f"DELETE FROM {table}")  # noqa: S608 - names of `STATE_TABLES`
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - names of `STATE_TABLES`
                    self.store.connection.executemany(statement, rows)
        for part in FOLDERS:
            shutil.rmtree(self.data_dir / part)
            shutil.copytree(self.folder / name / part, self.data_dir / part, copy_function=os.link)
        await self.proxy.restore(snapshot.routes)

    def remove(self, name: str) -> None:
        """Remove a snapshot, if it exists; its servers then stop with their deployments."""
        self._taken.pop(name, None)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        self._keep_servers()

    def remove_all(self) -> None:
        """Remove all snapshots."""
        for name in list(self._taken):
            self.remove(name)

    def _keep_servers(self) -> None:
        routes = [route for snapshot in self._taken.values() for route in snapshot.routes.values()]
        self.proxy.keep(server for route in routes for server in route.servers())

    def _run(self, statement: str) -> sqlite3.Cursor:
        return self.store.connection.execute(statement)
