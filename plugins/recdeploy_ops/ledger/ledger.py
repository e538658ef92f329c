"""The ledger in storage: entries created only if absent, a snapshot beside them to read it quickly."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import (
    IllegalTransitionError,
    IntegrityError,
    KeyExistsError,
    KeyNotFoundError,
    LedgerConflictError,
)
from recdeploy_ops.domain.ledger import Book, Entry, Kind, decode
from recdeploy_ops.domain.replay import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

FOLDER = "ledger/"
SNAPSHOT = "ledger/snapshot.jsonl"
ENTRY = re.compile(r"ledger/\d{8}\.json")
ASIDE = "ledger-damaged/"
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
        """Return what all entries add up to now; what is no entry in the ledger's folder is left alone.

        Raises:
            IntegrityError: an entry is missing, out of order or was edited.
        """
        if not self._entries:
            self._read_snapshot()
        tail = []
        known = self._book.seq
        expected = max(known, 1)  # the listing begins with the newest entry known, which must still be there
        for stored in self._store.list(FOLDER, start=key_of(expected)):
            if not ENTRY.fullmatch(stored.key):
                continue
            if stored.key != key_of(expected):
                raise IntegrityError(f"The ledger has {stored.key}, where {key_of(expected)} should come first.")
            if expected > known:
                tail.append(decode(self._store.read(stored.key)))
            expected += 1
        if expected == known:
            self._require_known()
        self._book = fold_stored(tail, self._book)
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

    def set_aside(self, keys: Iterable[str]) -> str:
        """Move objects of the ledger's folder to another, and forget what was read; return that folder.

        The snapshot goes first and then the oldest entry: what is left by a kill is never taken for a ledger.
        """
        folder = f"{ASIDE}{self._now():%Y%m%d_%H%M%S}/"
        wanted = sorted(keys, key=lambda key: (key != SNAPSHOT, key))
        for key in wanted:
            self._store.create(folder + key.removeprefix(FOLDER), self._store.read(key))
        for key in wanted:
            self._store.delete(key)
        self._entries, self._book = [], Book()
        return folder

    def _read_snapshot(self) -> None:
        """Take over the snapshot's entries, if the newest of them is stored as well: each proves the one before.

        Raises:
            IntegrityError: it is not stored.
        """
        try:
            content = self._store.read(SNAPSHOT)
        except KeyNotFoundError:
            return
        try:
            entries = [decode(line) for line in content.splitlines(keepends=True)]
            book = fold_stored(entries)
            if entries:
                self._require_head(entries[-1])
        except KeyNotFoundError as err:
            raise IntegrityError(
                f"{SNAPSHOT} holds {book.seq} entries, but {err.key} is not there: the tail was cut off, or the "
                "snapshot was forged. Run 'python -m recdeploy_ops verify'."
            ) from err
        except IntegrityError as err:
            log.warning("The ledger's snapshot is not used, it will be written anew: %s", err)
            return
        self._entries, self._book = entries, book

    def _require_known(self) -> None:
        try:
            self._require_head(self._entries[-1])
        except KeyNotFoundError as err:
            raise IntegrityError(f"{err.key}, which was read before, is gone: the tail was cut off.") from err

    def _require_head(self, entry: Entry) -> None:
        key = key_of(entry.seq)
        if self._store.read(key) != entry.encode():
            raise IntegrityError(f"{key} is not the entry that was read before: the ledger was rewritten.")


def fold_stored(entries: Iterable[Entry], book: Book | None = None) -> Book:
    """Add up entries from storage, which anybody may have written.

    Raises:
        IntegrityError: they do not follow each other, or do not add up.
    """
    try:
        return fold(entries, book)
    except (TypeError, ValueError, AttributeError, IllegalTransitionError) as err:
        raise IntegrityError(
            f"The ledger's entries do not add up: {err}. Run 'python -m recdeploy_ops verify' to see which was changed."
        ) from err
