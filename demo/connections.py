"""``python -m demo.connections``: prepares docker-compose's profile ``emulator`` before Airflow starts."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from demo.cloud import Cloud
from demo.errors import DemoError
from demo.store import generate_store

# Marks each connection, so that a file of the user's own is never replaced.
MARK = "Written by python -m demo.connections, which replaces it: keep your own elsewhere."


def main(arguments: list[str] | None = None) -> int:
    """Create the project and the shop, write the connections, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.connections", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True, help="written by the emulator")
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file of the invented shop")
    parser.add_argument("--output", type=Path, required=True, help="connections.json for Airflow")
    given = parser.parse_args(arguments)
    try:
        require_replaceable(given.output)
        cloud = Cloud(json.loads(given.ready_file.read_text(encoding="utf-8")))
        connections = {
            "oci_default": {"conn_type": "oci", "description": MARK, "extra": cloud.connection()},
            "recommender_db": {"conn_type": "sqlite", "description": MARK, "host": str(given.store)},
        }
    except (OSError, ValueError, DemoError) as err:
        sys.stderr.write(f"error: {err}\n")
        return 1
    generate_store(given.store, first_day=datetime.now(UTC).date())
    given.output.touch(mode=0o600)
    given.output.write_text(json.dumps(connections, indent=2), encoding="utf-8")
    return 0


def require_replaceable(file: Path) -> None:
    """Require that a file is missing or holds only what this program has written.

    Raises:
        DemoError: it holds connections of the user's own.
    """
    if not file.exists():
        return
    try:
        connections = json.loads(file.read_text(encoding="utf-8"))
        is_ours = all(connection["description"] == MARK for connection in connections.values())
    except (ValueError, AttributeError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise DemoError(
            f"{file} holds connections of your own, which the profile emulator would replace. It is unchanged. "
            "Leave RECDEPLOY_CONNECTIONS in .env empty to give the emulator a volume of its own, or move the file away."
        )


if __name__ == "__main__":
    sys.exit(main())
