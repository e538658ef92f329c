"""Work folders below the system's temporary folder, whose names identify the owning process.

A killed process cannot remove its folder, which may have the shop's data. So the next workspace, and the daily
housekeeping, remove the folders whose owners have ended.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import TemporaryFolderError
from recdeploy_ops.domain.remedies import TryAgain

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

# The owner's process id, the tick at which it started, and the namespace of that id.
NAME = re.compile(r"recdeploy-(?P<pid>\d+)-(?P<started>\d+)-(?P<namespace>\d+)-\w+")
# Processes of another container are not visible: its folders are kept longer than any step may take.
FOREIGN_SECONDS = 2 * 24 * 60 * 60
PROC = Path("/proc")
DEAD = frozenset("ZX")  # zombies, and dead processes
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
TMPDIR = "TMPDIR"


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder that is removed at the end; first remove those of ended processes.

    Raises:
        TemporaryFolderError: the folder cannot be made, or it became full while it was used.
    """
    pid = os.getpid()
    prefix = f"recdeploy-{pid}-{_started(pid) or 0}-{_namespace()}-"
    try:
        sweep_workspaces()
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as err:
        raise _unusable(err) from err
    with folder as name:
        try:
            yield Path(name)
        except (OSError, sqlite3.OperationalError) as err:
            if not _says_full(err, Path(name)):
                raise
            raise _unusable(err) from err


def _says_full(err: OSError | sqlite3.OperationalError, folder: Path) -> bool:
    """Return whether an error says that the disk of a folder is full; not every one names its file."""
    if isinstance(err, sqlite3.OperationalError):
        return err.sqlite_errorcode == sqlite3.SQLITE_FULL
    return err.errno in FULL and (not err.filename or Path(os.fsdecode(err.filename)).is_relative_to(folder))


def require_free_space(wanted: int) -> None:
    """Refuse a temporary folder that cannot be written, or has too little room.

    Args:
        wanted: free bytes.

    Raises:
        TemporaryFolderError: names the folder, what is free and what is wanted.
    """
    # Python silently uses another folder where TMPDIR names one that cannot be written.
    try:
        folder = Path(os.environ.get(TMPDIR) or tempfile.gettempdir())
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as err:
        raise _unusable(err, wanted) from err
    if free < wanted:
        raise TemporaryFolderError(
            f"The temporary folder {folder} has {free:,} bytes free, and a release needs about {wanted:,}.", _REMEDY
        )


_REMEDY = TryAgain(f"Free some space there, or set the worker's variable {TMPDIR} to a folder that has it")


def _unusable(err: OSError | sqlite3.OperationalError, wanted: int | None = None) -> TemporaryFolderError:
    """Return the error for a temporary folder that cannot be written."""
    reason = os.strerror(err.errno) if isinstance(err, OSError) and err.errno else str(err)
    needs = "" if wanted is None else f" A release needs about {wanted:,} bytes there."
    try:
        folder = os.environ.get(TMPDIR) or tempfile.gettempdir()
        free = f"; {shutil.disk_usage(folder).free:,} bytes are free"
    except OSError:
        folder, free = os.environ.get(TMPDIR) or "of this machine", ""
    return TemporaryFolderError(f"The temporary folder {folder} cannot be written: {reason}{free}.{needs}", _REMEDY)


def sweep_workspaces() -> list[str]:
    """Remove the work folders of this user whose owners have ended, and return their names."""
    swept = []
    for folder in Path(tempfile.gettempdir()).glob("recdeploy-*"):
        if _is_left_behind(folder):
            shutil.rmtree(folder, ignore_errors=True)
            log.warning("The process that worked in %s was killed: the folder is removed.", folder)
            swept.append(folder.name)
    return swept


def _is_left_behind(folder: Path) -> bool:
    owner = NAME.fullmatch(folder.name)
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    if owner is None or status.st_uid != os.getuid() or folder.is_symlink():
        return False
    if int(owner["namespace"]) != _namespace():
        return time.time() - status.st_mtime > FOREIGN_SECONDS
    return _started(int(owner["pid"])) != int(owner["started"])


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None if it has ended, 0 if unknown."""
    try:
        # After the command's name, which may have spaces and brackets: the state, and the start 19 fields later.
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0 if not PROC.is_dir() and _is_alive(pid) else None
    return None if fields[0] in DEAD else int(fields[19])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _namespace() -> int:
    try:
        return (PROC / "self" / "ns" / "pid").stat().st_ino
    except OSError:
        return 0
