"""Everything that this project raises on purpose.

::

    RecdeployError
    ├── SettingsError               include/recommender.yaml or a param is wrong
    ├── SourceDataError             the database does not hold what the SQL promises
    │   └── QueryFailedError        it refused a query (in `extraction`)
    ├── GateFailedError             a gate said FAIL: the candidate is rejected without asking
    ├── TrainingFailedError         the ADS operator ended without usable outputs
    ├── MissingInputError           what an earlier step made is gone: says which task to run again
    ├── CellOrderError              a notebook's cell was run before its time: says which to run
    ├── IntegrityError              stored bytes are not the bytes that were recorded
    │   └── ForeignCodeError        they are code that this project has not shipped: a worker does not run it
    ├── LedgerFormatError           a newer version of this project has written the ledger
    ├── IllegalTransitionError      a version cannot go from this stage to that one
    ├── LockHeldError               another release or rollback is in progress
    ├── SwitchUnderWayError         production is being changed by this very run: that must end first
    ├── ApprovalError               the approval does not cover what would be promoted
    │   └── SelfApprovalError       the requester may not approve their own run
    ├── StateMismatchError          OCI runs something that the ledger does not know
    ├── DeploymentFailedError       OCI did not do what it was asked, with its work-request logs
    ├── PromotionFailedError        production did not verify; the champion serves again
    ├── CloudRefusedError           OCI said no for good: credentials, compartment, limits
    ├── StorageError                the storage root is wrong, or not writable
    │   ├── KeyNotFoundError        nothing is stored there
    │   └── KeyExistsError          something else is stored there, and is never overwritten
    └── TransientError              trying again may help
        ├── SourceUnavailableError  the database does not answer (in `extraction`)
        ├── StorageUnavailableError
        ├── CloudUnavailableError
        │   └── CloudThrottledError 429: the tenancy has sent too many requests
        ├── SwitchInterruptedError  production is being switched, and not verified: says what state it is in
        └── LedgerConflictError     another writer appended first

Only a `TransientError` is worth a retry: everything else fails the same way again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.remedies import Audience, Remedy, RunTask

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.verdicts import GateReport


class RecdeployError(Exception):
    """Base of every error that the project raises on purpose: it says what, which, and what now.

    Args:
        message: what happened to which thing, in whole sentences.
        remedy: what a person does about it; None where the message says all.

    Attributes:
        remedy: as given.
        audience: where the person reads it, which decides how the remedy is rendered.
    """

    remedy: Remedy | None = None
    audience: Audience = Audience.AIRFLOW

    def __init__(self, message: str, remedy: Remedy | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy

    @property
    def message(self) -> str:
        """Return what happened, without the remedy."""
        return super().__str__()

    def __str__(self) -> str:
        """Return the message and the remedy, rendered for the audience."""
        return f"{self.message} {self.remedy.describe(self.audience)}" if self.remedy else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy restore the message as it is: a subclass's own arguments are not known any more."""
        return _restore, (type(self), self.message), self.__dict__


class SettingsError(RecdeployError):
    """A setting or param is missing, unknown or out of range."""


class SourceDataError(RecdeployError):
    """The source database lacks a table, a column, rows, or holds values that cannot be used."""


class GateFailedError(RecdeployError):
    """A gate said FAIL.

    Args:
        report: every finding of the gate run, for the message and the ledger.
    """

    def __init__(self, report: GateReport) -> None:
        super().__init__(report.describe_failures())
        self.report = report


class TrainingFailedError(RecdeployError):
    """The ADS operator failed, or ended well with outputs that are missing, empty or not numbers."""


class MissingInputError(RecdeployError):
    """What a step needs was never made, or is gone.

    Args:
        what: the thing that is missing, with its key; without a full stop.
        task: the task that makes it.
    """

    def __init__(self, what: str, *, task: str) -> None:
        super().__init__(f"{what}.", RunTask(task=task))


class CellOrderError(RecdeployError):
    """A notebook's cell was run before the one that makes what it needs, or after its release had ended."""


class IntegrityError(RecdeployError):
    """Stored bytes differ from the sha256 that was recorded for them."""


class ForeignCodeError(IntegrityError):
    """An artifact's code is not one that this project has shipped: a worker does not run it."""


class LedgerFormatError(RecdeployError):
    """The ledger is whole, and in a format of the future: it must not be read, written or repaired here."""


class IllegalTransitionError(RecdeployError):
    """A model version cannot go from one stage to the other."""

    def __init__(self, current: str, target: str) -> None:
        super().__init__(f"A model version cannot go from {current} to {target}.")


class LockHeldError(RecdeployError):
    """Another release or rollback holds the release lock."""


class SwitchUnderWayError(RecdeployError):
    """A step would be run again while production is being switched to what it made.

    Args:
        goal: what production is to be, in words.
        task: the task that restores the champion when it is run again.
    """

    def __init__(self, goal: str, *, task: str) -> None:
        super().__init__(
            f"This run is switching production: it is to be {goal}, which is not verified yet. What that rests on "
            "cannot change now.",
            RunTask(task=task, purpose="to restore the champion first"),
        )


class ApprovalError(RecdeployError):
    """No approval exists for what would be promoted."""


class SelfApprovalError(ApprovalError):
    """The requester has approved their own run, which the settings forbid."""


class StateMismatchError(RecdeployError):
    """The ledger and OCI disagree in a way that a person must decide."""


class DeploymentFailedError(RecdeployError):
    """A deployment did not become what was asked for; quotes OCI's work-request errors and logs."""


class PromotionFailedError(RecdeployError):
    """The switch of production did not verify; says what production serves now."""


class CloudRefusedError(RecdeployError):
    """OCI refused a request for good: wrong key, missing permission, unknown compartment, a limit.

    Args:
        message: what was asked, of what, and OCI's answer.
        status: HTTP status.
        code: OCI's error code, e.g. ``NotAuthorizedOrNotFound``.
    """

    def __init__(self, message: str, remedy: Remedy | None = None, *, status: int, code: str) -> None:
        super().__init__(message, remedy)
        self.status = status
        self.code = code


class StorageError(RecdeployError):
    """The storage root is wrong, not writable, or holds other content under this key."""


class KeyNotFoundError(StorageError):
    """Nothing is stored under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Nothing is stored under {key!r}.")
        self.key = key


class KeyExistsError(StorageError):
    """Other content is already stored under this key, which is written only once."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Other content is already stored under {key!r}; it is never overwritten.")
        self.key = key


class TransientError(RecdeployError):
    """A failure that may pass: the caller may try again."""


class StorageUnavailableError(TransientError):
    """The storage did not answer, or not in time."""


class CloudUnavailableError(TransientError):
    """OCI did not answer, answered 429 or 5xx, or refused because the resource is busy."""


class CloudThrottledError(CloudUnavailableError):
    """OCI answered 429: the request did not reach what stands behind its gateway."""


class SwitchInterruptedError(TransientError):
    """A failure that may pass has interrupted a switch of production; says what state production is in."""


class LedgerConflictError(TransientError):
    """Another writer appended to the ledger first, again and again."""


def _restore(kind: type[RecdeployError], message: str) -> RecdeployError:
    return kind.__new__(kind, message)
