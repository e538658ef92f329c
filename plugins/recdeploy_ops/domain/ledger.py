"""The ledger: hash-chained entries, and the book that they add up to.

Everything that a release does stands in an `Entry`. Entries are immutable and each carries the sha256 of the
one before, so history cannot be edited unnoticed. What is true now - who holds the lock, which version
serves, how far a release has come - is never stored: `folding.fold` adds the entries up to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from recdeploy_ops.domain.stages import Stage

Facts = Mapping[str, Any]
NO_ENTRY = "0" * 64
RETRAIN = "retrain"
ROLLBACK = "rollback"
NOTEBOOK = "notebook"  # stands where a release from Airflow names its DAG


class Kind(StrEnum):
    """What an entry says has happened."""

    RELEASE_OPENED = "release_opened"
    PRODUCTION_BACKED_UP = "production_backed_up"
    BACKUP_FAILED = "backup_failed"
    DATA_EXTRACTED = "data_extracted"
    DATA_CHECKED = "data_checked"
    MODEL_TRAINED = "model_trained"
    ARTIFACT_BUILT = "artifact_built"
    CANDIDATE_CHECKED = "candidate_checked"
    MODEL_REGISTERED = "model_registered"
    TEST_DEPLOYED = "test_deployed"
    TEST_VALIDATED = "test_validated"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_ANSWERED = "approval_answered"
    PROMOTION_STARTED = "promotion_started"
    PROMOTED = "promoted"
    PROMOTION_FAILED = "promotion_failed"
    RESTORE_STARTED = "restore_started"
    CHAMPION_RESTORED = "champion_restored"
    PRODUCTION_LOST = "production_lost"
    RESIZE_STARTED = "resize_started"
    RESIZED = "resized"
    ROLLBACK_REHEARSED = "rollback_rehearsed"
    MODEL_RESTORED = "model_restored"
    ROLLED_BACK = "rolled_back"
    ADOPTED = "adopted"
    TAKEOVER_STARTED = "takeover_started"
    RELEASE_REJECTED = "release_rejected"
    RELEASE_CLOSED = "release_closed"


@dataclass(frozen=True)
class Entry:
    """One line of history.

    Attributes:
        seq: 1, 2, 3, ...
        previous: sha256 of the encoded entry before, `NO_ENTRY` for the first.
        kind: what has happened.
        run_id: the release it belongs to: Airflow's run id, or the notebook session's.
        at: when, UTC.
        facts: plain JSON values.
    """

    seq: int
    previous: str
    kind: Kind
    run_id: str
    at: datetime
    facts: Facts

    def encode(self) -> bytes:
        """Return the bytes that are stored and hashed."""
        value = {
            "seq": self.seq,
            "previous": self.previous,
            "kind": str(self.kind),
            "run_id": self.run_id,
            "at": self.at.isoformat(),
            "facts": dict(self.facts),
        }
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @property
    def sha256(self) -> str:
        """Return the hash that the next entry carries."""
        return hashlib.sha256(self.encode()).hexdigest()


@dataclass(frozen=True)
class Serving:
    """What a production deployment was verified to serve.

    Attributes:
        deployment_id: OCID of the model deployment.
        url: its URL, without ``/predict``.
        model_id: OCID of the catalog model.
        version: the recommender's version number.
        digest: the digest it answers with.
        since: when that was verified, ISO 8601.
    """

    deployment_id: str
    url: str
    model_id: str
    version: int
    digest: str
    since: str


@dataclass(frozen=True)
class Version:
    """One model version, as far as the ledger knows it.

    A version that another project made has no digest: what serves it is told by its model id alone.

    Attributes:
        number: 1, 2, 3, ...
        stage: where it stands.
        run_id: the release that made it.
        digest: the artifact's digest; empty for a version that this project did not make.
        model_id: OCID in the Model Catalog.
        artifact: storage prefix of the artifact.
        results: storage prefix of the training results; empty when there are none.
    """

    number: int
    stage: Stage
    run_id: str
    digest: str
    model_id: str
    artifact: str
    results: str


@dataclass(frozen=True)
class Release:
    """One run of the release process.

    Attributes:
        run_id: Airflow's run id.
        purpose: ``retrain`` or ``rollback``.
        version: the version number that it makes, or goes back to.
        opened_at: when it was first opened, ISO 8601.
        last_opened_at: when it was last opened, ISO 8601.
        is_open: whether it is under way.
        outcome: how it was closed: ``promoted``, ``rejected``, ``rolled back``, ``pre-empted`` or ``failed``; None
            while open.
        params: the run's params.
        facts: the valid facts by kind; a step that was recorded anew voids those built on it.
        open_switch: the intent of a change of production that has neither been proved nor taken back; None when
            production is settled. Nothing but its own end makes it void.
    """

    run_id: str
    purpose: str
    version: int
    opened_at: str
    last_opened_at: str
    is_open: bool
    outcome: str | None
    params: Facts
    facts: Mapping[Kind, Facts] = field(default_factory=lambda: MappingProxyType({}))
    open_switch: Facts | None = None

    def get(self, kind: Kind) -> Facts | None:
        """Return the facts of a kind, or None."""
        return self.facts.get(kind)

    @property
    def only_waits(self) -> bool:
        """Return whether nothing is under way but the wait for a person's answer."""
        asked, answered = self.get(Kind.APPROVAL_REQUESTED), self.get(Kind.APPROVAL_ANSWERED)
        return asked is not None and answered is None and self.open_switch is None


@dataclass(frozen=True)
class Book:
    """What the ledger adds up to.

    Attributes:
        seq: sequence number of the newest entry, 0 when there is none.
        head: its sha256.
        releases: by run id, in the order in which they were opened.
        versions: by number.
        highest_version: the highest number ever given out; numbers are never reused.
        holder: run id of the release that holds the lock.
        production: what production was last verified to serve.
        previous_champion: what it was verified to serve before that.
    """

    seq: int = 0
    head: str = NO_ENTRY
    releases: Mapping[str, Release] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[int, Version] = field(default_factory=lambda: MappingProxyType({}))
    highest_version: int = 0
    holder: str | None = None
    production: Serving | None = None
    previous_champion: Serving | None = None


def decode(content: bytes) -> Entry:
    """Return the entry that `Entry.encode` wrote.

    Raises:
        IntegrityError: the bytes are no ledger entry.
    """
    try:
        entry = _entry_of(json.loads(content))
        encoded = entry.encode()
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise IntegrityError(f"This is no ledger entry: {content[:120]!r} ({err}).") from err
    if encoded != content:
        raise IntegrityError(f"Ledger entry {entry.seq} was edited: its bytes are not those that were written.")
    return entry


def _entry_of(value: Any) -> Entry:
    entry = Entry(
        seq=value["seq"],
        previous=value["previous"],
        kind=Kind(value["kind"]),
        run_id=value["run_id"],
        at=datetime.fromisoformat(value["at"]),
        facts=value["facts"],
    )
    kinds = (type(entry.seq), type(entry.previous), type(entry.run_id), type(entry.facts))
    if kinds != (int, str, str, dict):
        raise TypeError("a number, two texts and a mapping are wanted for seq, previous, run_id and facts")
    return entry
