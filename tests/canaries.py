"""Values that nobody may find anywhere but where a test planted them, and the search for them."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pytest

PASS_PHRASE = "canary-Pass-Phrase-7f3a91"
PASSWORD = "canary-Database-Password-b20c55"
LONGEST_ARCHIVE = 1 << 28


@dataclass(frozen=True)
class Canaries:
    """Secrets by name, and the forms in which each could be found.

    Attributes:
        forms: bytes by the name of the secret.
    """

    forms: Mapping[str, tuple[bytes, ...]]

    @classmethod
    def of(cls, **secrets: str) -> Canaries:
        """Return the canaries for these secrets; of a private key each line is one."""
        return cls({name: tuple(_forms(text)) for name, text in secrets.items()})

    def found_in(self, content: bytes) -> set[str]:
        """Return the names of the secrets that bytes hold, also those in a ZIP archive."""
        found = {name for name, forms in self.forms.items() if any(form in content for form in forms)}
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    found |= self.found_in(archive.read(name))
        return found

    def found_below(self, folder: Path, *, without: Iterable[Path] = ()) -> dict[str, set[str]]:
        """Return the names of the secrets in each file below a folder, also in its name; only files that hold any."""
        left_out = tuple(without)
        seen = {}
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or any(path.is_relative_to(other) for other in left_out):
                continue
            found = self.found_in(path.read_bytes()) | self.found_in(str(path).encode())
            if found:
                seen[str(path.relative_to(folder))] = found
        return seen


def encrypted(pem: bytes) -> str:
    """Return a private key encrypted with `PASS_PHRASE`, as PEM."""
    key = serialization.load_pem_private_key(pem, None)
    encryption = serialization.BestAvailableEncryption(PASS_PHRASE.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def _forms(secret: str) -> Iterator[bytes]:
    lines = [line for line in secret.splitlines() if line and not line.startswith("-----") and ":" not in line]
    for line in lines:
        yield line.encode()
        yield base64.b64encode(line.encode()).rstrip(b"=")[:-2]  # the last digits depend on what follows


@dataclass
class Children:
    """What other processes of this machine could read about the children of this process.

    Attributes:
        environments: of each, as it was given and as the system shows it while it runs.
        commands: of each, likewise.
    """

    environments: list[bytes] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return each command with what can be read about it."""
        return [
            (command, command + b"\0" + seen) for command, seen in zip(self.commands, self.environments, strict=True)
        ]


@contextmanager
def observed_children(monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    """Read environment and command line of each child process from the system as it begins, while the block lasts."""
    seen = Children()

    class Observed(subprocess.Popen[Any]):
        def __init__(self, args: Any, *others: Any, **options: Any) -> None:
            given = options.get("env")
            super().__init__(args, *others, **options)  # returns once the program runs
            variables = "\0".join(f"{name}={value}" for name, value in (os.environ if given is None else given).items())
            seen.environments += [variables.encode(), _read(self.pid, "environ")]
            seen.commands += [os.fsencode(str(args)), _read(self.pid, "cmdline")]

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Observed)
        yield seen


def environment_of(pid: int) -> bytes:
    """Return the environment of a process as the system shows it; empty if it has ended."""
    return _read(pid, "environ")


def _read(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""
