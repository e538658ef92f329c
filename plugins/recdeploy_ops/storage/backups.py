"""The folders under ``backups/``, each committed by its manifest."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, StorageError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.storage.bundles import MANIFEST, open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.ledger import Entry
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

FOLDER = "backups/"
ARTIFACT, RESULTS = "recommender_model_artifact", "results"  # the parts of a backup
WHOLE = re.compile(r"backups/v\d+_(\d{8}_\d{6})/manifest\.json")


def list_backups(store: Store) -> list[dict[str, Any]]:
    """Return ``version``, ``prefix``, ``digest`` and the number of ``files`` of each whole backup, oldest first.

    One that cannot be read is named in the log and left out: it must not stand in the way of the others.
    """
    prefixes = [stored.key.removesuffix(f"/{MANIFEST}") for stored in store.list(FOLDER) if WHOLE.fullmatch(stored.key)]
    found = []
    for prefix in prefixes:
        try:
            bundle = open_bundle(store, prefix, made_by="backup_production")
        except (IntegrityError, MissingInputError, StorageError) as err:
            log.warning("The backup %s cannot be used: %s", prefix, err)
            continue
        version = bundle.facts.get("version")
        if not isinstance(version, int):
            log.warning("The backup %s cannot be used: its manifest names no version.", prefix)
            continue
        found.append({"version": version, "prefix": prefix, "digest": bundle.digest, "files": len(bundle.files)})
    return sorted(found, key=lambda backup: backup["prefix"].partition("_")[2])


def require_recorded(backup: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Refuse a backup, as `list_backups` gives it, that is not as the ledger says it was made.

    Raises:
        IntegrityError: no entry names it with this digest.
    """
    made = (entry.facts for entry in entries if entry.kind is Kind.PRODUCTION_BACKED_UP)
    recorded = {facts["prefix"]: facts["digest"] for facts in made if facts["prefix"]}
    digest = recorded.get(backup["prefix"])
    if digest != backup["digest"]:
        what = f"the ledger says {digest}: it was changed" if digest else "the ledger knows no such backup"
        raise IntegrityError(
            f"{backup['prefix']} is not used: its digest is {backup['digest']}, {what}; "
            "no entry of the ledger names it."
        )
