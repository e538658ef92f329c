"""Zips for the Model Catalog: packing gives equal bytes for equal files, unpacking is bounded."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.storage.bundles import CHUNK, MANIFEST, files_below, parse_manifest, sha256_of
from recdeploy_ops.storage.directories import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


ZIP_LEVEL = 1
UNIX, FILE_MODE = 3, 0o100644 << 16  # in every zip, on any system
# zipfile bounds their output by the input and the declared size. It unpacks a whole chunk of bzip2 or LZMA at once, so
# 2 kB of them can take gigabytes.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# Bounds that protect the disk: deflate reaches a ratio of 1032, our files one of about 10.
UNPACKED_BYTES, SMALL_BYTES, LARGEST_RATIO = 8 << 30, 64 << 20, 200
FILES = 20_000  # of files and folders, with those that only occur in other names
DEPTH = 20  # of folders in folders
MANIFEST_BYTES = 1 << 20  # ours lists six files
QUOTED = 10  # names in an error
# Of a file's name, and of its path in the zip: an object's name has at most 1,024 bytes, with the prefix.
NAME_BYTES, PATH_BYTES = 255, 900
# Of a file in a zip's directory: a fixed part, the path, and some room for extra fields.
ENTRY_BYTES = 46 + PATH_BYTES + 100
END_BYTES = 22 + 65_535 + 20 + 56  # the last records of a zip, with the longest comment
IN_ZIP64 = 0xFFFFFFFF  # instead of a size: it stands in the record for large zips
# What zipfile raises for a damaged or encrypted zip.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
)


def zip_artifact(folder: Path, target: Path) -> None:
    """Write the files of ``folder`` into a zip for the model catalog; equal files give equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=ZIP_LEVEL) as archive:
        for name, path in files_below(folder).items():
            large = path.stat().st_size > zipfile.ZIP64_LIMIT
            with path.open("rb") as source, archive.open(name, "w", force_zip64=large) as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            entry = archive.getinfo(name)  # its time is fixed: zipfile's own 1980-01-01
            entry.create_system, entry.external_attr = UNIX, FILE_MODE


def unzip_artifact(archive: Path, folder: Path) -> str:
    """Unpack a zip of `zip_artifact`, verify every file against the manifest, and return the digest.

    Args:
        archive: the zip, e.g. from the model catalog.
        folder: created here.

    Raises:
        IntegrityError: it is not such a zip, or a file is missing, not in the manifest, or differs from it.
    """
    names = unzip(archive, folder)
    if MANIFEST not in names:
        raise IntegrityError(f"{archive.name} is not an artifact of this project: it has {sorted(names)[:QUOTED]}.")
    size = (folder / MANIFEST).stat().st_size
    if size > MANIFEST_BYTES:
        raise IntegrityError(
            f"The {MANIFEST} in {archive.name} has {size:,} bytes; at most {MANIFEST_BYTES:,} are read."
        )
    manifest = parse_manifest(archive.name, (folder / MANIFEST).read_bytes())
    files = manifest.files
    hashes = {name: sha256_of(folder / name) for name in names if name != MANIFEST}
    differing = sorted(name for name in {*files, *hashes} if files.get(name) != hashes.get(name))
    if differing:
        first = ", ".join(shorten(repr(name), NAME_BYTES) for name in differing[:QUOTED])
        raise IntegrityError(f"{archive.name} does not match its manifest in {len(differing)} files: {first}.")
    return manifest.digest


