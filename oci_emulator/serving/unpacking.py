"""From a model artifact as uploaded to a folder that a model server can run in."""

import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

ARTIFACT_VERSION = "3.0"
_CONDA_FIELDS = ("INFERENCE_ENV_SLUG", "INFERENCE_ENV_TYPE", "INFERENCE_ENV_PATH", "INFERENCE_PYTHON_VERSION")
_CHUNK = 1024 * 1024


class ArtifactError(Exception):
    """The artifact cannot be deployed; the message says which part of it and why."""


@dataclass(frozen=True)
class ArtifactLimits:
    """What an artifact may become when unpacked."""

    total_bytes: int = 6 * 1024**3
    files: int = 20_000


def unpack(archive: Path, folder: Path, limits: ArtifactLimits = ArtifactLimits()) -> None:
    """Unpack `archive` into the new `folder` and check that it is a model artifact.

    Raises ArtifactError for what is no zip, for members that leave the folder or are no plain files, for too
    many or too large ones, and when score.py or runtime.yaml are not at the top level or not in order.
    """
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check_size(members, limits)
            for member in members:
                _check_member(member)
            for member in members:
                _extract(opened, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as err:
        raise ArtifactError(f"The model artifact is not a usable zip file: {err}") from err
    _check_runtime(folder)


def _check_size(members: list[zipfile.ZipInfo], limits: ArtifactLimits) -> None:
    if len(members) > limits.files:
        raise ArtifactError(f"The model artifact has {len(members)} files; at most {limits.files} are allowed.")
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise ArtifactError(
            f"The model artifact is {total} bytes when unpacked; at most {limits.total_bytes} are allowed."
        )


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[:1] or "\0" in name:
        raise ArtifactError(f"The model artifact's member {name!r} leaves the artifact's folder.")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArtifactError(f"The model artifact's member {name!r} is a link or a special file.")


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Opened for creation only: a second member of the same name must not replace the first.
    with opened.open(member) as source, target.open("xb") as destination:
        shutil.copyfileobj(source, destination, _CHUNK)


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
