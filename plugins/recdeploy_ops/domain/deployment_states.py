"""OCI's lifecycle states of a model deployment, and what each means. No other module decides that."""

from __future__ import annotations

from enum import StrEnum


class Progress(StrEnum):
    """What a state means for a step that waits."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DeploymentState(str):
    """OCI's word for the state of a deployment, verbatim; an unlisted state is a failure, not a reason to wait.

    OCI updates a deployment without downtime in ACTIVE and NEEDS_ATTENTION only.
    """

    __slots__ = ()

    @property
    def is_active(self) -> bool:
        """Return whether it serves, and nothing is in progress."""
        return self == "ACTIVE"

    @property
    def is_creating(self) -> bool:
        """Return whether OCI is creating it."""
        return self == "CREATING"

    @property
    def is_updating(self) -> bool:
        """Return whether OCI is updating it."""
        return self == "UPDATING"

    @property
    def is_busy(self) -> bool:
        """Return whether OCI is creating or updating it, and refuses other requests until that is done."""
        return self.is_creating or self.is_updating

    @property
    def is_deleted(self) -> bool:
        """Return whether only its record is left."""
        return self == "DELETED"

    @property
    def is_gone(self) -> bool:
        """Return whether it was deleted, or is being deleted: it cannot come back."""
        return self in {"DELETING", "DELETED"}

    @property
    def is_failed(self) -> bool:
        """Return whether OCI has given up on it: it exists, but can only be deleted."""
        return self == "FAILED"

    @property
    def can_update(self) -> bool:
        """Return whether OCI updates it without downtime."""
        return self in {"ACTIVE", "NEEDS_ATTENTION"}

    @property
    def is_listed(self) -> bool:
        """Return whether this project knows the state."""
        return self in _PROGRESS

    @property
    def progress(self) -> Progress:
        """Return what the state means for a step that waits."""
        return _PROGRESS.get(self, Progress.FAILED)


_PROGRESS = {
    "CREATING": Progress.RUNNING,
    "UPDATING": Progress.RUNNING,
    "DELETING": Progress.RUNNING,
    "ACTIVE": Progress.SUCCEEDED,
    "INACTIVE": Progress.FAILED,
    "FAILED": Progress.FAILED,
    "NEEDS_ATTENTION": Progress.FAILED,
    "DELETED": Progress.FAILED,
}
