"""Open a project's ledger, with the key that signs its entries if the settings name one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import ChangeSetting
from recdeploy_ops.domain.signatures import CONNECTION_SETTING, Seal, seal_of
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings.connections import find_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from recdeploy_ops.settings import Settings
    from recdeploy_ops.settings.connections import StoredConnection
    from recdeploy_ops.storage.stores import Store

    Find = Callable[[str], StoredConnection | None]


def open_ledger(settings: Settings, store: Store, now: Callable[[], datetime], find: Find = find_connection) -> Ledger:
    """Return the ledger of a project; nothing of it is read yet.

    Args:
        settings: of the project.
        store: its storage root.
        now: the clock, UTC.
        find: returns a connection by its id, None if there is none; by default as a terminal finds it.

    Raises:
        SettingsError: the connection with the ledger's key is missing, or its password is too short.
    """
    return Ledger(store, settings.project_name, now, open_seal(settings, find))


def open_seal(settings: Settings, find: Find = find_connection) -> Seal | None:
    """Return what signs the entries; None if the settings name no key. Arguments and errors as `open_ledger`."""
    conn_id = settings.signing.connection
    if conn_id is None:
        return None
    connection = find(conn_id)
    if connection is None:
        raise SettingsError(
            f"The connection {conn_id!r} does not exist. Its password is the key of the ledger's signatures.",
            ChangeSetting("Define it for this process, or correct its name", setting=CONNECTION_SETTING),
        )
    return seal_of(
        connection.password,
        connection.extra.get("former_passwords"),
        source=connection.source,
        unsigned_entries=settings.signing.unsigned_entries,
    )
