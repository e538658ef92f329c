"""The operations of a storage root, a folder or a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path


class StoredObject(NamedTuple):
    """One stored object: its key below the root, and its size in bytes."""

    key: str
    size: int


class Unfinished(NamedTuple):
    """A write whose writer was killed: the name of its object or temporary file, and the id of an upload in parts."""

    name: str
    upload_id: str = ""


class Store(Protocol):
    """Immutable objects under slash-separated keys.

    An object is created only if nothing is stored under its key. Equal content there counts as success, so that a
    killed step may run again. Nothing is renamed: a manifest that is written last commits a folder (see
    `recdeploy_ops.storage.bundles`).

    Every method may raise `StorageError` (final) or `StorageUnavailableError` (worth a retry).
    """

    uri: str

    def read(self, key: str) -> bytes:
        """Return the whole object; raises `KeyNotFoundError`."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Stream the object; raises `KeyNotFoundError`."""
        ...

    def list(self, prefix: str, *, start: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix`` and are not below ``start``, ordered by key."""
        ...

    def create(self, key: str, content: bytes) -> None:
        """Store ``content`` under a new key; raises `KeyExistsError` if it has other content."""
        ...

    def upload(self, key: str, path: Path, sha256: str) -> None:
        """Store a file's content under a new key, read once.

        Raises:
            KeyExistsError: the key has other content.
            IntegrityError: the file's content has another sha256; nothing is stored.
        """
        ...

    def replace(self, key: str, content: bytes) -> None:
        """Overwrite: for snapshots and pointers only, which can be rebuilt from the ledger."""
        ...

    def copy(self, source: str, target: str) -> bool:
        """Store the object ``source`` under the new key ``target`` as well.

        Returns:
            Whether the content was written a second time; otherwise both keys share it, and verifying one verifies
            the other.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object, if it exists: for leftovers and incomplete content only."""
        ...

    def find_unfinished(self, before: datetime) -> Sequence[Unfinished]:
        """Return the writes that began before a time and were never finished."""
        ...

    def discard(self, unfinished: Unfinished) -> None:
        """Remove an unfinished write, if it still exists."""
        ...

    def free_bytes(self) -> int | None:
        """Return how much can still be stored; None if that is unknown or unlimited."""
        ...

    def check_writable(self) -> None:
        """Write and remove a small object, so that an unwritable root fails early."""
        ...
