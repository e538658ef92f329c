"""The ledger in storage: entries that are created only if absent, and a snapshot for quick reading."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from recdeploy_ops.domain.entries import FORMAT, Entry, decode, require_storable
from recdeploy_ops.domain.errors import (
    IllegalTransitionError,
    IntegrityError,
    KeyExistsError,
    KeyNotFoundError,
    LedgerConflictError,
    SettingsError,
)
from recdeploy_ops.domain.events import LedgerStarted
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.remedies import ChangeSetting, Remedy
from recdeploy_ops.domain.replay import VERIFY, replay
from recdeploy_ops.domain.signatures import require_unsigned
from recdeploy_ops.storage.keys import ENTRY, LEDGER, SNAPSHOT, aside_prefix, entry_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.signatures import Seal
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

TRIES = 10


class Ledger:
    """Reads and appends entries; an entry is decided on the newest state, or not written.

    Args:
        store: where the entries are.
        project: the project that the ledger belongs to.
        now: the clock, UTC.
        seal: signs entries, and checks the signatures of those that are read; None without a key.
    """

    def __init__(self, store: Store, project: str, now: Callable[[], datetime], seal: Seal | None = None) -> None:
        self._store = store
        self._project = project
        self._now = now
        self.seal = seal
        self._entries: list[Entry] = []
        self._state: LedgerState | None = None

    @property
    def state(self) -> LedgerState:
        """Return the state as last read; read it now if it never was."""
        return self.read() if self._state is None else self._state

    @property
    def last_known(self) -> LedgerState | None:
        """Return the state as last read whole, without reading it now; None if it never was."""
        return self._state

    def read(self) -> LedgerState:
        """Return the state after every entry that is stored now; other objects in the ledger's folder are ignored.

        Raises:
            IntegrityError: an entry is missing, out of order, was edited, or is not signed though it should be.
            LedgerFormatError: a newer version of this project wrote it.
            SettingsError: the ledger belongs to another project, damaged or not.
        """
        try:
            return self._read()
        except IntegrityError:
            self.require_project()  # another project's ledger is not ours to repair
            raise

    def require_project(self) -> None:
        """Refuse the storage of another project, even with a damaged ledger; a storage without a ledger is fine.

        Raises:
            SettingsError: the first entry, in its object or in the snapshot, names another project.
        """
        for key in (entry_key(1), SNAPSHOT):
            with suppress(KeyNotFoundError, IntegrityError):
                first = self._store.read(key).partition(b"\n")[0] + b"\n"
                self._require_project(replay_stored([decode(first)]))
                return

    def has_entry(self, head: str) -> bool:
        """Return whether the ledger has the entry that a tag in OCI names as ``{seq}:{sha256}``.

        The ledger is read again if another process may have appended the entry since.
        """
        seq = int(head.partition(":")[0])
        if seq > len(self._entries):
            self.read()
        return [f"{entry.seq}:{entry.sha256}" for entry in self._entries[seq - 1 : seq]] == [head]

    def _read(self) -> LedgerState:
        entries, state = (self._entries, self._state) if self._entries and self._state else self._read_snapshot()
        tail: list[Entry] = []
        newest = entries[-1] if entries else None
        known = state.seq
        expected = max(known, 1)  # the listing begins with the newest known entry, which must still exist
        for stored in self._store.list(LEDGER, start=entry_key(expected)):
            if not ENTRY.fullmatch(stored.key):
                continue
            if stored.key != entry_key(expected):
                raise IntegrityError(f"The ledger has {stored.key}, but not {entry_key(expected)}, which comes first.")
            if expected > known:
                # One by one: the first tells whether the others can be read.
                entry = decode(self._store.read(stored.key))
                self._require_signed([entry], after=newest)
                state = replay_stored([entry], state)
                tail.append(entry)
                newest = entry
            expected += 1
        if expected == known:
            self._require_known(entries)
        self._require_project(state)
        self._entries, self._state = [*entries, *tail], state
        return state

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries that are stored now."""
        self.read()
        return tuple(self._entries)

    def readable_entries(self) -> tuple[Entry, ...]:
        """Return all entries that are stored now; none if the ledger is damaged: for lists that need no ledger."""
        try:
            return self.entries()
        except IntegrityError as err:
            log.warning("The ledger is not used: %s", err)
            return ()

    def append(self, run_id: str, event: Event, *, guard: Callable[[LedgerState], None]) -> LedgerState:
        """Append one entry, unless the release's valid event of this type equals it; return the state after it.

        An empty ledger first gets the entry that names its project and format.

        Args:
            run_id: the release.
            event: what happened.
            guard: called with the newest state before each try; raises if the entry must not be written.

        Raises:
            SettingsError: an id in the event cannot be stored, or the ledger is signed and the key is missing.
            IllegalTransitionError: the event is not allowed in the stage of its version.
            LedgerConflictError: other writers were faster ten times in a row.
        """
        event = require_storable(run_id, event)
        for _ in range(TRIES):
            state = self.read()
            guard(state)
            release = state.releases.get(run_id)
            if release and release.get(type(event)) == event:
                return state
            if state.seq == 0 and not self._write(run_id, LedgerStarted(self._project, FORMAT), state):
                continue
            if self._write(run_id, event, self.state):
                return self.state
        raise LedgerConflictError(
            f"Could not append {event.type} for the run {run_id}: other writers were faster, {TRIES} times."
        )

    def write_snapshot(self) -> None:
        """Store all entries in one object, so that a reader needs one request instead of hundreds."""
        self._store.replace(SNAPSHOT, b"".join(entry.encode() for entry in self.entries()))

    def set_aside(self, keys: Iterable[str]) -> str:
        """Move objects of the ledger's folder to another folder, forget what was read, and return that folder.

        The snapshot goes first and then the oldest entry, so that a kill never leaves what looks like a ledger.
        """
        folder = aside_prefix(self._now())
        moved = sorted(keys, key=lambda key: (key != SNAPSHOT, key))
        for key in moved:
            self._store.create(folder + key.removeprefix(LEDGER), self._store.read(key))
        for key in moved:
            self._store.delete(key)
        self._entries, self._state = [], None
        return folder

    def _write(self, run_id: str, event: Event, state: LedgerState) -> bool:
        """Write the entry that follows a state; return False if another writer was faster."""
        entry = Entry(state.seq + 1, state.head, run_id, self._now(), event)
        if self.seal is None:
            require_unsigned(self._entries[-1] if self._entries else None)
        else:
            entry = self.seal.sign(entry)
        after = replay([entry], state)
        try:
            self._store.create(entry_key(entry.seq), entry.encode())
        except KeyExistsError:
            return False
        self._state = after
        self._entries.append(entry)
        log.info("Ledger entry %s: %s", entry.seq, event.type)
        return True

    def _read_snapshot(self) -> tuple[list[Entry], LedgerState]:
        """Return the snapshot's entries, and the state after them; none if it is missing or damaged.

        Only the newest is compared with its stored entry: each has the sha256 of the one before.

        Raises:
            IntegrityError: the newest of them is not stored.
        """
        try:
            content = self._store.read(SNAPSHOT)
        except KeyNotFoundError:
            return [], LedgerState()
        try:
            entries = [decode(line) for line in content.splitlines(keepends=True)]
            self._require_signed(entries)
            state = replay_stored(entries)
            if entries:
                self._require_stored(entries[-1])
        except KeyNotFoundError as err:
            raise IntegrityError(
                f"{SNAPSHOT} has {state.seq} entries, but {err.key} does not exist: the tail was cut off, or the "
                "snapshot was forged.",
                Remedy(VERIFY),
            ) from err
        except IntegrityError as err:
            log.warning("The ledger's snapshot is ignored and will be written again: %s", err)
            return [], LedgerState()
        self._require_project(state)
        return entries, state

    def _require_signed(self, entries: Iterable[Entry], after: Entry | None = None) -> None:
        if self.seal is not None:
            self.seal.require_signed(entries, after=after)

    def _require_known(self, entries: list[Entry]) -> None:
        try:
            self._require_stored(entries[-1])
        except KeyNotFoundError as err:
            raise IntegrityError(f"{err.key}, which was read before, is gone: the tail was cut off.") from err

    def _require_stored(self, entry: Entry) -> None:
        key = entry_key(entry.seq)
        if self._store.read(key) != entry.encode():
            raise IntegrityError(f"{key} is not the entry that was read before: the ledger was rewritten.")

    def _require_project(self, state: LedgerState) -> None:
        """Refuse another project's ledger: two projects would overwrite each other's production."""
        if state.project not in {"", self._project}:
            raise SettingsError(
                f"The ledger at {self._store.uri} belongs to the project {state.project!r}, not to {self._project!r}.",
                ChangeSetting("Give each project a storage root of its own", setting="storage"),
            )


def replay_stored(entries: Iterable[Entry], state: LedgerState | None = None) -> LedgerState:
    """Replay entries from storage, which anyone may have written.

    Raises:
        IntegrityError: they do not follow each other, or contradict each other.
    """
    try:
        return replay(entries, state)
    except (TypeError, ValueError, AttributeError, IllegalTransitionError) as err:
        raise IntegrityError(f"The ledger's entries contradict each other: {err}", Remedy(VERIFY)) from err
