"""Look at the releases from a shell: ``python -m recdeploy_ops status | history | backups | verify``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recdeploy_ops.audits import audit
from recdeploy_ops.backups import list_backups
from recdeploy_ops.domain.errors import RecdeployError, SettingsError
from recdeploy_ops.domain.release_status import describe_backups, describe_history, summarise
from recdeploy_ops.ledgers import Ledger
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession
from recdeploy_ops.releases import Releases
from recdeploy_ops.settings import Settings, load_settings
from recdeploy_ops.storage.stores import open_store

if TYPE_CHECKING:
    from recdeploy_ops.storage.stores import Store


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 1 with the error on standard error."""
    parser = argparse.ArgumentParser(prog="python -m recdeploy_ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what is in production, on TEST, and going on")
    commands.add_parser("history", help="every entry of the ledger")
    commands.add_parser("backups", help="the backups, oldest first")
    commands.add_parser("verify", help="whether the ledger is whole: no entry edited, missing, reordered or cut off")
    command = parser.parse_args(arguments).command
    try:
        settings = load_settings()
        store = _open(settings)
        ledger = Ledger(store, lambda: datetime.now(UTC))
        if command == "status":
            print(summarise(ledger.book(), settings.project_name))
        elif command == "history":
            print(describe_history(ledger.entries()))
        elif command == "verify":
            return _verify(settings, store)
        else:
            print(describe_backups(list_backups(store)))
    except RecdeployError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


def _verify(settings: Settings, store: Store) -> int:
    heads = _read_tags(settings, store)
    if not heads:
        print("No tag in OCI could be compared: a tail cut off together with the snapshot would not be noticed.")
    faults = audit(store, tagged_heads=heads)
    for fault in faults:
        print(fault)
    print(
        "The ledger is damaged. Run the DAG recommender_adopt to rebuild it from OCI."
        if faults
        else "The ledger is whole."
    )
    return 1 if faults else 0


def _read_tags(settings: Settings, store: Store) -> dict[str, str]:
    """Return the heads that tags in OCI name; none without a connection or without a production."""
    if f"AIRFLOW_CONN_{settings.connections.oci.upper()}" not in os.environ:
        return {}
    return Releases(settings, store, OciSession(_profile(settings.connections.oci))).tagged_heads()


def _open(settings: Settings) -> Store:
    if not settings.storage.startswith("oci://"):
        return open_store(settings.storage, None)
    return open_store(settings.storage, OciSession(_profile(settings.connections.oci)))


def _profile(conn_id: str) -> OciProfile:
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    try:
        connection: Any = json.loads(os.environ[variable])
        extra = connection.get("extra") or {}
        fields = json.loads(extra) if isinstance(extra, str) else extra
    except KeyError as err:
        raise SettingsError(f"Set {variable} (JSON) to the OCI connection to read {conn_id!r} from a shell.") from err
    except ValueError as err:
        raise SettingsError(f"{variable} is no JSON connection: {err}") from err
    return OciProfile.from_fields(fields, source=variable)


if __name__ == "__main__":
    sys.exit(main())
