"""Signatures of the ledger's entries: an entry that was appended or rewritten without the key is noticed.

The sha256 in each entry shows what was edited, but anyone can compute it. A signature is an HMAC (RFC 2104) with
SHA-256 over the entry's other fields: only a holder of the key can make it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError, SettingsError
from recdeploy_ops.domain.remedies import ChangeSetting, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recdeploy_ops.domain.entries import Entry

METHOD = "hmac-sha256:"
LEAST_CHARACTERS = 32  # as many as `openssl rand -hex 16` prints
UNSIGNED_SETTING = "signing.unsigned_entries"
CONNECTION_SETTING = "signing.connection"
OLDER = ChangeSetting(
    "If the ledger is older than its key, and verify agreed with the tags, name its newest entry from before the key "
    "(make history)",
    setting=UNSIGNED_SETTING,
)
FORGED = Remedy("Find out who may write to the storage; the DAG recommender_adopt rebuilds the ledger from OCI")


@dataclass(frozen=True, repr=False)
class Seal:
    """Signs entries and checks signatures.

    Attributes:
        key: signs.
        former_keys: signed earlier entries.
        unsigned_entries: how many entries at the beginning were written before the ledger was signed.
    """

    key: bytes
    former_keys: tuple[bytes, ...] = ()
    unsigned_entries: int = 0

    def sign(self, entry: Entry) -> Entry:
        """Return the entry with its signature."""
        return replace(entry, signature=_signature(entry, self.key))

    def require_signed(self, entries: Iterable[Entry], *, after: Entry | None = None) -> None:
        """Check the signature of each entry, except those that were written before the ledger was signed.

        Args:
            entries: in their order.
            after: the entry before the first of them, already checked; None if they begin with the first entry of all.

        Raises:
            IntegrityError: an entry has no signature, or it was not made with one of the keys.
        """
        former = after
        for entry in entries:
            is_signed_before = former is not None and former.signature is not None
            former = entry
            if entry.signature is None and entry.seq <= self.unsigned_entries and not is_signed_before:
                continue
            if entry.signature is None:
                raise IntegrityError(
                    f"Ledger entry {entry.seq} ({entry.type}) is not signed: it was written without the ledger's key.",
                    FORGED if is_signed_before else OLDER,
                )
            expected = (_signature(entry, key) for key in (self.key, *self.former_keys))
            # As bytes: text outside ASCII cannot be compared in constant time.
            if not any(hmac.compare_digest(entry.signature.encode(), signature.encode()) for signature in expected):
                raise IntegrityError(
                    f"The signature of ledger entry {entry.seq} ({entry.type}) is not of the ledger's key: the entry "
                    "was edited, or written by somebody who does not have the key.",
                    Remedy(
                        "If the key was replaced, add the old one to former_passwords in the extra of its connection "
                        f"({CONNECTION_SETTING}); else find out who may write to the storage"
                    ),
                )


def seal_of(password: str | None, former: object, *, source: str, unsigned_entries: int = 0) -> Seal:
    """Return the seal of a connection.

    Args:
        password: of the connection.
        former: its extra ``former_passwords``, a list of texts; None if it has none.
        source: what the connection is called in errors, which never show a password.
        unsigned_entries: the setting.

    Raises:
        SettingsError: a password is missing or too short.
    """
    earlier = [] if former is None else former
    if not isinstance(earlier, list) or not all(isinstance(one, str) for one in (password or "", *earlier)):
        raise SettingsError(f"{source}: former_passwords in its extra is not a list of texts.")
    keys = [password or "", *earlier]
    if any(len(one) < LEAST_CHARACTERS for one in keys):
        raise SettingsError(
            f"{source} signs the ledger, but a password of it has fewer than {LEAST_CHARACTERS} characters.",
            Remedy("Take random ones, e.g. from: openssl rand -hex 32"),
        )
    signing, *others = (one.encode() for one in keys)
    return Seal(signing, tuple(others), unsigned_entries)


def require_unsigned(newest: Entry | None) -> None:
    """Refuse to append to a signed ledger without its key.

    Args:
        newest: the last entry; None if the ledger is empty.

    Raises:
        SettingsError: it is signed.
    """
    if newest is not None and newest.signature is not None:
        raise SettingsError(
            f"The ledger is signed since entry {newest.seq} or earlier, and the settings name no key.",
            ChangeSetting("Name the connection that has the key", setting=CONNECTION_SETTING),
        )


def _signature(entry: Entry, key: bytes) -> str:
    return METHOD + hmac.new(key, replace(entry, signature=None).encode(), hashlib.sha256).hexdigest()
