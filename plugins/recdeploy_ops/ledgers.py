"""The ledger in storage: entries created only if absent, a snapshot beside them to read it quickly."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyExistsError, KeyNotFoundError, LedgerConflictError
from recdeploy_ops.domain.folding import fold
from recdeploy_ops.domain.ledger import Book, Entry, Kind, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

FOLDER = "ledger/"
SNAPSHOT = "ledger/snapshot.jsonl"
TRIES = 10


def key_of(seq: int) -> str:
    """Return the storage key of the entry with this number."""
    return f"{FOLDER}{seq:08d}.json"


class Ledger:
    """Reads and appends; whoever appends decides on the newest book, or not at all.

    Args:
        store: where the entries lie.
        now: the clock, UTC.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._entries: list[Entry] = []
        self._book = Book()

    def book(self) -> Book:
        """Return what all entries add up to now.

        Raises:
            IntegrityError: an entry is missing, out of order or was edited.
        """
        if not self._entries:
            self._read_snapshot()
        tail = []
        expected = self._book.seq + 1
        for stored in self._store.list(FOLDER, start=key_of(expected)):
            if stored.key == SNAPSHOT:
                continue
            if stored.key != key_of(expected):
                raise IntegrityError(f"The ledger has {stored.key}, where {key_of(expected)} should come first.")
            tail.append(decode(self._store.read(stored.key)))
            expected += 1
        self._book = fold(tail, self._book)
        self._entries += tail
        return self._book

    def entries(self) -> tuple[Entry, ...]:
        """Return the whole history."""
        self.book()
        return tuple(self._entries)

    def append(self, kind: Kind, run_id: str, facts: Mapping[str, Any], *, guard: Callable[[Book], None]) -> Book:
        """Append one entry, unless the release's valid facts of this kind are these very ones.

        Args:
            kind: what has happened.
            run_id: the release.
            facts: plain JSON values.
            guard: called with the newest book before each try; raises when the entry must not be written.

        Raises:
            IllegalTransitionError: the entry would take a version where it cannot go.
            LedgerConflictError: other writers were faster ten times in a row.
        """
        for _ in range(TRIES):
            book = self.book()
            guard(book)
            release = book.releases.get(run_id)
            if release and release.get(kind) == facts:
                return book
            entry = Entry(book.seq + 1, book.head, kind, run_id, self._now(), dict(facts))
            after = fold([entry], book)
            try:
                self._store.create(key_of(entry.seq), entry.encode())
            except KeyExistsError:
                continue
            self._book = after
            self._entries.append(entry)
            log.info("Ledger entry %s: %s", entry.seq, kind)
            return after
        raise LedgerConflictError(
            f"Could not append {kind} for the run {run_id}: other writers were faster, {TRIES} times."
        )

    def write_snapshot(self) -> None:
        """Store all entries in one object, so that the next reader needs one request instead of hundreds."""
        self._store.replace(SNAPSHOT, b"".join(entry.encode() for entry in self.entries()))

    def _read_snapshot(self) -> None:
        try:
            lines = self._store.read(SNAPSHOT).splitlines(keepends=True)
            entries = [decode(line) for line in lines]
            book = fold(entries)
        except KeyNotFoundError:
            return
        except IntegrityError as err:
            log.warning("The ledger's snapshot is not used, it will be written anew: %s", err)
            return
        self._entries, self._book = entries, book
