"""Look up this project's models in the Model Catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.oci_clients.tags import DIGEST_TAG, HIGHEST_FROM_TAGS, PROJECT_TAG, version_number

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import CatalogModel


@dataclass(frozen=True)
class Registration:
    """The catalog models of a version.

    Attributes:
        models: those with the version's digest that are not deleted, newest first.
        other: the newest with another digest, or None.
        deleted: how many models with the version's name were deleted.
    """

    models: tuple[CatalogModel, ...]
    other: CatalogModel | None
    deleted: int

    @property
    def unusable(self) -> int:
        """Return how many registrations there were, provided that none of them can be used."""
        return self.deleted + len(self.models)


def list_models(context: ReleaseContext) -> list[CatalogModel]:
    """Return the project's models in the catalog, newest first."""
    return [model for model in context.catalog.models() if _is_ours(context, model)]


def find_registration(context: ReleaseContext, version: int, digest: str) -> Registration:
    """Return the catalog models of a version, from one listing."""
    listed = list(context.catalog.models())
    ours = [model for model in listed if _is_ours(context, model) and version_number(model.tags) == version]
    name = model_name(context.project, version)
    return Registration(
        models=tuple(model for model in ours if model.tags.get(DIGEST_TAG) == digest),
        other=next((model for model in ours if model.tags.get(DIGEST_TAG) != digest), None),
        deleted=sum(1 for model in listed if model.name == name and model.is_deleted),
    )


def model_name(project: str, version: int) -> str:
    """Return the display name of a version's catalog model."""
    return f"{project}-v{version}"


def highest_version(context: ReleaseContext) -> int:
    """Return the highest version number in the ledger or the catalog; 0 if there is none."""
    numbers = (version_number(model.tags) or 0 for model in list_models(context))
    counted = (number for number in numbers if number <= HIGHEST_FROM_TAGS)
    return max(context.state.highest_version, max(counted, default=0))


def _is_ours(context: ReleaseContext, model: CatalogModel) -> bool:
    return model.tags.get(PROJECT_TAG) == context.project and not model.is_deleted
