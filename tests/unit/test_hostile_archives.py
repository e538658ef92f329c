"""Archives of unknown origin: the product rejects what the emulator rejects, and what cannot be stored."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import stat
import tracemalloc
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from oci_emulator.serving.unpacking import ArtifactError, unpack
from recdeploy_ops.artifacts.archives import FILES, unzip, unzip_artifact
from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNTIME = b"""
MODEL_ARTIFACT_VERSION: '3.0'
MODEL_DEPLOYMENT:
  INFERENCE_CONDA_ENV:
    INFERENCE_ENV_SLUG: slug
    INFERENCE_ENV_TYPE: published
    INFERENCE_ENV_PATH: oci://bucket@namespace/path
    INFERENCE_PYTHON_VERSION: '3.11'
"""
PLAIN = (("score.py", b"x"), ("runtime.yaml", RUNTIME))
DECLARED, UNPACKED = 1000, 100 << 20
MEMORY = 48 << 20  # zipfile's own records of 20,000 members take about 30 MB


def entry(name: str, *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x" * len(name.encode()))
    member.filename = name  # the constructor would correct it
    member.external_attr, member.compress_type = mode << 16, method
    return member


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as opened:
        warnings.simplefilter("ignore")  # about names that occur twice
        for name, content in (*PLAIN, *members):
            opened.writestr(name, content)
    return sink.getvalue()


def named(*names: str) -> bytes:
    return archive(*((entry(name), b"") for name in names))


def renamed(name: bytes, new: bytes) -> bytes:
    """Return an archive with a name that no library writes; both names have the same length."""
    assert len(name) == len(new)
    return archive((name.decode(), b"")).replace(name, new)


def liar(method: int, packed: bytes) -> bytes:
    """Return an archive that declares 1,000 bytes for a member and unpacks to 100 MB."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as opened:
        for name, plain in PLAIN:
            opened.writestr(name, plain)
        opened.writestr(entry("big", method=zipfile.ZIP_STORED), packed)
    content = sink.getvalue()
    at = content.rindex(b"PK\x01\x02")
    at_local = content.index(b"big") - 30
    changed = bytearray(content)
    for offset in (at + 10, at_local + 8):
        changed[offset : offset + 2] = method.to_bytes(2, "little")
    for offset in (at + 24, at_local + 22):
        changed[offset : offset + 4] = DECLARED.to_bytes(4, "little")
    return bytes(changed)


def lzma_of(content: bytes) -> bytes:
    """Return LZMA as zip files hold it: the version, the size of the properties, the properties, the stream."""
    alone = lzma.compress(content, lzma.FORMAT_ALONE)
    return b"\x09\x04" + (5).to_bytes(2, "little") + alone[:5] + alone[13:]


def damaged(change: Callable[[bytearray], Any]) -> bytes:
    content = bytearray(archive(("big", bytes(range(256)) * 40)))
    change(content)
    return bytes(content)


