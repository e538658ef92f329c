"""What OCI and the storage have that housekeeping may delete or restore, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class FolderKind(StrEnum):
    """What a folder in storage holds. Settings and reports are evidence and in none of these: they stay."""

    EXTRACT = "extract"
    ROW_HASHES = "row-hashes"
    GATE_MODELS = "gate-models"
    BACKTESTS = "backtests"
    RESULTS = "results"
    ARTIFACT = "artifact"
    ADOPTED = "adopted"
    BACKUP = "backups"


# What customers did, row by row: it is read only while its version is the champion.
CUSTOMERS_DATA = frozenset({FolderKind.EXTRACT, FolderKind.GATE_MODELS, FolderKind.BACKTESTS})
NAMED_AFTER_A_VERSION = frozenset({FolderKind.ADOPTED, FolderKind.BACKUP})  # the others are a run's


@dataclass(frozen=True)
class StoredFolder:
    """A folder in storage.

    Attributes:
        prefix: without a trailing slash.
        kind: what it holds.
        run_id: the run that made it; None if the ledger does not know it, or the folder is named after a version.
        version: the version that it is named after; None for a folder of a run.
        keys: its objects, in the order in which they are deleted: a manifest first.
        size: in bytes.
    """

    prefix: str
    kind: FolderKind
    run_id: str | None
    version: int | None
    keys: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class RegisteredModel:
    """A model in the catalog that the ledger has recorded as that of a version.

    Attributes:
        model_id: OCID.
        name: display name.
        version: its version.
        deployed_by: names of the deployments, of any team, that are configured for it.
    """

    model_id: str
    name: str
    version: int
    deployed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftDeployment:
    """A deployment that nothing uses: a test deployment without a lease, or a first production that never served.

    Attributes:
        deployment_id: OCID.
        name: display name.
        instances: number of its instances; None if OCI chooses it.
    """

    deployment_id: str
    name: str
    instances: int | None


@dataclass(frozen=True)
class BrokenTarget:
    """A version that a rollback may go to, whose model OCI would not deploy now.

    Attributes:
        version: the version.
        model_id: OCID of its model.
        name: of the model that takes its place.
        can_be_activated: whether it was only deactivated; otherwise it is registered again.
    """

    version: int
    model_id: str
    name: str
    can_be_activated: bool


@dataclass(frozen=True)
class Holdings:
    """What there is.

    Attributes:
        folders: in storage.
        models: in the catalog.
        deployments: to be deleted, and not being deleted yet.
        broken: rollback targets to be restored.
        unfinished: names of writes whose writer was killed.
        current: prefixes that ``current/manifest.json`` names.
        last_served: when each version was last known to serve, UTC.
    """

    folders: tuple[StoredFolder, ...] = ()
    models: tuple[RegisteredModel, ...] = ()
    deployments: tuple[LeftDeployment, ...] = ()
    broken: tuple[BrokenTarget, ...] = ()
    unfinished: tuple[str, ...] = ()
    current: frozenset[str] = frozenset()
    last_served: Mapping[int, datetime] = field(default_factory=lambda: MappingProxyType({}))
