"""The files derived from the ledger: its snapshot, and the guide's ``deployment_state.json``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.domain.events import TestDeployed
from recdeploy_ops.ledger.foreign_state_file import find_foreign_state_file
from recdeploy_ops.storage.bundles import canonical_json
from recdeploy_ops.storage.keys import SNAPSHOT, STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.versions import Serving
    from recdeploy_ops.ledger.ledger import Ledger
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)


def publish_state(ledger: Ledger, store: Store) -> None:
    """Write the ledger's snapshot and the guide's state file.

    Both can be made from the ledger at any time, so a storage error does not stop the release. A state file that this
    project has not written stays as it is.
    """
    _write(store, SNAPSHOT, ledger.write_snapshot)
    state = ledger.state
    _write(store, STATE_FILE, lambda: _replace_state_file(store, state))


def describe_state(state: LedgerState) -> dict[str, Any]:
    """Return the fields of the guide's ``deployment_state.json``, and the project."""
    holder = state.holding_release
    test = holder.get(TestDeployed) if holder else None
    serving = state.production
    return {
        "project": state.project,
        "current_version": serving.version if serving else 0,
        "next_version": state.highest_version + 1,
        "production": state_of_serving(serving) if serving else None,
        "test": {"version": holder.version, "deployment_id": test.deployment_id, "endpoint": test.url}
        if holder and test and test.deployment_id
        else None,
        "history": [
            {
                "version": release.version,
                "run_id": release.run_id,
                "opened_at": release.opened_at,
                "outcome": release.outcome or "in progress",
            }
            for release in state.releases.values()
        ],
    }


def state_of_serving(serving: Serving) -> dict[str, Any]:
    """Return what production serves, in the guide's words."""
    return {
        "version": serving.version,
        "model_id": serving.model_id,
        "deployment_id": serving.deployment_id,
        "endpoint": serving.url,
        "digest": serving.digest,
        "deployed_at": serving.since,
    }


def _replace_state_file(store: Store, state: LedgerState) -> None:
    foreign = find_foreign_state_file(store, state.project)
    if foreign is not None:
        log.warning("%s stays as it is: this project has not written it. Move it away to get one.", foreign.uri)
        return
    store.replace(STATE_FILE, canonical_json(describe_state(state)))


def _write(store: Store, key: str, write: Callable[[], None]) -> None:
    try:
        write()
    except StorageError as err:
        log.warning("%s/%s is not up to date: %s", store.uri, key, err)
