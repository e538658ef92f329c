"""A local directory as a store: for one machine, the demo and the tests."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from recdeploy_ops.domain.errors import IntegrityError, KeyExistsError, KeyNotFoundError, StorageError
from recdeploy_ops.storage.stores import StoredObject, Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

PARTIAL = ".partial-"
FOLDER_MODE, FILE_MODE, READ_ONLY = 0o700, 0o600, 0o400  # customers' data is for the worker's user alone
CHUNK = 1 << 20


class DirectoryStore:
    """Objects as files below one folder.

    A file appears under its name by ``os.link`` of a finished, fsynced temporary file: it is whole or absent, and of
    two writers exactly one wins. It is read-only, because objects never change and a backup may be a hard link. Files
    and the folders that are created here are for the user alone who has written them.

    Args:
        uri: ``file:///folder``; the folder is created on the first write.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._root = Path(unquote(urlsplit(uri).path))

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        with self.open(key) as stream:
            return stream.read()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Stream the object."""
        try:
            # Without waiting: a pipe in the folder would never have a writer.
            stream = os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise KeyNotFoundError(key) from None
        except OSError as err:
            raise self._error("read", key, err) from err
        with stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise StorageError(f"{key!r} below the storage root {self.uri} is not a file: remove it.")
            yield stream

    def list(self, prefix: str, *, start: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix``, ordered by key."""
        folder = prefix.rpartition("/")[0]
        objects: list[StoredObject] = []
        # Texts and not paths: a ledger of a year has thousands of objects, and is listed with each step.
        beginning = len(str(self._root)) + 1
        for parent, _, names in os.walk(self._root / folder):
            for name in names:
                path = f"{parent}/{name}"
                key = path[beginning:]
                if key.startswith(prefix) and key >= start and not name.startswith(PARTIAL):
                    size = self._size(key, path)
                    if size is not None:
                        objects.append(StoredObject(key, size))
        yield from sorted(objects)

    def _size(self, key: str, path: str) -> int | None:
        """Return the size of an object; None for a broken symbolic link."""
        try:
            return os.stat(path).st_size  # noqa: PTH116 - a `Path` costs more than the call
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.ELOOP):
                return None
            raise self._error("list", key, err) from err

    def create(self, key: str, content: bytes) -> None:
        """Store ``content`` under a new key."""
        with self._partial(key) as partial:
            partial.write_bytes(content)
            self._commit(partial, key)

    def upload(self, key: str, path: Path, sha256: str) -> None:
        """Store a file's content under a new key, read once."""
        with self._partial(key) as partial:
            with path.open("rb") as source, partial.open("wb") as sink:
                digest = hashlib.sha256()
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    sink.write(chunk)
            if digest.hexdigest() != sha256:
                raise IntegrityError(
                    f"{path} has the sha256 {digest.hexdigest()}, its manifest says {sha256}: it was changed after the "
                    "manifest was written."
                )
            self._commit(partial, key)

    def replace(self, key: str, content: bytes) -> None:
        """Overwrite atomically."""
        with self._partial(key) as partial:
            partial.write_bytes(content)
            _sync(partial)
            partial.replace(self._path(key))
            _sync(self._path(key).parent)

    def copy(self, source: str, target: str) -> bool:
        """Store ``source`` under the new key ``target`` as well, by a hard link, as objects never change."""
        origin = self._path(source)
        if not origin.is_file():
            raise KeyNotFoundError(source)
        with self._partial(target) as partial:
            partial.unlink()
            try:
                os.link(origin, partial)
            except OSError:  # on another file system, or one without hard links
                partial.touch(FILE_MODE, exist_ok=False)
                shutil.copyfile(origin, partial)
            is_second = not partial.samefile(origin)
            self._commit(partial, target)
        return is_second

    def delete(self, key: str) -> None:
        """Remove an object, or nothing."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as err:
            raise self._error("delete", key, err) from err

    def find_unfinished(self, before: datetime) -> Sequence[Unfinished]:
        """Return the temporary files from before a time, whose writers were killed.

        A file that its writer finishes meanwhile is skipped.
        """
        found = []
        for parent, _, names in os.walk(self._root):
            for path in [Path(parent, name) for name in names if name.startswith(PARTIAL)]:
                with suppress(FileNotFoundError):
                    if path.lstat().st_mtime < before.timestamp():
                        found.append(Unfinished(path.relative_to(self._root).as_posix()))
        return sorted(found)

    def discard(self, unfinished: Unfinished) -> None:
        """Remove a temporary file, or nothing."""
        self.delete(unfinished.name)

    def free_bytes(self) -> int | None:
        """Return how much can still be stored; None if that is unknown."""
        try:
            return shutil.disk_usage(next(path for path in (self._root, *self._root.parents) if path.exists())).free
        except OSError:
            return None

    def check_writable(self) -> None:
        """Write and remove a small file."""
        with self._partial("write-check"):
            pass

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise StorageError(f"{key!r} is not a key below {self.uri}.")
        return self._root.joinpath(*parts)

    @contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        folder = self._path(key).parent
        try:
            self._make(folder)
            partial = folder / f"{PARTIAL}{secrets.token_hex(8)}"
            partial.touch(FILE_MODE, exist_ok=False)
        except OSError as err:
            raise self._error("write", key, err) from err
        try:
            yield partial
        except OSError as err:
            raise self._error("write", key, err) from err
        finally:
            partial.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder and those between the root and it; a root that exists keeps its mode."""
        if folder.is_dir():
            return
        try:
            self._root.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as err:  # a file is in its place
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), err.filename) from err
        between = folder.relative_to(self._root).parts
        for depth in range(len(between) + 1):
            self._root.joinpath(*between[:depth]).mkdir(FOLDER_MODE, exist_ok=True)

    def _commit(self, partial: Path, key: str) -> None:
        if partial.stat().st_mode & 0o222:  # a link to a stored object is read-only already, and may be another user's
            partial.chmod(READ_ONLY)
        _sync(partial)
        target = self._path(key)
        try:
            os.link(partial, target)
        except FileExistsError:
            if not (partial.samefile(target) or filecmp.cmp(partial, target, shallow=False)):
                raise KeyExistsError(key) from None
        _sync(target.parent)

    def _error(self, what: str, key: str, err: OSError) -> StorageError:
        reason = os.strerror(err.errno) if err.errno else str(err)
        fix = "free some space" if err.errno == errno.ENOSPC else "make the folder accessible to the worker's user"
        return StorageError(
            f"Cannot {what} {key!r} below the storage root {self.uri}: {reason}. Set 'storage' in "
            f"include/recommender.yaml to a root that works, or {fix}."
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
