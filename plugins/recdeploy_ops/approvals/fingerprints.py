"""The approval fingerprint: a sha256 over everything that a person's answer rests on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import ApprovalError, IntegrityError, KeyNotFoundError
from recdeploy_ops.domain.events import (
    ArtifactBuilt,
    CandidateChecked,
    CandidateEvaluated,
    DataChecked,
    DataExtracted,
    ModelRegistered,
    ModelTrained,
    RollbackRehearsed,
    TestValidated,
)
from recdeploy_ops.domain.release_plan import ASK_AGAIN
from recdeploy_ops.domain.remedies import TryAgain
from recdeploy_ops.domain.sizes import RESIZE_PART
from recdeploy_ops.evaluation.release_report import page_key
from recdeploy_ops.oci_clients.tags import CODE_METADATA, DIGEST_TAG
from recdeploy_ops.rollout.resizing import find_resize
from recdeploy_ops.storage.bundles import SIZES, canonical_json, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ApprovalRequested
    from recdeploy_ops.storage.bundles import Bundle

PAGE_PART = "page of evidence"
GATES = (DataChecked, CandidateChecked, CandidateEvaluated, TestValidated)


def read_parts(context: ReleaseContext) -> dict[str, str]:
    """Return the parts that an approval covers, each read again from storage or from the Model Catalog.

    Raises:
        MissingInputError: a part was never made, or is gone.
        IntegrityError: a part is not what was recorded.
    """
    release = context.release
    results = context.open_bundle(ModelTrained)
    registered = context.catalog.get(release.require(ModelRegistered).model_id)
    parts = {
        "artifact": context.open_bundle(ArtifactBuilt).digest,
        "registered artifact": registered.tags.get(DIGEST_TAG, "none"),
        "extract": context.open_bundle(DataExtracted).digest,
        "settings": _sha256(context, release.opened.settings.key),
        "policy": name_policy(context),
        "seed": str(results.facts["inputs"]["seed"]),
        "code": registered.metadata.get(CODE_METADATA, "none"),
        "production": _name_production(context),
    }
    for kind in GATES:
        parts[f"report of {kind.type}"] = _sha256(context, release.require(kind).report)
    resize = find_resize(context)
    return {**parts, RESIZE_PART: resize} if resize else parts


def read_page(context: ReleaseContext, sha256: str) -> dict[str, str]:
    """Return the part of the page that the approver read, read again from storage.

    Args:
        context: of the run.
        sha256: of the page in the question.
    """
    return {PAGE_PART: _sha256(context, page_key(context.run_id, sha256))}


def require_whole(context: ReleaseContext) -> None:
    """Read the stored files of the version to promote, and compare them with the approved manifests.

    Of the extract only the manifest and the sizes of the files are compared: it is never served, and reading many
    gigabytes would delay the switch. A step that trains on it again verifies each file.

    Raises:
        ApprovalError: a file is gone or was changed; names it.
    """
    try:
        for kind in (ArtifactBuilt, ModelTrained):
            verify_bundle(context.store, context.open_bundle(kind))
        _require_sizes(context, context.open_bundle(DataExtracted))
    except IntegrityError as err:
        raise ApprovalError(
            f"Refusing to promote v{context.release.version}: it is not what was approved: {err.message}",
            TryAgain("Restore that object (or make it again with a new run)"),
        ) from err


def read_rollback_parts(context: ReleaseContext) -> dict[str, str]:
    """Return the parts that the approval of a rollback covers: what would serve, and what serves now.

    Raises:
        MissingInputError: the rollback was not rehearsed.
    """
    release = context.release
    target = context.state.versions[release.version]
    return {
        "target": f"v{target.number} {target.digest}",
        "registered model": release.require(RollbackRehearsed).model_id,
        "production": _name_production(context),
        "settings": _sha256(context, release.opened.settings.key),
    }


def name_policy(context: ReleaseContext) -> str:
    """Return the sha256 of the settings by which a candidate is judged and approved, as they are now."""
    settings = context.settings
    policy = {"gates": settings.gates.model_dump(mode="json"), "self_approval": settings.release.self_approval}
    return hashlib.sha256(canonical_json(policy)).hexdigest()


def fingerprint_of(parts: Mapping[str, str]) -> str:
    """Return the sha256 over all parts."""
    return hashlib.sha256(canonical_json(dict(parts))).hexdigest()


def require_unchanged(question: ApprovalRequested, parts: Mapping[str, str], *, action: str) -> None:
    """Refuse if the parts in a question differ from the present ones.

    Args:
        question: with the parts as they were when a person was asked.
        parts: the present ones.
        action: what was approved, for the error: ``promote`` or ``roll back to``.

    Raises:
        ApprovalError: names every part that differs.
    """
    changed = [name for name in {**question.parts, **parts} if question.parts.get(name) != parts.get(name)]
    if changed or question.fingerprint != fingerprint_of(parts):
        raise ApprovalError(
            f"Refusing to {action} v{question.version}: changed since approval: "
            f"{', '.join(changed) or 'the fingerprint'}.",
            ASK_AGAIN,
        )


def _require_sizes(context: ReleaseContext, extract: Bundle) -> None:
    sizes = extract.facts.get(SIZES)
    if sizes is None:  # made by hand: only the bytes can be compared
        verify_bundle(context.store, extract)
        return
    stored_sizes = {stored.key: stored.size for stored in context.store.list(f"{extract.prefix}/")}
    for name, size in sizes.items():
        stored_size = stored_sizes.get(extract.key(name))
        if stored_size != size:
            state = "is gone" if stored_size is None else f"has {stored_size} bytes"
            raise IntegrityError(f"{context.store.uri}/{extract.key(name)} {state}, its manifest says {size} bytes.")


def _name_production(context: ReleaseContext) -> str:
    """Return what serves now: an approval to replace one version does not cover another."""
    serving = context.state.production
    return f"v{serving.version} {serving.digest} since {serving.since}" if serving else "none"


def _sha256(context: ReleaseContext, key: str) -> str:
    try:
        return hashlib.sha256(context.store.read(key)).hexdigest()
    except KeyNotFoundError as err:
        raise IntegrityError(f"{context.store.uri}/{key} is gone: the evidence of this release was removed.") from err
