"""Events about production, and about the versions that could replace what it serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from recdeploy_ops.domain.codec import FreeText
from recdeploy_ops.domain.events.base import Event, EventType
from recdeploy_ops.domain.records import Autoscaling
from recdeploy_ops.domain.sizes import SizeRequest


@dataclass(frozen=True)
class ProductionBackedUp(Event):
    """What production serves was copied; all fields are None when nothing is in production.

    Attributes:
        version: the version in production.
        prefix: storage prefix of the backup.
        digest: sha256 of the backup's manifest, in hex.
    """

    type: ClassVar = EventType.PRODUCTION_BACKED_UP
    task: ClassVar = "backup_production"

    version: int | None
    prefix: str | None
    digest: str | None


@dataclass(frozen=True)
class BackupFailed(Event):
    """The version that a rollback replaces could not be backed up; the rollback continues."""

    type: ClassVar = EventType.BACKUP_FAILED
    task: ClassVar = "rehearse_rollback"

    version: int
    reason: FreeText


@dataclass(frozen=True)
class RehearsalStarted(Event):
    """A version was fetched and verified, and is tried on a test deployment, as a worker does not run its code.

    Attributes:
        version: the version.
        digest: its digest; empty for a version that this project did not make.
        model_id: OCID of its catalog model.
        at: when, UTC.
    """

    type: ClassVar = EventType.REHEARSAL_STARTED
    task: ClassVar = "rehearse_rollback"

    version: int
    digest: str
    model_id: str
    at: datetime


@dataclass(frozen=True)
class RollbackRehearsed(Event):
    """A version was fetched and verified, and answered probes: production can go back to it.

    Attributes:
        version: the version.
        digest: its digest; empty for a version that this project did not make.
        model_id: OCID of its catalog model.
        seconds: how long that took.
        deployment_id: OCID of the test deployment that served it; None if a worker loaded it, or it serves already.
        started: when that trial was started, UTC.
    """

    type: ClassVar = EventType.ROLLBACK_REHEARSED
    task: ClassVar = "backup_production"

    version: int
    digest: str
    model_id: str
    seconds: float
    deployment_id: str | None = None
    started: datetime | None = None


@dataclass(frozen=True)
class ModelRestored(Event):
    """A version was registered again because its model was gone from the catalog.

    Attributes:
        version: the version.
        model_id: OCID of the new catalog model.
        replaces: OCID of the former one.
    """

    type: ClassVar = EventType.MODEL_RESTORED

    version: int
    model_id: str
    replaces: str


@dataclass(frozen=True)
class ChangeStarted(Event):
    """A deployment is about to be changed: recorded before the request to OCI.

    Attributes:
        deployment_id: OCID; None for a first production that is created without a test deployment.
        goal: of the change, in words, e.g. ``serving v4``.
        version: that its URL must answer with.
        seen_work_request: its newest work request before; None when it has none.
        deadline: when the change has failed, UTC; None if the creation's own deadline counts.
    """

    deployment_id: str | None
    goal: str
    version: int
    seen_work_request: str | None
    deadline: datetime | None


@dataclass(frozen=True)
class SwitchStarted(ChangeStarted):
    """Production is being switched to another version, or the first production is being created."""

    type: ClassVar = EventType.SWITCH_STARTED
    task: ClassVar = "promote"


@dataclass(frozen=True)
class SwitchFailed(Event):
    """Production did not reach the intended state."""

    type: ClassVar = EventType.SWITCH_FAILED
    task: ClassVar = "promote"

    reason: FreeText


@dataclass(frozen=True)
class SwitchDone(Event):
    """Production was verified to serve a version.

    Attributes:
        deployment_id: OCID of production.
        url: where it answers, without ``/predict``.
        model_id: OCID of the catalog model.
        version: the version.
        digest: its digest.
    """

    deployment_id: str
    url: str
    model_id: str
    version: int
    digest: str


@dataclass(frozen=True)
class Promoted(SwitchDone):
    """Production serves the approved version, verified."""

    type: ClassVar = EventType.PROMOTED
    task: ClassVar = "promote"

    approved_by: FreeText


class RollbackCause(StrEnum):
    """Who decided a rollback."""

    REQUESTED = "requested"
    AUTOMATIC = "automatic"


@dataclass(frozen=True)
class RolledBack(SwitchDone):
    """Production serves an earlier version again, verified.

    Attributes:
        reason: why; None if the requester gave no reason.
        cause: a person requested it, or the bake of the version that served decided it.
    """

    type: ClassVar = EventType.ROLLED_BACK
    task: ClassVar = "roll_back"

    reason: FreeText | None
    cause: RollbackCause = RollbackCause.REQUESTED


@dataclass(frozen=True)
class RestoreStarted(ChangeStarted):
    """The champion is being restored after a switch that failed."""

    type: ClassVar = EventType.RESTORE_STARTED


@dataclass(frozen=True)
class ChampionRestored(Event):
    """Production serves the champion again, verified."""

    type: ClassVar = EventType.CHAMPION_RESTORED

    version: int
    model_id: str
    deployment_id: str


@dataclass(frozen=True)
class ProductionLost(Event):
    """The production deployment was deleted: nothing can be restored there."""

    type: ClassVar = EventType.PRODUCTION_LOST

    deployment_id: str


@dataclass(frozen=True)
class ProductionFailed(Event):
    """OCI has the production deployment in FAILED: it exists, but OCI no longer updates it.

    Attributes:
        deployment_id: OCID.
        details: OCI's lifecycle details.
    """

    type: ClassVar = EventType.PRODUCTION_FAILED

    deployment_id: str
    details: FreeText


@dataclass(frozen=True)
class ResizeStarted(ChangeStarted):
    """Production is being resized."""

    type: ClassVar = EventType.RESIZE_STARTED
    task: ClassVar = "promote"


@dataclass(frozen=True)
class Resized(Event):
    """Production has the size that the release requested; a value of None was not requested and stays.

    Attributes:
        instance_shape: OCI's shape name.
        ocpus: OCPUs per instance.
        memory_gb: GB per instance.
        instance_count: number of instances.
        autoscaling: how OCI chooses that number.
    """

    type: ClassVar = EventType.RESIZED
    task: ClassVar = "promote"

    instance_shape: str | None
    ocpus: float | None
    memory_gb: float | None
    instance_count: int | None
    autoscaling: Autoscaling | None = None

    @property
    def applied(self) -> SizeRequest:
        """Return the applied size."""
        return SizeRequest(self.instance_shape, self.ocpus, self.memory_gb, self.instance_count, self.autoscaling)
