"""The check of the whole ledger: every entry, the snapshot, and the heads that tags in OCI name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from recdeploy_ops.domain.entries import Entry, decode
from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError
from recdeploy_ops.ledger.ledger import replay_stored
from recdeploy_ops.storage.keys import ENTRY, LEDGER, SNAPSHOT, entry_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.signatures import Seal
    from recdeploy_ops.storage.stores import Store

# How far clocks of workers may differ; OCI refuses requests of those that differ from its own by more than 5 minutes.
CLOCK_SKEW = timedelta(minutes=10)
HEAD = re.compile(r"[1-9]\d{0,8}:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Audit:
    """The faults of a ledger.

    Attributes:
        damage: faults of the entries, with which history cannot be trusted.
        unconfirmed: heads that the ledger lacks, named by tags of other models, which anyone may have written.
        derived: faults of the snapshot and illegible tags, which can be written again.
        foreign: keys that do not belong in the ledger's folder.
    """

    damage: list[str]
    unconfirmed: list[str]
    derived: list[str]
    foreign: list[str]

    def describe(self) -> list[str]:
        """Return every fault once, one line each."""
        foreign = [f"{key} is not an entry of the ledger and is ignored: remove it." for key in self.foreign]
        return list(dict.fromkeys([*self.damage, *self.unconfirmed, *self.derived, *foreign]))


def audit(store: Store, *, tagged_heads: Mapping[str, str], seal: Seal | None = None) -> list[str]:
    """Read every entry and return the faults; none is an empty list.

    Args:
        store: the storage root.
        tagged_heads: ``{seq}:{sha256}`` from tags in OCI, by the resource that has the tag.
        seal: checks the entries' signatures; None without a key.
    """
    return examine(store, tagged_heads=tagged_heads, seal=seal).describe()


def examine(
    store: Store,
    *,
    tagged_heads: Mapping[str, str],
    other_heads: Mapping[str, str] = MappingProxyType({}),
    seal: Seal | None = None,
) -> Audit:
    """Read every entry and return the faults by kind.

    Args:
        store: the storage root.
        tagged_heads: as in `audit`.
        other_heads: likewise, of resources that anyone may have tagged; they are not evidence of damage.
        seal: as in `audit`.
    """
    damage: list[str] = []
    keys = [stored.key for stored in store.list(LEDGER)]
    entries = _read_chain(store, [key for key in keys if ENTRY.fullmatch(key)], damage)
    damage += _check_signatures(entries, seal)
    derived = _compare_snapshot(store, entries)
    for resource, head in tagged_heads.items():
        faults = damage if HEAD.fullmatch(head) else derived
        faults += _compare_tag(entries, resource, head)
    unconfirmed = [fault for resource, head in other_heads.items() for fault in _compare_tag(entries, resource, head)]
    try:
        replay_stored(entries)
    except IntegrityError as err:
        damage.append(str(err))
    foreign = [key for key in keys if key != SNAPSHOT and not ENTRY.fullmatch(key)]
    return Audit(damage, unconfirmed, derived, foreign)


def _read_chain(store: Store, keys: list[str], faults: list[str]) -> list[Entry]:
    """Return the entries up to the first that cannot be read, in the order of their keys."""
    entries: list[Entry] = []
    for expected, key in enumerate(keys, start=1):
        if key != entry_key(expected):
            faults.append(f"{entry_key(expected)} is missing: {key} comes instead.")
            break
        try:
            entry = decode(store.read(key))
        except IntegrityError as err:
            faults.append(f"{key}: {err}")
            break
        if entry.seq != expected:
            faults.append(f"{key} has entry {entry.seq}: entries were exchanged.")
        elif entries and entry.previous != entries[-1].sha256:
            faults.append(f"{entry_key(expected - 1)} was edited: {key} names another sha256 for it.")
        entries.append(entry)
    return entries


def _check_signatures(entries: list[Entry], seal: Seal | None) -> list[str]:
    """Return the first fault of the signatures, as a list: those after it are not to be trusted either."""
    try:
        if seal is not None:
            seal.require_signed(entries)
    except IntegrityError as err:
        return [str(err)]
    return []


def find_misdated(entries: Iterable[Entry]) -> list[str]:
    """Return a line for each entry that is dated long before the one that it follows; a wrong clock can be the cause.

    Args:
        entries: all of them, in order.
    """
    return [
        f"Ledger entry {entry.seq} is dated {entry.at:%Y-%m-%d %H:%M} UTC, before entry {former.seq} "
        f"({former.at:%Y-%m-%d %H:%M}): a clock was wrong, or somebody else wrote it."
        for former, entry in pairwise(entries)
        if former.at - entry.at > CLOCK_SKEW
    ]


def _compare_snapshot(store: Store, entries: list[Entry]) -> list[str]:
    try:
        copied = [decode(line) for line in store.read(SNAPSHOT).splitlines(keepends=True)]
    except KeyNotFoundError:
        return []
    except IntegrityError as err:
        return [f"{SNAPSHOT}: {err}"]
    if len(copied) > len(entries):
        return [f"{SNAPSHOT} has {len(copied)} entries, but only {len(entries)} are stored: the tail was cut off."]
    differing = [copy.seq for copy, entry in zip(copied, entries, strict=False) if copy != entry]
    return [f"{SNAPSHOT} and {entry_key(differing[0])} differ: one of them was edited."] if differing else []


def _compare_tag(entries: list[Entry], resource: str, tagged_head: str) -> list[str]:
    if not HEAD.fullmatch(tagged_head):
        return [f"The tag of {resource} names {tagged_head!r}, which is not the head of a ledger."]
    seq, _, sha256 = tagged_head.partition(":")
    if int(seq) > len(entries):
        return [
            f"The tag of {resource} names entry {seq}, but only {len(entries)} are stored: the tail was cut off, or "
            "its ledger is in another storage."
        ]
    if entries[int(seq) - 1].sha256 != sha256:
        return [
            f"Entry {seq} is not the one that the tag of {resource} names: the ledger was rewritten, or "
            "production belongs to another one."
        ]
    return []
