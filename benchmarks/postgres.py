"""A PostgreSQL server in a folder, for as long as it is needed. Debian: ``apt-get install postgresql``."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("initdb", "pg_ctl", "psql")
MISSING = "PostgreSQL is not installed. Run apt-get install postgresql, or put its programs on PATH."


@contextmanager
def server(folder: Path, script: str) -> Iterator[str]:
    """Run a server while the block lasts; yield the URL of its database ``postgres``, for the user ``shop``.

    Args:
        folder: an empty one; other users must be able to reach it.
        script: SQL to run first.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
    """
    programs = find_programs()
    if programs is None:
        raise FileNotFoundError(MISSING)
    user = _other_user()
    data = folder / "data"
    folder.chmod(0o755)
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)
    run = partial(subprocess.run, check=True, user=user, capture_output=True, cwd="/", text=True)
    as_utf8 = ("--locale", "C", "--encoding", "UTF8")
    run([programs / "initdb", "--pgdata", data, "--username", "shop", "--auth", "trust", "--no-sync", *as_utf8])
    options = f"-c listen_addresses='' -c unix_socket_directories='{data}' -c fsync=off -c shared_buffers=512MB"
    run([programs / "pg_ctl", "--pgdata", data, "--log", data / "log", "--options", options, "--wait", "start"])
    try:
        psql = [programs / "psql", "--host", data, "--username", "shop", "--quiet", "--set", "ON_ERROR_STOP=1"]
        run([*psql, "postgres"], input=script)
        data.chmod(0o755)
        yield f"postgresql://shop@/postgres?host={data}"
    finally:
        data.chmod(0o700)
        run([programs / "pg_ctl", "--pgdata", data, "--mode", "fast", "--wait", "stop"])


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None where it is not installed."""
    folders = [*map(Path, os.get_exec_path()), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((folder for folder in folders if all((folder / name).exists() for name in PROGRAMS)), None)


def _other_user() -> str | None:
    """Return the user to run the server as, if this is root: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(user.pw_name == "postgres" for user in pwd.getpwall()) else "nobody"
