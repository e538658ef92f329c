"""Compare the artifacts of catalog models with the versions that their tags name.

Anyone who may write the Model Catalog can set any tag: tags alone do not identify a version.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.archives import unzip, unzip_artifact
from recdeploy_ops.domain.errors import CloudRefusedError, IntegrityError
from recdeploy_ops.domain.events import ModelRegistered, ModelRestored, RollbackRehearsed
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.rollout.copies import find_copies
from recdeploy_ops.rollout.deployable_models import make_usable
from recdeploy_ops.storage.bundles import MANIFEST, files_below, sha256_of
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel
    from recdeploy_ops.domain.versions import Version

log = logging.getLogger(__name__)

# In storage, manifest.json is ours: a foreign artifact's file of that name is stored under this one.
FOREIGN_MANIFEST = f"{MANIFEST}.adopted"


def choose_registered(context: ReleaseContext, version: Version, models: Iterable[CatalogModel]) -> CatalogModel | None:
    """Return the first usable model that has the version's artifact or none yet; None if there is none.

    Args:
        context: of the run.
        version: with the digest or the stored copies to compare with.
        models: catalog models that are tagged as the version.
    """
    usable = filter(None, (make_usable(context, listed.model_id) for listed in models))
    return next((model for model in usable if _may_stand_for(context, version, model.model_id)), None)


def has_own_model(context: ReleaseContext, version: Version) -> bool:
    """Return whether the model that the ledger names has the version's artifact.

    A release that registered, restored or rehearsed the model has compared it, and OCI accepts an artifact only once.
    Only `Adopted` names a model by its tags. A version without a digest is known by its model's id.
    """
    compared = {
        (entry.event.version, entry.event.model_id)
        for entry in context.history()
        if isinstance(entry.event, ModelRegistered | ModelRestored | RollbackRehearsed)
    }
    if not version.digest or (version.number, version.model_id) in compared:
        return True
    return _may_stand_for(context, version, version.model_id)


def require_artifact(context: ReleaseContext, version: Version, model_id: str, archive: Path) -> None:
    """Upload a version's artifact to a model that has none; otherwise compare the one that it has.

    OCI accepts an artifact only once. So after this the model has the version's, even if somebody else uploaded one
    since the model was chosen.

    Args:
        context: of the run.
        version: with the digest or the stored copies to compare with.
        model_id: OCID of the catalog model.
        archive: the version's artifact as a zip.

    Raises:
        IntegrityError: the model has another artifact.
    """
    if not context.catalog.has_artifact(model_id):
        context.catalog.upload_artifact(model_id, archive)
        log.info("Uploaded %s bytes as the artifact of v%s (%s)", archive.stat().st_size, version.number, model_id)
        return
    with workspace() as scratch:
        fetch_registered(context, version, model_id, scratch / "artifact.zip", scratch / "artifact")


def fetch_from_catalog(context: ReleaseContext, model_id: str, digest: str, archive: Path, folder: Path) -> None:
    """Download a model's artifact and verify its digest.

    Raises:
        IntegrityError: it has another digest.
    """
    context.catalog.download_artifact(model_id, archive)
    actual = unzip_artifact(archive, folder)
    if actual != digest:
        raise IntegrityError(
            f"The artifact of the model {model_id} in the catalog has the digest {actual}, but {digest} is recorded: "
            "it was replaced.",
            Remedy("Delete that model in the OCI console; it is registered again from storage"),
        )


def fetch_registered(context: ReleaseContext, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Fetch a model's artifact and compare it with the version's digest, or with the adopted copies."""
    if version.digest:
        fetch_from_catalog(context, model_id, version.digest, archive, folder)
    else:
        _compare_with_stored(context, version, model_id, archive, folder)


def fetch_foreign(context: ReleaseContext, model_id: str, archive: Path, folder: Path) -> None:
    """Download the artifact of another project, under the names that it has in storage."""
    context.catalog.download_artifact(model_id, archive)
    names = unzip(archive, folder)
    if (folder / FOREIGN_MANIFEST).exists() or (folder / MANIFEST).is_dir():
        name = FOREIGN_MANIFEST if (folder / FOREIGN_MANIFEST).exists() else f"folder {MANIFEST}"
        raise IntegrityError(f"The artifact of the model {model_id} has a {name}, a name that recdeploy uses.")
    if MANIFEST in names:
        (folder / MANIFEST).rename(folder / FOREIGN_MANIFEST)


def restore_foreign_names(folder: Path) -> None:
    """Give the files of a foreign artifact, fetched from storage, the names that it was registered with."""
    (folder / MANIFEST).unlink()
    if (folder / FOREIGN_MANIFEST).exists():
        (folder / FOREIGN_MANIFEST).rename(folder / MANIFEST)


def _may_stand_for(context: ReleaseContext, version: Version, model_id: str) -> bool:
    """Return whether a model has a version's artifact, or none yet."""
    if not context.catalog.has_artifact(model_id):
        return True
    with workspace() as scratch:
        try:
            fetch_registered(context, version, model_id, scratch / "artifact.zip", scratch / "artifact")
        except (IntegrityError, CloudRefusedError) as err:
            log.warning("The model %s is tagged as v%s, but is not: %s", model_id, version.number, err)
            return False
    return True


def _compare_with_stored(context: ReleaseContext, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Fetch an artifact without a manifest of ours, and compare its files with the adopted copies."""
    fetch_foreign(context, model_id, archive, folder)
    files = {name: sha256_of(path) for name, path in files_below(folder).items()}
    if not any(copy.files == files for copy in find_copies(context, version)):
        raise IntegrityError(f"The artifact of the model {model_id} is not the one that was adopted: it was replaced.")
