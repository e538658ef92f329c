"""A PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.postgres import MISSING, find_programs, server

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = "RECDEPLOY_REQUIRE_POSTGRES"


def require_postgres() -> None:
    """Skip the test where PostgreSQL is not installed, or fail it if `REQUIRED` is set."""
    if find_programs() is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{MISSING} {REQUIRED} is set.")
        pytest.skip(MISSING)


@contextmanager
def running_postgres(script: str = "") -> Iterator[str]:
    """Run a server while the block lasts, and yield its URL; skip the tests where it is not installed, or fail.

    Args:
        script: SQL to run first.
    """
    require_postgres()
    with tempfile.TemporaryDirectory(prefix="recdeploy-postgres-") as folder, server(Path(folder), script) as url:
        yield url
