"""Zips of the Model Catalog: packed so that equal files give equal bytes, unpacked within bounds."""

from __future__ import annotations

import lzma
import shutil
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.storage.bundles import CHUNK, MANIFEST, files_below, parse_manifest, sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


ZIP_LEVEL = 1
UNIX, FILE_MODE = 3, 0o100644 << 16  # in every zip, wherever it is written
# What is unpacked may fill no disk: deflate makes at most 1/1032 of anything, our files about a tenth of themselves.
UNPACKED_BYTES, SMALL_BYTES, LARGEST_RATIO = 8 << 30, 64 << 20, 200
# What zipfile and the file system say of a zip that is damaged, encrypted, or has names that exclude each other.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    RuntimeError,
    ValueError,
    KeyError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def zip_artifact(folder: Path, target: Path) -> None:
    """Write the files of ``folder`` into the zip that the model catalog takes; equal files give equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=ZIP_LEVEL) as archive:
        for name, path in files_below(folder).items():
            large = path.stat().st_size > zipfile.ZIP64_LIMIT
            with path.open("rb") as source, archive.open(name, "w", force_zip64=large) as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            entry = archive.getinfo(name)  # its time is fixed: zipfile's own 1980-01-01
            entry.create_system, entry.external_attr = UNIX, FILE_MODE


def unzip_artifact(archive: Path, folder: Path) -> str:
    """Unpack what `zip_artifact` packed, verify every file against the manifest, and return the digest.

    Args:
        archive: the zip, e.g. from the model catalog.
        folder: made here.

    Raises:
        IntegrityError: it is not such a zip, a file is missing, too many, or not the one in the manifest.
    """
    names = unzip(archive, folder)
    if MANIFEST not in names:
        raise IntegrityError(f"{archive.name} is not an artifact of ours: it holds {sorted(names)[:10]}.")
    manifest = parse_manifest(archive.name, (folder / MANIFEST).read_bytes())
    files = manifest.files
    found = {name: sha256_of(folder / name) for name in names if name != MANIFEST}
    wrong = sorted(name for name in {*files, *found} if files.get(name) != found.get(name))
    if wrong:
        raise IntegrityError(f"{archive.name} does not match its manifest: {', '.join(wrong)}.")
    return manifest.digest


def unzip(archive: Path, folder: Path) -> list[str]:
    """Unpack a zip from the model catalog, none of whose names may lead out of ``folder``; return the file names.

    Raises:
        IntegrityError: it is not a zip, or damaged; a name in it is unsafe or occurs twice; it would be too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            _require_modest(archive, entries)
            for entry in entries:
                _unpack(opened, entry, folder)
    except UNREADABLE as err:
        raise IntegrityError(f"{archive.name} is not a zip that can be unpacked: {err!r}") from err
    return [entry.filename for entry in entries]


def _require_modest(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    size, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if size > UNPACKED_BYTES or size > max(SMALL_BYTES, LARGEST_RATIO * packed):
        raise IntegrityError(
            f"{archive.name} has {packed:,} bytes and would be {size:,} when it is unpacked: that is not an artifact "
            f"of a recommender. At most {UNPACKED_BYTES:,} bytes and {LARGEST_RATIO} times its size are unpacked."
        )


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise IntegrityError(f"{opened.filename} holds {entry.filename!r}, which leads out of its folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Created, never overwritten: a name that stands there twice is refused.
    with opened.open(entry) as source, target.open("xb") as sink:
        left = entry.file_size
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename!r} is larger than the zip's directory says")
            sink.write(chunk)
