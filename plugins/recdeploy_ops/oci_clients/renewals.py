"""Sign with keys and session tokens that another program renews in their files; imported only to make a signer."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oci.exceptions
import oci.signer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from oci.auth.signers import SecurityTokenSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)

HEADERS = ["date", "(request-target)", "host"]
BODY_HEADERS = ["content-length", "content-type", "x-content-sha256"]
UNUSABLE = (OSError, ValueError, oci.exceptions.InvalidPrivateKey, oci.exceptions.MissingPrivateKeyPassphrase)


class RenewedSigner(SecurityTokenSigner):  # type: ignore[misc] # the SDK has no types
    """Signs requests, and reads its files again once they have changed.

    A process can live longer than a session token: a triggerer, a notebook's kernel, a training of hours. While a
    renewed file cannot be read, because it is half written, the former key and token sign.

    With this base class the SDK's clients need no user and no key in their config.

    Args:
        files: that are renewed.
        read: returns the key's id and the private key.
        first_id: used in place of the key's id until a file changes.
    """

    def __init__(self, files: Sequence[Path], read: Callable[[], tuple[str, Any]], first_id: str | None = None) -> None:
        self._files, self._read = files, read
        self._lock = threading.Lock()
        self._seen = self._look()
        key_id, key = read()
        self.create_signers(first_id or key_id, key, HEADERS, BODY_HEADERS)

    def __call__(self, request: Any, enforce_content_headers: bool = True) -> Any:
        """Sign a request, with what the files have now."""
        self._renew()
        return super().__call__(request, enforce_content_headers)

    def _renew(self) -> None:
        with self._lock:
            seen = self._look()
            if seen == self._seen:
                return
            names = " and ".join(map(str, self._files))
            try:
                key_id, key = self._read()
            except UNUSABLE as err:
                log.warning("%s changed and cannot be read; signing with what was read before: %s", names, err)
                return
            self._seen = seen
            for signer in (self._basic_signer, self._body_signer):
                signer.reset_signer(key_id, key)
            log.info("%s changed and was read again.", names)

    def _look(self) -> list[tuple[int, int, int] | None]:
        """Return time, size and inode of each file; None for one that does not exist."""
        return [_status(file) for file in self._files]


def sign_by_key_file(key: Mapping[str, str]) -> RenewedSigner:
    """Return the signer of an API key in a file; a renewed key's fingerprint follows from the key.

    Args:
        key: ``tenancy``, ``user``, ``fingerprint``, ``key_file``, and ``pass_phrase`` if it has one.
    """
    file = Path(key["key_file"]).expanduser()
    owner = f"{key['tenancy']}/{key['user']}"

    def read() -> tuple[str, Any]:
        loaded = oci.signer.load_private_key_from_file(str(file), key.get("pass_phrase"))
        return f"{owner}/{fingerprint_of(loaded)}", loaded

    return RenewedSigner([file], read, f"{owner}/{key['fingerprint']}")


def sign_by_token(key: Mapping[str, str]) -> RenewedSigner:
    """Return the signer of a session token.

    Args:
        key: ``security_token_file``, ``key_file``, and ``pass_phrase`` if the key has one.
    """
    token, file = (Path(key[name]).expanduser() for name in ("security_token_file", "key_file"))

    def read() -> tuple[str, Any]:
        loaded = oci.signer.load_private_key_from_file(str(file), key.get("pass_phrase"))
        return f"ST${token.read_text(encoding='utf-8').strip()}", loaded

    return RenewedSigner([token, file], read)


def fingerprint_of(private_key: Any) -> str:
    """Return OCI's fingerprint of a key: the MD5 of its public part (DER), in pairs of digits."""
    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))


def _status(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
