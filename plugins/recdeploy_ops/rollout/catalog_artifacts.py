"""What the catalog's models hold, compared with the artifact of the version that their tags name.

Anyone who may write the Model Catalog can set any tags, so no model stands for a version by its tags alone.
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

# In storage, where manifest.json is ours: the file of that name in the artifact of another project.
OWN_MANIFEST = f"{MANIFEST}.adopted"


def choose_registered(context: ReleaseContext, version: Version, models: Iterable[CatalogModel]) -> CatalogModel | None:
    """Return the first of some models that OCI would deploy, with a version's artifact or none yet; None without any.

    Args:
        context: of the run.
        version: with the digest or the stored copies to compare with.
        models: whose tags say that they are the version: anyone who writes the Model Catalog can set them.
    """
    usable = filter(None, (make_usable(context, listed.model_id) for listed in models))
    return next((model for model in usable if _may_stand_for(context, version, model.model_id)), None)


def has_own_model(context: ReleaseContext, version: Version) -> bool:
    """Return whether the model that the ledger names has the version's artifact.

    It was compared where a release registered, restored or rehearsed it, and OCI takes an artifact once; only `Adopted`
    takes a model by its tags. A version without a digest is known by its model's id.
    """
    compared = {
        (entry.event.version, entry.event.model_id)
        for entry in context.history()
        if isinstance(entry.event, ModelRegistered | ModelRestored | RollbackRehearsed)
    }
    if not version.digest or (version.number, version.model_id) in compared:
        return True
    return _may_stand_for(context, version, version.model_id)


def fetch_from_catalog(context: ReleaseContext, model_id: str, digest: str, archive: Path, folder: Path) -> None:
    """Download a model's artifact and verify that it is the one with this digest.

    Raises:
        IntegrityError: it is another.
    """
    context.catalog.download_artifact(model_id, archive)
    found = unzip_artifact(archive, folder)
    if found != digest:
        raise IntegrityError(
            f"The artifact of the model {model_id} in the catalog has the digest {found}, recorded is {digest}: it was "
            "exchanged.",
            Remedy("Delete that model in the OCI console; it is registered again from storage"),
        )


def fetch_registered(context: ReleaseContext, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Fetch a model's artifact and compare it with the version's digest, or with what was adopted."""
    if version.digest:
        fetch_from_catalog(context, model_id, version.digest, archive, folder)
    else:
        _compare_with_stored(context, version, model_id, archive, folder)


def fetch_of_another_project(context: ReleaseContext, model_id: str, archive: Path, folder: Path) -> None:
    """Download an artifact that has no manifest of ours; a file of that name is kept under another one."""
    context.catalog.download_artifact(model_id, archive)
    names = unzip(archive, folder)
    if OWN_MANIFEST in names:
        raise IntegrityError(f"The artifact of the model {model_id} holds {OWN_MANIFEST}, a name that recdeploy uses.")
    if MANIFEST in names:
        (folder / MANIFEST).rename(folder / OWN_MANIFEST)


def make_as_registered(folder: Path) -> None:
    """Undo what was done to the files that `fetch_of_another_project` fetched: our manifest goes, its own returns."""
    (folder / MANIFEST).unlink()
    if (folder / OWN_MANIFEST).exists():
        (folder / OWN_MANIFEST).rename(folder / MANIFEST)


def _may_stand_for(context: ReleaseContext, version: Version, model_id: str) -> bool:
    """Return whether a model has a version's artifact, or none yet."""
    if not context.catalog.has_artifact(model_id):
        return True
    with workspace() as place:
        try:
            fetch_registered(context, version, model_id, place / "artifact.zip", place / "artifact")
        except (IntegrityError, CloudRefusedError) as err:
            log.warning("The model %s is not v%s, whatever its tags say: %s", model_id, version.number, err)
            return False
    return True


def _compare_with_stored(context: ReleaseContext, version: Version, model_id: str, archive: Path, folder: Path) -> None:
    """Fetch an artifact that has no manifest of ours, and compare its files with those that were adopted."""
    fetch_of_another_project(context, model_id, archive, folder)
    found = {name: sha256_of(path) for name, path in files_below(folder).items()}
    if not any(copy.files == found for copy in find_copies(context, version)):
        raise IntegrityError(f"The artifact of the model {model_id} is not the one that was adopted: it was exchanged.")
