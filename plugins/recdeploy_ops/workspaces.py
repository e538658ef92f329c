"""Work folders below the system's temporary folder, whose names identify the owning process.

A killed process cannot remove its folder, which may have the shop's data. So the next workspace, and the daily
housekeeping, remove the folders whose owners have ended.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

# The owner's process id, the tick at which it started, and the namespace of that id.
NAME = re.compile(r"recdeploy-(?P<pid>\d+)-(?P<started>\d+)-(?P<namespace>\d+)-\w+")
# Processes of another container are not visible: its folders are kept longer than any step may take.
FOREIGN_SECONDS = 2 * 24 * 60 * 60
PROC = Path("/proc")
DEAD = frozenset("ZX")  # zombies, and dead processes


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder that is removed at the end; first remove those of ended processes."""
    sweep_workspaces()
    pid = os.getpid()
    prefix = f"recdeploy-{pid}-{_started(pid) or 0}-{_namespace()}-"
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)


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
