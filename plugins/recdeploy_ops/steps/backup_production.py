"""Step 2: copy what production serves to ``backups/v{N}_{YYYYMMDD_HHMMSS}/``, and prove that it could come back."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recdeploy_ops.bundles import MANIFEST, Bundle, canonical_json, open_bundle, verify_bundle
from recdeploy_ops.domain.errors import MissingInputError, StorageError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.steps import rehearsals

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger import Serving, Version
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome

log = logging.getLogger(__name__)

ARTIFACT = "recommender_model_artifact"
RESULTS = "results"


def advance(releases: Releases, run_id: str) -> Outcome:
    """Back up the champion's artifact, results and deployment metadata, verify the copy, rehearse a rollback.

    Raises:
        StorageError: the champion's files are gone.
        IntegrityError: they were changed.
    """
    release = releases.release(run_id)
    book = releases.ledger.book()
    serving = book.production
    if serving is None:
        log.info("No previous version to backup: this is normal on first run.")
        releases.record(Kind.PRODUCTION_BACKED_UP, run_id, {"version": None, "prefix": None})
        return {"backup": None}
    opened = datetime.fromisoformat(release.last_opened_at)
    prefix = f"backups/v{serving.version}_{opened:%Y%m%d_%H%M%S}"
    backup, written = _copy(releases, serving, book.versions[serving.version], prefix)
    verify_bundle(releases.store, backup, written)
    facts = {"version": serving.version, "prefix": prefix, "digest": backup.digest}
    releases.record(Kind.PRODUCTION_BACKED_UP, run_id, facts)
    rehearsals.rehearse(releases, run_id, book.versions[serving.version])
    log.info(
        "v%s is backed up under %s/%s (%s files)",
        serving.version,
        releases.store.uri,
        prefix,
        len(backup.files),
    )
    return {"backup": prefix, "version": serving.version}


def _copy(releases: Releases, serving: Serving, version: Version, prefix: str) -> tuple[Bundle, list[str]]:
    """Return the backup, and the files that were written a second time for it: the others are links."""
    files: dict[str, str] = {}
    written = ["metadata.json"]
    parts = {ARTIFACT: version.artifact, RESULTS: version.results}
    for part, source in ((part, source) for part, source in parts.items() if source):
        bundle = _open(releases, version, source)
        for name, sha256 in {**bundle.files, MANIFEST: bundle.digest}.items():
            if releases.store.copy(bundle.key(name), f"{prefix}/{part}/{name}"):
                written.append(f"{part}/{name}")
            files[f"{part}/{name}"] = sha256
    metadata = canonical_json(_describe(serving, version))
    releases.store.create(f"{prefix}/metadata.json", metadata)
    files["metadata.json"] = hashlib.sha256(metadata).hexdigest()
    releases.store.create(f"{prefix}/{MANIFEST}", canonical_json({"version": serving.version, "files": files}))
    return open_bundle(releases.store, prefix, made_by="backup_production"), written


def _open(releases: Releases, version: Version, prefix: str) -> Bundle:
    try:
        digest = version.digest or None if prefix == version.artifact else None
        return open_bundle(releases.store, prefix, digest=digest, made_by="backup_production")
    except MissingInputError as err:
        raise StorageError(
            f"v{version.number} is in production, but its files under {releases.store.uri}/{prefix} are gone: it "
            "could not be brought back. Restore them from a backup, or let recommender_adopt fetch them from the "
            "catalog."
        ) from err


def _describe(serving: Serving, version: Version) -> dict[str, Any]:
    return {
        "version": serving.version,
        "model_id": serving.model_id,
        "deployment_id": serving.deployment_id,
        "endpoint": serving.url,
        "digest": serving.digest,
        "deployed_at": serving.since,
        "run_id": version.run_id,
    }