def set_flag(content: bytearray) -> None:
    """Mark every member as encrypted."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1


def shrink(content: bytearray) -> None:
    """Declare a member as smaller than it is."""
    size = len(bytes(range(256)) * 40).to_bytes(4, "little")
    while size in content:
        at = content.index(size)
        content[at : at + 4] = (10).to_bytes(4, "little")


def move_far(content: bytearray) -> None:
    """Let the last member begin after the end of the archive."""
    at = content.rindex(b"PK\x01\x02")
    content[at + 42 : at + 46] = (0x7FFFFFFF).to_bytes(4, "little")


def overwrite(content: bytearray) -> None:
    at = content.index(b"big") + 10
    content[at : at + 40] = b"\xff" * 40


HOSTILE: dict[str, Callable[[], bytes]] = {
    "not a zip": lambda: b"no zip",
    "empty": lambda: b"",
    "cut off": lambda: archive()[:-30],
    "without its first byte": lambda: archive()[1:],
    "bzip2 that lies": lambda: liar(zipfile.ZIP_BZIP2, bz2.compress(bytes(UNPACKED))),
    "lzma that lies": lambda: liar(zipfile.ZIP_LZMA, lzma_of(bytes(UNPACKED))),
    "bzip2": lambda: archive((entry("a", method=zipfile.ZIP_BZIP2), b"x")),
    "lzma": lambda: archive((entry("a", method=zipfile.ZIP_LZMA), b"x")),
    "an unknown method": lambda: liar(99, b"x"),
    "deflate that lies": lambda: damaged(shrink),
    "a damaged stream": lambda: damaged(overwrite),
    "encrypted": lambda: damaged(set_flag),
    "a member after the end": lambda: damaged(move_far),
    "a bomb": lambda: archive(("zeros", bytes(70 << 20))),
    "too many files": lambda: named(*(f"f{number}" for number in range(FILES))),
    "too many folders": lambda: named(*(f"f{number}/" for number in range(FILES))),
    "out of the folder": lambda: named("../x"),
    "a folder out of the folder": lambda: named("../x/"),
    "out of a folder and of its parent": lambda: named("a/../../x"),
    "absolute": lambda: named("/etc/x"),
    "a backslash": lambda: named("..\\x"),
    "a name of 300 characters": lambda: named("x" * 300),
    "a name of 256 bytes": lambda: named("é" * 128),
    "a folder's name of 300 characters": lambda: named(f"{'x' * 300}/y"),
    "a path of 1,025 bytes": lambda: named("/".join(["x" * 99] * 10 + ["y" * 25])),
    "an empty name": lambda: named(""),
    "a slash": lambda: named("/"),
    "an empty part": lambda: named("a//b"),
    "a dot": lambda: named("."),
    "a part that is a dot": lambda: named("a/./b"),
    "a NUL": lambda: renamed(b"nul-here", b"nul\0here"),
    "a NUL that hides another score.py": lambda: renamed(b"score.py-hidden", b"score.py\0hidden"),
    "bytes that are not UTF-8": lambda: renamed("naïve".encode(), b"na\xff\xfeve"),
    "a name twice": lambda: named("score.py"),
    "a file and a folder of one name": lambda: named("a", "a/b"),
    "a folder and a file of one name": lambda: named("a/b", "a"),
    "an empty folder and a file of one name": lambda: named("a/", "a"),
    "a file below score.py": lambda: named("score.py/x"),
    "a link": lambda: archive((entry("a", mode=stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "a pipe": lambda: archive((entry("a", mode=stat.S_IFIFO | 0o644), b"")),
    "a device": lambda: archive((entry("a", mode=stat.S_IFCHR | 0o644), b"")),
}
# What the product says about some of them.
MESSAGES = {
    "not a zip": "is not a zip",
    "deflate that lies": "is not a zip",
    "a damaged stream": "is not a zip",
    "encrypted": "is not a zip",
    "a bomb": "that is not an artifact",
    "out of the folder": "which leads out",
    "a name twice": "'score.py' twice",
    "a file below score.py": "as a file and as a folder",
}
# OCI deploys these, but they could not be stored, or would mislead a reader of a log or a terminal.
NOT_STORED: dict[str, Callable[[], bytes]] = {
    "a path of 901 bytes": lambda: named("/".join(["x" * 99] * 9 + ["y"])),
    "a line break": lambda: named("a\nb"),
    "a control character": lambda: named("a\x1b[2Jb"),
    "a right-to-left override": lambda: named("a\u202eb"),
    "21 folders in each other": lambda: named("/".join("a" * 22)),
    "folders that only occur in names": lambda: named(*(f"{n}/{n}/{n}/{n}/x" for n in range(FILES // 5 + 1))),
    "a temporary file of the storage": lambda: named("a/.partial-x"),
}
HARMLESS: dict[str, Callable[[], bytes]] = {
    "plain files": archive,
    "a stored file": lambda: archive((entry("a", method=zipfile.ZIP_STORED), b"x")),
    "a folder": lambda: named("a/", "a/b"),
    "a name of 255 bytes": lambda: named("x" * 255),
    "a path of 900 bytes": lambda: named("/".join(["x" * 99] * 9)),
    "names that differ in case": lambda: named("a", "A"),
    "two dots in a name": lambda: named("a..b", "..c"),
    "much that is small": lambda: archive(("zeros", bytes(10 << 20))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_rejected_by_both_before_it_takes_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(HOSTILE[name]())
    tracemalloc.start()

    with pytest.raises(IntegrityError, match=rf"a\.zip.*{MESSAGES.get(name, '')}"):
        unzip(path, tmp_path / "product")
    with pytest.raises(ArtifactError, match="model artifact"):
        unpack(path, tmp_path / "emulator")

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY
    assert [file for file in tmp_path.iterdir() if file.is_file()] == [path]


@pytest.mark.parametrize("name", NOT_STORED)
def test_an_archive_that_cannot_be_stored_is_refused_by_the_product_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(NOT_STORED[name]())

    with pytest.raises(IntegrityError, match=r"a\.zip"):
        unzip(path, tmp_path / "product")
    unpack(path, tmp_path / "emulator")


def with_directory_of(size: int) -> bytes:
    """Return an archive whose last record says that its directory has this size."""
    content = bytearray(archive())
    content[-10:-6] = size.to_bytes(4, "little")
    return bytes(content)


def with_large_directory_of(size: int) -> bytes:
    """Return an archive with the record of a large zip before its last record."""
    content = archive()
    record = b"PK\6\6" + bytes(36) + size.to_bytes(8, "little") + bytes(8)
    locator = b"PK\6\7" + bytes(16)
    return content[:-22] + record + locator + content[-22:]


@pytest.mark.parametrize("make", [with_directory_of, with_large_directory_of])
def test_a_directory_larger_than_that_of_allowed_files_is_not_read(
    tmp_path: Path, make: Callable[[int], bytes]
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(make(100_000_000))

    with pytest.raises(IntegrityError, match=r"The directory of a\.zip has 100,000,000 bytes.*it is not read"):
        unzip(path, tmp_path / "product")


def test_a_manifest_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive(("manifest.json", b"[" + b"{}," * 400_000 + b"{}]")))

    with pytest.raises(IntegrityError, match=r"The manifest\.json in a\.zip has 1,200,004 bytes"):
        unzip_artifact(path, tmp_path / "product")


def test_an_error_about_a_manifest_is_one_short_line(tmp_path: Path) -> None:
    names = ["x\n2026-11-29 INFO v50 was promoted", *(f"n{number}" for number in range(5_000))]
    path = tmp_path / "a.zip"
    path.write_bytes(archive(("manifest.json", json.dumps({"files": dict.fromkeys(names, "0")}).encode())))

    with pytest.raises(IntegrityError, match=r"does not match its manifest in 5003 files: ") as caught:
        unzip_artifact(path, tmp_path / "product")

    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 3_000


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_archive_is_unpacked_to_the_same_files_by_both(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(HARMLESS[name]())

    names = unzip(path, tmp_path / "product")
    unpack(path, tmp_path / "emulator")

    assert {"score.py", "runtime.yaml"} <= set(names)
    for file in names:
        assert (tmp_path / "product" / file).read_bytes() == (tmp_path / "emulator" / file).read_bytes()
