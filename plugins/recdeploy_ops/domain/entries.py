"""One entry of the ledger: an event, who recorded it and when, and the hash of the entry before.

Entries are immutable, and each carries the sha256 of the one before: history cannot be edited unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from recdeploy_ops.domain.codec import from_plain, storable, to_plain
from recdeploy_ops.domain.errors import IntegrityError, SettingsError
from recdeploy_ops.domain.events import EVENTS, Event, EventType
from recdeploy_ops.domain.remedies import Remedy

FORMAT = 1  # of the ledger; its first entry names it
FIELDS = ("seq", "previous", "type", "run_id", "at", "event", "signature")


@dataclass(frozen=True)
class Entry:
    """One line of history.

    Attributes:
        seq: 1, 2, 3, ...
        previous: sha256 of the encoded entry before, in hex; `NO_ENTRY` for the first.
        run_id: the release it belongs to: Airflow's run id, or the notebook session's.
        at: when, UTC.
        event: what happened.
        signature: over the other fields, by the ledger's key; None without one.
    """

    seq: int
    previous: str
    run_id: str
    at: datetime
    event: Event
    signature: str | None = None

    @property
    def type(self) -> EventType:
        """Return the type of its event."""
        return self.event.type

    def encode(self) -> bytes:
        """Return the bytes that are stored and hashed."""
        value = {
            "seq": self.seq,
            "previous": self.previous,
            "type": self.type.value,
            "run_id": self.run_id,
            "at": self.at.isoformat(),
            "event": to_plain(self.event),
            "signature": self.signature,
        }
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @cached_property
    def sha256(self) -> str:
        """Return the hash that the next entry carries."""
        return hashlib.sha256(self.encode()).hexdigest()


def require_storable(run_id: str, event: Event) -> Event:
    """Return an event that can be stored: lone surrogates in its free text are escaped.

    Raises:
        SettingsError: an id has a character that UTF-8 cannot carry.
    """
    try:
        run_id.encode()
        return storable(event)
    except ValueError as err:  # UnicodeEncodeError is one
        raise SettingsError(
            f"{event.type} of the run {run_id!a} cannot be recorded: {err}.",
            Remedy("Correct that id where it comes from"),
        ) from err


def decode(content: bytes) -> Entry:
    """Return the entry that `Entry.encode` wrote.

    Raises:
        IntegrityError: the bytes are not a ledger entry of a format that this version reads.
    """
    try:
        entry = _entry_of(json.loads(content))
        encoded = entry.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise IntegrityError(f"This is not a ledger entry: {content[:120]!r} ({err}).") from err
    if encoded != content:
        raise IntegrityError(f"Ledger entry {entry.seq} was edited: its bytes are not those that were written.")
    return entry


def _entry_of(value: Any) -> Entry:
    if set(value) != set(FIELDS):
        raise ValueError(f"its fields are {', '.join(sorted(value))}, not {', '.join(sorted(FIELDS))}")
    kinds = (type(value["seq"]), type(value["previous"]), type(value["run_id"]))
    if kinds != (int, str, str) or not isinstance(value["signature"], str | None):
        raise TypeError("seq must be a number, previous, run_id and signature must be texts")
    return Entry(
        seq=value["seq"],
        previous=value["previous"],
        run_id=value["run_id"],
        at=datetime.fromisoformat(value["at"]),
        event=from_plain(EVENTS[EventType(value["type"])], value["event"]),
        signature=value["signature"],
    )
