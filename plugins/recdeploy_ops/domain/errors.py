"""Everything that this project raises on purpose.

::

    RecdeployError
    ├── SettingsError               include/recommender.yaml or a param is wrong
    ├── SourceDataError             the database lacks data, or has values that cannot be used
    │   ├── QueryFailedError        it refused a query (in `extraction`)
    │   └── UnreadableValueError    its driver cannot convert a value (in `extraction`)
    ├── GateFailedError             a gate said FAIL: the candidate is rejected without asking a person
    ├── TrainingFailedError         the ADS operator ended without usable outputs
    ├── MissingInputError           the output of an earlier step is missing: names the task to run again
    ├── CellOrderError              a notebook cell was run too early: names the cell to run first
    ├── IntegrityError              stored bytes are not the bytes that were recorded
    │   └── ForeignCodeError        code that this project has not shipped: a worker does not run it
    ├── LedgerFormatError           a newer version of this project wrote the ledger
    ├── OutcomeError                a run's tasks look successful, and its release ended otherwise
    ├── IllegalTransitionError      a version cannot go from this stage to that one
    ├── LockHeldError               another release or rollback is in progress
    ├── SwitchUnderWayError         this run is switching production: that must end first
    ├── ApprovalError               no approval covers the present state
    │   ├── PromotionsFrozenError   nothing is promoted now: says until when; a rollback is always possible
    │   └── AnswerRefusedError      this answer does not count; the person is asked again
    │       └── SelfApprovalError   the requester may not approve their own run
    ├── StateMismatchError          OCI runs something that the ledger does not know
    ├── DeploymentFailedError       OCI did not do what was requested; quotes its work-request logs
    ├── PromotionFailedError        production did not verify; the champion serves again
    ├── BakeHeldError               what was promoted could not be judged: it serves, and a person must look
    ├── CloudRefusedError           OCI refused for good: credentials, compartment, limits
    ├── TemporaryFolderError        this machine's temporary folder is full, or not writable
    ├── StorageError                the storage root is wrong, or not writable
    │   ├── KeyNotFoundError        nothing is stored there
    │   └── KeyExistsError          other content is stored there, and is never overwritten
    └── TransientError              trying again may help
        ├── SourceUnavailableError  the database does not answer (in `extraction`)
        ├── StorageUnavailableError
        ├── CloudUnavailableError
        │   ├── CloudThrottledError 429: the tenancy has sent too many requests
        │   └── OutOfCapacityError  OCI has no machine for a deployment now
        ├── SwitchInterruptedError  production is not verified after a switch: says what state it is in
        └── LedgerConflictError     another writer appended first

Only a `TransientError` is worth a retry: everything else fails the same way again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.remedies import Audience, Remedy, RunTask

if TYPE_CHECKING:
    from recdeploy_ops.domain.gates.verdicts import GateReport


NEEDS_A_PERSON = "PRODUCTION NEEDS A PERSON"  # so begins an error after which production is not known to be at rest


class RecdeployError(Exception):
    """Base of every error that the project raises on purpose: what happened to which thing, and the remedy.

    Args:
        message: what happened to which thing, in full sentences.
        remedy: what a person does about it; None if the message is enough.

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
        """Let pickle and copy restore the message unchanged: a subclass's own arguments are not kept."""
        return _restore, (type(self), self.message), self.__dict__


class SettingsError(RecdeployError):
    """A setting or param is missing, unknown or out of range."""


class SourceDataError(RecdeployError):
    """The source database lacks a table, a column or rows, or has values that cannot be used."""


class GateFailedError(RecdeployError):
    """A gate said FAIL.

    Args:
        report: every finding of the gate run, for the message and the ledger.
    """

    def __init__(self, report: GateReport) -> None:
        super().__init__(report.describe_failures())
        self.report = report


class TrainingFailedError(RecdeployError):
    """The ADS operator failed, or succeeded with outputs that are missing, empty or not numbers."""


class MissingInputError(RecdeployError):
    """An input of a step was never made, or is gone.

    Args:
        what: the thing that is missing, with its key; without a full stop.
        task: the task that makes it.
    """

    def __init__(self, what: str, *, task: str) -> None:
        super().__init__(f"{what}.", RunTask(task=task))


class CellOrderError(RecdeployError):
    """A notebook cell was run before the cell that makes its input, or after its release had ended."""


class IntegrityError(RecdeployError):
    """Stored bytes differ from the sha256 that was recorded for them."""


class ForeignCodeError(IntegrityError):
    """An artifact's code is not one that this project has shipped: a worker does not run it."""


class LedgerFormatError(RecdeployError):
    """A newer version wrote the ledger: this one must not read, write or repair it."""


class OutcomeError(RecdeployError):
    """A run's tasks look successful in Airflow, and its release ended otherwise."""


class IllegalTransitionError(RecdeployError):
    """A model version cannot go from one stage to the other."""

    def __init__(self, current: str, target: str) -> None:
        super().__init__(f"A model version cannot go from {current} to {target}.")


class LockHeldError(RecdeployError):
    """Another release or rollback holds the release lock."""


class SwitchUnderWayError(RecdeployError):
    """A step was to run again while production is being switched to its output.

    Args:
        goal: of the switch, in words, e.g. ``serving v4``.
        task: the task that restores the champion when it is run again.
    """

    def __init__(self, goal: str, *, task: str) -> None:
        super().__init__(
            f"This run is switching production, and the goal ({goal}) is not verified yet. Until then no input of the "
            "switch may change.",
            RunTask(task=task, purpose="to restore the champion first"),
        )


class ApprovalError(RecdeployError):
    """No approval covers what a promotion or rollback would change."""


class PromotionsFrozenError(ApprovalError):
    """Nothing is promoted now: a person froze promotions, production was rolled back, or a window of the settings."""


class AnswerRefusedError(ApprovalError):
    """An answer does not count, e.g. a promotion of a HOLD without a comment; the person is asked again."""


class SelfApprovalError(AnswerRefusedError):
    """The requester has approved their own run, which the settings forbid."""


class StateMismatchError(RecdeployError):
    """The ledger and OCI disagree in a way that a person must decide."""


class DeploymentFailedError(RecdeployError):
    """A deployment did not reach the requested state; quotes OCI's work-request errors and logs."""


class PromotionFailedError(RecdeployError):
    """The switch of production did not verify; says what production serves now."""


class BakeHeldError(RecdeployError):
    """A promoted version could not be judged while it was watched; it stays in production."""


class CloudRefusedError(RecdeployError):
    """OCI refused a request for good: wrong key, missing permission, unknown compartment, a limit.

    Args:
        message: what was requested, of which resource, and OCI's answer.
        status: HTTP status.
        code: OCI's error code, e.g. ``NotAuthorizedOrNotFound``.
    """

    def __init__(self, message: str, remedy: Remedy | None = None, *, status: int, code: str) -> None:
        super().__init__(message, remedy)
        self.status = status
        self.code = code


class TemporaryFolderError(RecdeployError):
    """This machine's temporary folder is full, too small or not writable."""


class StorageError(RecdeployError):
    """The storage root is wrong, not writable, or has other content under this key."""


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
    """OCI answered 429: its gateway did not pass the request on."""


class OutOfCapacityError(CloudUnavailableError):
    """OCI has no machine for a deployment now; that passes after minutes or hours."""


class SwitchInterruptedError(TransientError):
    """A transient failure interrupted a switch of production; says what state production is in."""


class LedgerConflictError(TransientError):
    """Another writer appended to the ledger first, on every attempt."""


def _restore(kind: type[RecdeployError], message: str) -> RecdeployError:
    return kind.__new__(kind, message)
