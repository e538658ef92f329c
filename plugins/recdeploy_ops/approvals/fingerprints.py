"""The approval fingerprint: everything that a person's answer rests on, read where it is kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import ApprovalError, IntegrityError, KeyNotFoundError
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.releases import DIGEST_TAG
from recdeploy_ops.storage.bundles import SIZES, canonical_json, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.ledger import Facts, Release
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.storage.bundles import Bundle

CODE_METADATA = "code"
REPORTS = (Kind.DATA_CHECKED, Kind.CANDIDATE_CHECKED, Kind.TEST_VALIDATED)


def read_parts(releases: Releases, release: Release) -> dict[str, str]:
    """Return what an approval covers, each part read anew from storage or from the Model Catalog.

    Raises:
        MissingInputError: a part was never made, or is gone.
        IntegrityError: a part is not what was recorded.
    """
    results = releases.bundle(release, Kind.MODEL_TRAINED)
    registered = releases.catalog.get(releases.facts(release, Kind.MODEL_REGISTERED)["model_id"])
    parts = {
        "artifact": releases.bundle(release, Kind.ARTIFACT_BUILT).digest,
        "registered artifact": registered.tags.get(DIGEST_TAG, "none"),
        "extract": releases.bundle(release, Kind.DATA_EXTRACTED).digest,
        "settings": _sha256(releases, releases.facts(release, Kind.RELEASE_OPENED)["settings"]["key"]),
        "seed": str(results.facts["inputs"]["seed"]),
        "code": registered.metadata.get(CODE_METADATA, "none"),
        "production": _name_production(releases),
    }
    for kind in REPORTS:
        parts[f"report of {kind}"] = _sha256(releases, releases.facts(release, kind)["report"])
    return parts


def require_whole(releases: Releases, release: Release) -> None:
    """Read what would be promoted where it is stored, and compare it with the manifests that were approved.

    The extract is judged by its manifest and by the sizes of its files: it is never served, it may be many gigabytes,
    and to read them all would hold up the switch. Bytes exchanged for as many others are found by whoever trains on
    it again, who verifies each file.

    Raises:
        ApprovalError: a file is gone or was changed; names it.
    """
    try:
        for kind in (Kind.ARTIFACT_BUILT, Kind.MODEL_TRAINED):
            verify_bundle(releases.store, releases.bundle(release, kind))
        _require_sizes(releases, releases.bundle(release, Kind.DATA_EXTRACTED))
    except IntegrityError as err:
        raise ApprovalError(
            f"v{release.version} is not promoted, as it is not what was approved: {err} Put that object back as it "
            "was, then clear this task; or make it anew with a new run."
        ) from err


def read_rollback_parts(releases: Releases, release: Release) -> dict[str, str]:
    """Return what the approval of a rollback covers: what would serve, and what serves until then.

    Raises:
        MissingInputError: the rollback was not rehearsed.
    """
    rehearsed = releases.facts(release, Kind.ROLLBACK_REHEARSED)
    target = releases.ledger.book().versions[release.version]
    return {
        "target": f"v{target.number} {target.digest}",
        "registered model": str(rehearsed["model_id"]),
        "production": _name_production(releases),
        "settings": _sha256(releases, releases.facts(release, Kind.RELEASE_OPENED)["settings"]["key"]),
    }


def fingerprint_of(parts: Mapping[str, str]) -> str:
    """Return the sha256 over all parts."""
    return hashlib.sha256(canonical_json(dict(parts))).hexdigest()


def require_unchanged(asked: Facts, parts: Mapping[str, str]) -> None:
    """Compare what was asked about with what is there now.

    Raises:
        ApprovalError: names every part that differs.
    """
    changed = [name for name in {**asked["parts"], **parts} if asked["parts"].get(name) != parts.get(name)]
    if changed or asked["fingerprint"] != fingerprint_of(parts):
        raise ApprovalError(
            f"v{asked['version']} does not go into production: since that was approved, these have changed: "
            f"{', '.join(changed) or 'the fingerprint'}. Clear the task 'request_approval', so that it is asked again."
        )


def _require_sizes(releases: Releases, extract: Bundle) -> None:
    sizes = extract.facts.get(SIZES)
    if sizes is None:  # made by hand or by an earlier version: there is nothing but the bytes to compare
        verify_bundle(releases.store, extract)
        return
    found = {stored.key: stored.size for stored in releases.store.list(f"{extract.prefix}/")}
    for name, size in sizes.items():
        stored = found.get(extract.key(name))
        if stored != size:
            has = "is gone" if stored is None else f"has {stored} bytes"
            raise IntegrityError(f"{releases.store.uri}/{extract.key(name)} {has}, its manifest says {size} bytes.")


def _name_production(releases: Releases) -> str:
    """Return what serves until then: an approval to replace one version does not cover another."""
    serving = releases.ledger.book().production
    return f"v{serving.version} {serving.digest} since {serving.since}" if serving else "none"


def _sha256(releases: Releases, key: str) -> str:
    try:
        return hashlib.sha256(releases.store.read(key)).hexdigest()
    except KeyNotFoundError as err:
        raise IntegrityError(f"{releases.store.uri}/{key} is gone: the evidence of this release was removed.") from err
