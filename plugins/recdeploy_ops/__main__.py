"""Look at the releases from a shell: ``python -m recdeploy_ops status | history | backups | verify``.

It reads the storage of the settings file that ``RECDEPLOY_SETTINGS`` names. Exit codes: 0; 1 for a damaged ledger, or,
of ``verify``, no ledger at all; 2 when ``verify`` finds the entries whole but cannot compare them with the tags in OCI,
so that a tail cut off would not be noticed; 3 when nothing could be looked at (settings, storage, credentials, the
storage of another project).
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from recdeploy_ops.context import open_context, utc_now
from recdeploy_ops.domain.errors import IntegrityError, RecdeployError
from recdeploy_ops.domain.release_status import describe_backups, describe_history, dump_history, summarise
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.profiles import find_profile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE, Settings, load_settings
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.keys import LEDGER
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.storage.stores import Store

WHOLE, FAULTY, NOT_COMPARED, NOT_SEEN = 0, 1, 2, 3
DAMAGED = "The ledger is damaged. Run the DAG recommender_adopt to rebuild it from OCI."
ELSEWHERE = (
    "Production has a ledger that is not in this storage. Correct the setting storage; only if that ledger is lost, "
    "run the DAG recommender_adopt to rebuild it from OCI."
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code; errors go to standard error."""
    given = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        store = _open(settings)
        ledger = Ledger(store, settings.project_name, utc_now)
        ledger.require_project()
        if given.command == "verify":
            return _verify(settings, store)
        if given.command == "status":
            print(_describe_place(settings, store))
            state = ledger.read()
            print(summarise(state, settings.project_name) if state.seq else _explain_nothing(store))
        elif given.command == "history":
            print((dump_history if given.json else describe_history)(ledger.entries()))
        else:
            print(describe_backups(list_backups(store)))
    except RecdeployError as err:
        print(err, file=sys.stderr)
        return FAULTY if isinstance(err, IntegrityError) else NOT_SEEN
    return WHOLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recdeploy_ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what is in production, on TEST, and going on")
    history = commands.add_parser("history", help="every entry of the ledger")
    history.add_argument("--json", action="store_true", help="all of each entry, as one line of JSON")
    commands.add_parser("backups", help="the backups, oldest first")
    commands.add_parser("verify", help="whether the ledger is whole: no entry edited, missing, reordered or cut off")
    return parser


def _verify(settings: Settings, store: Store) -> int:
    """Say what the ledger's own entries show, and only then what OCI's tags, which may not be at hand, show."""
    print(_describe_place(settings, store))
    faults = audit(store, tagged_heads={})
    count = sum(1 for stored in store.list(LEDGER) if stored.key.endswith(".json"))
    if not faults and not count:
        print(_explain_nothing(store))
    for fault in faults:
        print(fault)
    if count and not faults:
        print(f"The ledger's {count} entries are whole.")
    try:
        session = OciSession(find_profile(settings.connections.oci))
        heads = find_tagged_heads(open_context(settings, store, session, "verify"))
    except RecdeployError as err:
        print(f"The tags could not be compared: {err}\nA tail cut off together with the snapshot would not be noticed.")
        return FAULTY if faults or not count else NOT_COMPARED
    found = [fault for fault in audit(store, tagged_heads=heads) if fault not in faults]
    for fault in found:
        print(fault)
    if faults or found:
        print(DAMAGED if count else ELSEWHERE)
        return FAULTY
    print(f"It agrees with the tags of {' and '.join(heads)}." if heads else "No deployment carries a tag to compare.")
    return WHOLE if count else FAULTY


def _describe_place(settings: Settings, store: Store) -> str:
    return f"Project {settings.project_name}, storage {store.uri}"


def _explain_nothing(store: Store) -> str:
    path = os.environ.get(SETTINGS_VARIABLE) or DEFAULT_PATH
    return f"There is no ledger at {store.uri}: is this the right settings file ({path})?"


def _open(settings: Settings) -> Store:
    is_remote = settings.storage.startswith("oci://")
    return open_store(settings.storage, OciSession(find_profile(settings.connections.oci)) if is_remote else None)


if __name__ == "__main__":
    sys.exit(main())
