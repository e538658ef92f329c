"""Whether the ledger is whole: every entry, the snapshot's copy, and the heads that tags in OCI name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError
from recdeploy_ops.domain.folding import fold
from recdeploy_ops.domain.ledger import Entry, decode
from recdeploy_ops.ledgers import FOLDER, SNAPSHOT, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.storage.stores import Store

ENTRY = re.compile(re.escape(FOLDER) + r"\d{8}\.json")


def audit(store: Store, *, tagged_heads: Mapping[str, str]) -> list[str]:
    """Read every entry and return the faults found, an empty list when there is none.

    Args:
        store: the storage root.
        tagged_heads: ``{seq}:{sha256}`` from tags in OCI, by where they stand; empty when there is none.
    """
    faults: list[str] = []
    entries = _read_chain(store, faults)
    faults += _compare_snapshot(store, entries)
    for place, head in tagged_heads.items():
        faults += _compare_tag(entries, place, head)
    try:
        fold(entries)
    except IntegrityError as err:
        faults.append(str(err))
    return list(dict.fromkeys(faults))


def _read_chain(store: Store, faults: list[str]) -> list[Entry]:
    """Return the entries as far as they can be read, in the order of their keys."""
    entries: list[Entry] = []
    for expected, stored in enumerate((s for s in store.list(FOLDER) if ENTRY.fullmatch(s.key)), start=1):
        if stored.key != key_of(expected):
            faults.append(f"{key_of(expected)} is missing: {stored.key} comes in its place.")
            break
        try:
            entry = decode(store.read(stored.key))
        except IntegrityError as err:
            faults.append(f"{stored.key}: {err}")
            break
        if entry.seq != expected:
            faults.append(f"{stored.key} holds entry {entry.seq}: entries were exchanged.")
        elif entries and entry.previous != entries[-1].sha256:
            faults.append(f"{key_of(expected - 1)} was edited: {stored.key} names another sha256 for it.")
        entries.append(entry)
    return entries


def _compare_snapshot(store: Store, entries: list[Entry]) -> list[str]:
    try:
        copied = [decode(line) for line in store.read(SNAPSHOT).splitlines(keepends=True)]
    except KeyNotFoundError:
        return []
    except IntegrityError as err:
        return [f"{SNAPSHOT}: {err}"]
    if len(copied) > len(entries):
        return [f"{SNAPSHOT} holds {len(copied)} entries, but only {len(entries)} are there: the tail was cut off."]
    differing = [copy.seq for copy, entry in zip(copied, entries, strict=False) if copy != entry]
    return [f"{SNAPSHOT} and {key_of(differing[0])} differ: one of them was edited."] if differing else []


def _compare_tag(entries: list[Entry], place: str, tagged_head: str) -> list[str]:
    seq, _, sha256 = tagged_head.partition(":")
    if not seq.isdecimal() or int(seq) < 1:
        return [f"The tag of {place} names {tagged_head!r}, which is no head of a ledger."]
    if int(seq) > len(entries):
        return [f"The tag of {place} names entry {seq}, but only {len(entries)} are there: the tail was cut off."]
    if entries[int(seq) - 1].sha256 != sha256:
        return [f"Entry {seq} is not the one that the tag of {place} names: the ledger was rewritten."]
    return []
