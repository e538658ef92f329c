"""``python -m demo.connections``: what docker-compose's profile ``emulator`` needs before Airflow starts."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from demo.cloud import Cloud
from demo.errors import DemoError
from demo.store import generate_store


def main(arguments: list[str] | None = None) -> int:
    """Make the project and the shop, write the connections, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.connections", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True, help="written by the emulator")
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file of the invented shop")
    parser.add_argument("--output", type=Path, required=True, help="connections.json for Airflow")
    given = parser.parse_args(arguments)
    try:
        cloud = Cloud(json.loads(given.ready_file.read_text(encoding="utf-8")))
        connections = {
            "oci_default": {"conn_type": "oci", "extra": cloud.connection()},
            "recommender_db": {"conn_type": "sqlite", "host": str(given.store)},
        }
    except (OSError, ValueError, DemoError) as err:
        sys.stderr.write(f"error: {err}\n")
        return 1
    generate_store(given.store, today=datetime.now(UTC).date())
    given.output.touch(mode=0o600)
    given.output.write_text(json.dumps(connections, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
