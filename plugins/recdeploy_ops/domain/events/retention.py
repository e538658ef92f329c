"""Events about what is kept and what is deleted: they belong to no release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recdeploy_ops.domain.codec import FreeText
from recdeploy_ops.domain.events.base import Event, EventType


@dataclass(frozen=True)
class VersionPinned(Event):
    """A person wants everything of a version to be kept, whatever the policy says.

    Attributes:
        version: the version.
        by: who pinned it.
        reason: why; shown in the history.
    """

    type: ClassVar = EventType.VERSION_PINNED

    version: int
    by: FreeText
    reason: FreeText


@dataclass(frozen=True)
class VersionUnpinned(Event):
    """The policy counts for a version again; its fields are those of `VersionPinned`."""

    type: ClassVar = EventType.VERSION_UNPINNED

    version: int
    by: FreeText
    reason: FreeText


@dataclass(frozen=True)
class HousekeepingStarted(Event):
    """Housekeeping is about to delete these: recorded before the first of them is deleted.

    From then on nothing may rest on them: production cannot go back to one of the versions.

    Attributes:
        deployments: OCIDs of test deployments.
        models: OCIDs of catalog models.
        folders: storage prefixes.
        versions: those of which no artifact is kept.
        size: of the folders, in bytes.
        instances: of the test deployments.
    """

    type: ClassVar = EventType.HOUSEKEEPING_STARTED

    deployments: tuple[str, ...]
    models: tuple[str, ...]
    folders: tuple[str, ...]
    versions: tuple[int, ...]
    size: int
    instances: int


@dataclass(frozen=True)
class Rewritten:
    """A bundle or a file that was stored again without a customer.

    Attributes:
        key: its former prefix, or the key of a file.
        sha256: its former digest, or the sha256 of the file.
        new_key: its present prefix or key.
        new_sha256: its present digest or sha256.
    """

    key: str
    sha256: str
    new_key: str
    new_sha256: str


@dataclass(frozen=True)
class ReplacedModel:
    """A version whose artifact was stored and registered again without a customer.

    Attributes:
        version: the version.
        model_id: OCID of its former catalog model.
        new_model_id: OCID of its present one.
    """

    version: int
    model_id: str
    new_model_id: str


@dataclass(frozen=True)
class CustomerErased(Event):
    """A customer's rows were removed from what is stored; nothing here identifies the customer.

    Recorded when what replaces the former objects is stored, and before those are deleted. The entries that name a
    former digest stay as they are: the state after a replay names the present ones.

    Attributes:
        by: who erased the customer.
        reason: why, e.g. the number of the request.
        rewritten: what was stored again.
        removed: prefixes of bundles that are deleted, as nothing reads them again.
        models: versions that were registered again.
    """

    type: ClassVar = EventType.CUSTOMER_ERASED

    by: FreeText
    reason: FreeText
    rewritten: tuple[Rewritten, ...]
    removed: tuple[str, ...]
    models: tuple[ReplacedModel, ...] = ()
