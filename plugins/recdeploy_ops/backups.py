"""The folders under ``backups/``, each committed by its manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from recdeploy_ops.bundles import MANIFEST, open_bundle

if TYPE_CHECKING:
    from recdeploy_ops.storage.stores import Store

FOLDER = "backups/"
WHOLE = re.compile(r"backups/v\d+_(\d{8}_\d{6})/manifest\.json")


def list_backups(store: Store) -> list[dict[str, Any]]:
    """Return ``version``, ``prefix``, ``digest`` and the number of ``files`` of each whole backup, oldest first."""
    prefixes = [stored.key.removesuffix(f"/{MANIFEST}") for stored in store.list(FOLDER) if WHOLE.fullmatch(stored.key)]
    found = []
    for prefix in prefixes:
        bundle = open_bundle(store, prefix, made_by="backup_production")
        version = bundle.facts["version"]
        found.append({"version": version, "prefix": prefix, "digest": bundle.digest, "files": len(bundle.files)})
    return sorted(found, key=lambda backup: backup["prefix"].partition("_")[2])
