"""The emulator's bucket as it lies on the disk."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from recdeploy_ops.domain.errors import KeyNotFoundError
from recdeploy_ops.storage.stores import StoredObject

PREFIX = "recdeploy/"


class Disk:
    """The bucket, read from the emulator's files: that saves a hundred requests in each case."""

    def __init__(self, data_dir: Path) -> None:
        """Look at what is there now."""
        self.uri = data_dir.as_uri()
        with closing(sqlite3.connect(data_dir / "state.sqlite")) as database:
            rows = database.execute("SELECT name, body FROM objects ORDER BY name").fetchall()
        self._objects = {name.removeprefix(PREFIX): json.loads(body) for name, body in rows}
        self._folder = data_dir / "objects"

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        if key not in self._objects:
            raise KeyNotFoundError(key)
        return (self._folder / self._objects[key]["file"]).read_bytes()

    def list(self, prefix: str, *, start: str = "") -> Iterator[StoredObject]:
        """Yield the objects, ordered by key."""
        for key, body in self._objects.items():
            if key.startswith(prefix) and key >= start:
                yield StoredObject(key, body["size"])