def unzip(archive: Path, folder: Path) -> list[str]:
    """Unpack a zip from the model catalog into ``folder``, never outside it; return the file names.

    Nothing is written before the zip's directory is checked, and the written bytes are counted.

    Raises:
        IntegrityError: it is not a zip, or damaged; a name in it is unsafe or occurs twice; it has a link, too many
            files, a compression other than deflate, or would be too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _require_small_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _require_modest(archive, entries)
            for entry in entries:
                _require_plain(archive, entry)
            _require_distinct(archive, entries)
            files = [entry for entry in entries if not entry.is_dir()]
            for entry in files:
                _unpack(opened, entry, folder)
    except UNREADABLE as err:
        raise IntegrityError(f"{archive.name} is not a zip that can be unpacked: {err!r}") from err
    return [entry.filename for entry in files]


def _require_small_directory(archive: Path) -> None:
    """Refuse a zip whose directory is larger than that of as many files as are unpacked: zipfile reads it whole.

    Its size stands in the records at the end of the zip. Whatever looks like such a record counts.
    """
    with archive.open("rb") as stream:
        stream.seek(max(stream.seek(0, os.SEEK_END) - END_BYTES, 0))
        end = stream.read()
    sizes = []
    for signature, kind, offset in ((b"PK\5\6", "<I", 12), (b"PK\6\6", "<Q", 40)):
        at = end.find(signature)
        while at >= 0:
            if at + offset + struct.calcsize(kind) <= len(end):
                sizes.append(int(struct.unpack_from(kind, end, at + offset)[0]))
            at = end.find(signature, at + 1)
    largest = max((size for size in sizes if size != IN_ZIP64), default=0)
    if largest > FILES * ENTRY_BYTES:
        raise IntegrityError(
            f"The directory of {archive.name} has {largest:,} bytes, more than that of {FILES:,} files: it is not read."
        )


def _require_modest(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    if len(entries) > FILES:
        raise IntegrityError(f"{archive.name} has {len(entries):,} files: at most {FILES:,} are unpacked.")
    size, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if size > UNPACKED_BYTES or size > max(SMALL_BYTES, LARGEST_RATIO * packed):
        raise IntegrityError(
            f"{archive.name} has {packed:,} bytes and would have {size:,} unpacked: that is not an artifact of a "
            f"recommender. At most {UNPACKED_BYTES:,} bytes and {LARGEST_RATIO} times its size are unpacked."
        )


def _require_plain(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that is not a plain file or folder inside the zip's own folder."""
    what = f"{archive.name} has {entry.orig_filename[:NAME_BYTES]!r}"
    if not 0 <= entry.header_offset < archive.stat().st_size:
        raise IntegrityError(f"{what}, which does not begin in it.")
    if entry.compress_type not in METHODS:
        raise IntegrityError(f"{what}, compressed with method {entry.compress_type}: only stored and deflate are read.")
    if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise IntegrityError(f"{what}, which is a link or a special file.")
    fault = _find_fault(entry)
    if fault:
        raise IntegrityError(f"{what}, {fault}.")


def _find_fault(entry: zipfile.ZipInfo) -> str:
    """Return why an entry's name cannot be written on every system; empty if it can."""
    name = entry.filename.removesuffix("/")
    parts = name.split("/")
    if entry.orig_filename != entry.filename:  # zipfile cuts a name at NUL
        return "a name with a NUL, or with a second name"
    if name.startswith("/") or ".." in parts or "\\" in name:
        return "which leads out of its folder"
    if not name.isprintable():
        return "a name with a control character"
    if not {"", "."}.isdisjoint(parts):
        return "an empty name, or one with an empty part"
    if len(parts) > DEPTH or any(part.startswith(PARTIAL) for part in parts):
        return f"which is more than {DEPTH} folders deep, or named like a temporary file of the storage"
    if len(name.encode()) > PATH_BYTES or any(len(part.encode()) > NAME_BYTES for part in parts):
        return f"a name of more than {NAME_BYTES} bytes, or a path of more than {PATH_BYTES}"
    return ""


def _require_distinct(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse names that occur twice, or for both a file and a folder."""
    files = [entry.filename for entry in entries if not entry.is_dir()]
    folders = {entry.filename.removesuffix("/") for entry in entries if entry.is_dir()}
    folders |= {str(parent) for name in {*files, *folders} for parent in PurePosixPath(name).parents}
    if len(files) + len(folders) > FILES:
        raise IntegrityError(f"{archive.name} has {len(files) + len(folders):,} files and folders: at most {FILES:,}.")
    taken = set(folders)
    for name in files:
        if name in taken:
            how = "as a file and as a folder" if name in folders else "twice"
            raise IntegrityError(f"{archive.name} has {name!r} {how}.")
        taken.add(name)


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    if not target.resolve().is_relative_to(folder.resolve()):  # by a link that was in the folder before
        raise IntegrityError(f"{opened.filename} has {entry.filename!r}, which leads out of its folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with opened.open(entry) as source, target.open("xb") as sink:  # created, never overwritten
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename!r} is larger than the zip's directory says")
            sink.write(chunk)
