"""Unpacks an uploaded model artifact into the folder of a model server."""

import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

ARTIFACT_VERSION = "3.0"
_CONDA_FIELDS = ("INFERENCE_ENV_SLUG", "INFERENCE_ENV_TYPE", "INFERENCE_ENV_PATH", "INFERENCE_PYTHON_VERSION")
_CHUNK = 1024 * 1024
# Not bzip2 and LZMA: zipfile unpacks all that a chunk of them contains, beyond any declared size.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NAME_BYTES, _PATH_BYTES = 255, 1024
# The errors of zipfile and of the file system for an archive that is damaged or encrypted.
_UNUSABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError),
    *(ValueError, KeyError, IndexError, OverflowError, OSError),
)


class ArtifactError(Exception):
    """The artifact cannot be deployed; the message says which part and why."""


@dataclass(frozen=True)
class ArtifactLimits:
    """Limits of an unpacked artifact: `ratio` is relative to the archive's size, above `small_bytes`."""

    total_bytes: int = 8 * 1024**3
    files: int = 20_000
    small_bytes: int = 64 * 1024**2
    ratio: int = 200


def unpack(archive: Path, folder: Path, limits: ArtifactLimits = ArtifactLimits()) -> None:
    """Unpack `archive` into the new `folder` and check that it is a model artifact.

    Raises ArtifactError for a file that is not a zip; for members that leave the folder, are not plain files, share a
    name or use a compression other than deflate; for too many or too large members; and if score.py or runtime.yaml is
    not at the top level, or runtime.yaml is invalid.
    """
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check_size(archive, members, limits)
            for member in members:
                _check_member(member)
            _check_names(members)
            for member in members:
                _extract(opened, member, folder)
    except _UNUSABLE as err:
        raise ArtifactError(f"The model artifact is not a usable zip file: {err}") from err
    _check_runtime(folder)


def _check_size(archive: Path, members: list[zipfile.ZipInfo], limits: ArtifactLimits) -> None:
    if len(members) > limits.files:
        raise ArtifactError(f"The model artifact has {len(members)} files; at most {limits.files} are allowed.")
    total = sum(member.file_size for member in members)
    most = min(limits.total_bytes, max(limits.small_bytes, limits.ratio * archive.stat().st_size))
    if total > most:
        raise ArtifactError(f"The model artifact is {total} bytes when unpacked; at most {most} are allowed.")


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename.removesuffix("/")
    shown, parts = member.orig_filename[:_NAME_BYTES], name.split("/")
    if member.compress_type not in _METHODS:
        raise ArtifactError(f"The model artifact's member {shown!r} is neither stored nor deflated.")
    if name.startswith("/") or ".." in parts or "\\" in name or member.orig_filename != member.filename:
        raise ArtifactError(f"The model artifact's member {shown!r} leaves the artifact's folder.")
    if "" in parts or "." in parts:
        raise ArtifactError(f"The model artifact's member {shown!r} has an empty name.")
    if len(name.encode()) > _PATH_BYTES or any(len(part.encode()) > _NAME_BYTES for part in parts):
        raise ArtifactError(f"The model artifact's member {shown!r}... has too long a name.")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArtifactError(f"The model artifact's member {shown!r} is a link or a special file.")


def _check_names(members: list[zipfile.ZipInfo]) -> None:
    files = [member.filename for member in members if not member.is_dir()]
    folders = {str(PurePosixPath(member.filename)) for member in members if member.is_dir()}
    folders.update(str(parent) for name in files for parent in PurePosixPath(name).parents)
    for name, count in Counter(files).items():
        if count > 1 or name in folders:
            raise ArtifactError(f"The model artifact's member {name!r} exists more than once.")


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with opened.open(member) as source, target.open("xb") as destination:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename!r} is larger than the archive's directory says")
            destination.write(chunk)


def _check_runtime(folder: Path) -> None:
    for name in ("score.py", "runtime.yaml"):
        if not (folder / name).is_file():
            raise ArtifactError(f"The model artifact has no {name} at its top level.")
    try:
        runtime = yaml.safe_load((folder / "runtime.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise ArtifactError(f"runtime.yaml cannot be parsed: {err}") from err
    if not isinstance(runtime, dict) or str(runtime.get("MODEL_ARTIFACT_VERSION")) != ARTIFACT_VERSION:
        raise ArtifactError(f"runtime.yaml has no MODEL_ARTIFACT_VERSION: '{ARTIFACT_VERSION}'.")
    deployment = runtime.get("MODEL_DEPLOYMENT")
    environment = deployment.get("INFERENCE_CONDA_ENV") if isinstance(deployment, dict) else None
    for field in _CONDA_FIELDS:
        if not isinstance(environment, dict) or not environment.get(field):
            raise ArtifactError(f"runtime.yaml has no MODEL_DEPLOYMENT.INFERENCE_CONDA_ENV.{field}.")
