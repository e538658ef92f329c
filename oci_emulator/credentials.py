"""The only API key of the emulated tenancy, and a session token for it, stored in the data folder."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TENANCY = "ocid1.tenancy.oc1..emulator"
USER = "ocid1.user.oc1..emulator"
COMPARTMENT = "ocid1.compartment.oc1..emulator"
VAULT = "ocid1.vault.oc1..emulator"
KEY = "ocid1.key.oc1..emulator"
REGION = "us-ashburn-1"


@dataclass(frozen=True)
class Credentials:
    """A user's API key, and the configuration file that lets the SDK sign with it.

    `session_key_id` is the same key's id as ``oci session authenticate`` leaves it: profile SESSION of that file. OCI's
    token is a JWT that expires; this one is any text, and ends only when it is renewed. `control_token` allows orders
    to the control plane; it is not OCI's.
    """

    config_file: Path
    key_id: str
    session_key_id: str
    public_key: rsa.RSAPublicKey
    control_token: str

    def keys(self) -> dict[str, rsa.RSAPublicKey]:
        """Return the public key by the ids of the present credentials."""
        return dict.fromkeys((self.key_id, self.session_key_id), self.public_key)


def renew_credentials(folder: Path, what: str) -> Credentials:
    """Replace the `key` or the `token` in `folder`, and return the credentials that count from now on."""
    (folder / {"key": "key.pem", "token": "token"}[what]).unlink()
    return load_credentials(folder)


def load_credentials(folder: Path) -> Credentials:
    """Return the key in `folder`, generated on first use, and write the SDK's configuration beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    key_file = (folder / "key.pem").resolve()
    key = _read_key(key_file) if key_file.exists() else _generate_key(key_file)
    fingerprint = _fingerprint(key.public_key())
    config_file = folder.resolve() / "config"
    lines = ["[DEFAULT]", f"user={USER}", f"fingerprint={fingerprint}", f"tenancy={TENANCY}"]
    token_file, control_file = (_make_token(folder.resolve() / name) for name in ("token", "control_token"))
    lines += [f"region={REGION}", f"key_file={key_file}", "", "[SESSION]", f"security_token_file={token_file}", ""]
    write_private(config_file, "\n".join(lines).encode())
    token = token_file.read_text(encoding="utf-8")
    control = control_file.read_text(encoding="utf-8")
    return Credentials(config_file, f"{TENANCY}/{USER}/{fingerprint}", f"ST${token}", key.public_key(), control)


def _make_token(path: Path) -> Path:
    """Return the path of a token, generated on first use."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} does not contain an RSA key. Delete it; a new one will be generated.")
    return key


def _generate_key(path: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem)
    return key


def _fingerprint(key: rsa.RSAPublicKey) -> str:
    """Return OCI's fingerprint of a public key: the MD5 of its DER form, in pairs of digits."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically that only its owner can read."""
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
