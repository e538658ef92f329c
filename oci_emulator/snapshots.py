"""The whole cloud as it was at a moment, to come back to in milliseconds and as often as wanted."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oci_emulator.serving.proxy import Proxy, Route
from oci_emulator.store import Store

# Contents in these are files that are written once: a second name for one keeps it.
FOLDERS = ("artifacts", "objects", "parts")
_TABLES = ("resources", "objects", "retry_tokens", "versions", "settings")


@dataclass(frozen=True)
class Snapshot:
    """Rows by table, and who answered for each deployment."""

    rows: dict[str, list[Sequence[object]]]
    routes: dict[str, Route]


@dataclass
class Snapshots:
    """Snapshots by name; they end with the emulator. `folder` has their files, in one folder each.

    The servers of a snapshot run on when their deployment is deleted or switched, so that none has to be started
    when it is restored.
    """

    store: Store
    proxy: Proxy
    data_dir: Path
    folder: Path
    _taken: dict[str, Snapshot] = field(default_factory=dict)

    def take(self, name: str) -> None:
        """Keep the present state by this name; one that had the name is forgotten."""
        self.forget(name)
        for part in FOLDERS:
            shutil.copytree(self.data_dir / part, self.folder / name / part, copy_function=os.link)
        rows = {table: self._run(f"SELECT * FROM {table}").fetchall() for table in _TABLES}  # noqa: S608 - constants
        self._taken[name] = Snapshot(rows, self.proxy.routes())
        self._keep_servers()

    async def restore(self, name: str) -> None:
        """Make everything what it was. Raises KeyError when nothing has this name."""
        snapshot = self._taken[name]
        with self.store.transaction():
            for table, rows in snapshot.rows.items():
                self._run(f"DELETE FROM {table}")  # noqa: S608 - constants
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - constants
                    self.store.connection.executemany(statement, rows)
        for part in FOLDERS:
            shutil.rmtree(self.data_dir / part)
            shutil.copytree(self.folder / name / part, self.data_dir / part, copy_function=os.link)
        await self.proxy.restore(snapshot.routes)

    def forget(self, name: str) -> None:
        """Forget one, if there is one by this name; its servers stop with what they serve."""
        self._taken.pop(name, None)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        self._keep_servers()

    def forget_all(self) -> None:
        """Forget all of them."""
        for name in list(self._taken):
            self.forget(name)

    def _keep_servers(self) -> None:
        routes = [route for snapshot in self._taken.values() for route in snapshot.routes.values()]
        self.proxy.keep(server for route in routes for server in route.servers())

    def _run(self, statement: str) -> sqlite3.Cursor:
        return self.store.connection.execute(statement)
