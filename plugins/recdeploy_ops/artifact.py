"""The serving artifact: template, recommendations and fallback become a verified, deterministic folder and zip."""

from __future__ import annotations

import json
import lzma
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NoReturn

from recdeploy_ops.bundles import CHUNK, MANIFEST, files_below, parse_manifest, sha256_of, write_manifest
from recdeploy_ops.domain.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recdeploy_ops.settings import Settings

TEMPLATE = Path(__file__).parents[2] / "include" / "score_template"
FORMAT = 1  # of the files; score.py reads this one only
DATABASE = "recommendations.sqlite"
FALLBACK = "new_user_fallback.pkl"
NEW_USERS = "new_users.csv"
PICKLE_PROTOCOL = 4
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
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

DRIVER = """
import importlib.util, json, sys
answers, sys.stdout = sys.stdout, sys.stderr
requests = json.load(sys.stdin)
spec = importlib.util.spec_from_file_location("score", "score.py")
score = importlib.util.module_from_spec(spec)
spec.loader.exec_module(score)
json.dump([score.predict(request) for request in requests], answers, allow_nan=False)
"""

Ranking = list[tuple[str, float]]


def build_artifact(
    results_folder: Path,
    extract_folder: Path,
    folder: Path,
    *,
    settings: Settings,
    version: int,
    top_k: int,
) -> str:
    """Write what a model deployment serves into ``folder``; equal input gives equal bytes.

    Args:
        results_folder: the operator's ``recommendations.csv``, and ``new_users.csv`` if it wrote one.
        extract_folder: ``users.parquet``, ``items.parquet`` and ``interactions.parquet`` it was trained on.
        folder: empty, or made here.
        settings: name the project, the columns and the conda environment.
        version: of the model.
        top_k: length of a list when the request does not say.

    Returns:
        The digest: sha256 of ``manifest.json``.

    Raises:
        TrainingFailedError: the operator's files are missing, or cannot be served.
        StorageError: ``folder`` holds something already.
    """
    from recdeploy_ops import served_lists  # pyarrow and pandas: only who builds needs them

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StorageError(f"{folder} is not empty: an artifact is built in a new folder.")
    environment = settings.serving.conda_environment.model_dump()
    quoted = {name: json.dumps(value) for name, value in environment.items()}
    shutil.copyfile(TEMPLATE / "score.py", folder / "score.py")
    _fill("runtime.yaml", folder, quoted)
    _fill("README.md", folder, {"project": settings.project_name, "version": str(version)})
    popular = served_lists.write_lists(results_folder, extract_folder, folder / DATABASE, settings.source)
    source = NEW_USERS
    fallback = served_lists.read_new_users(results_folder / NEW_USERS, settings.source, top_k)
    if fallback is None:
        source = "popularity"
        fallback = served_lists.rank_popular_items(popular, extract_folder, settings.source, top_k)
    write_fallback(folder, fallback)
    facts = {
        "format": FORMAT,
        "project": settings.project_name,
        "version": version,
        "top_k": top_k,
        "fallback": source,
    }
    return write_manifest(folder, facts)


def write_fallback(folder: Path, ranking: Ranking) -> None:
    """Write ``new_user_fallback.pkl``: a list of ``[product_id, rating]``, best first, and nothing else."""
    rows = [[item, rating] for item, rating in ranking]
    (folder / FALLBACK).write_bytes(pickle.dumps(rows, protocol=PICKLE_PROTOCOL))


def read_fallback(folder: Path) -> Ranking:
    """Return the list for new users of an artifact.

    Raises:
        IntegrityError: the file names a class, or is no such list.
    """
    try:
        with (folder / FALLBACK).open("rb") as stream:
            return [(str(item), float(rating)) for item, rating in _PlainUnpickler(stream).load()]
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError) as err:
        raise IntegrityError(f"{folder / FALLBACK} is not a list of products and ratings: {err}") from err


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
        IntegrityError: it is no such zip, a file is missing, too many, or not the one in the manifest.
    """
    names = unzip(archive, folder)
    if MANIFEST not in names:
        raise IntegrityError(f"{archive.name} is no artifact of ours: it holds {sorted(names)[:10]}.")
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
        IntegrityError: it is no zip, or damaged; a name in it is unsafe or stands there twice; it would be too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            _require_modest(archive, entries)
            for entry in entries:
                _unpack(opened, entry, folder)
    except UNREADABLE as err:
        raise IntegrityError(f"{archive.name} is no zip that can be unpacked: {err!r}") from err
    return [entry.filename for entry in entries]


def _require_modest(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    size, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if size > UNPACKED_BYTES or size > max(SMALL_BYTES, LARGEST_RATIO * packed):
        raise IntegrityError(
            f"{archive.name} has {packed:,} bytes and would be {size:,} when it is unpacked: that is no artifact of a "
            f"recommender. At most {UNPACKED_BYTES:,} bytes and {LARGEST_RATIO} times its size are unpacked."
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


def load_in_clean_process(folder: Path, requests: Sequence[object], *, timeout_seconds: float = 300) -> list[Any]:
    """Return what the artifact's ``score.py`` answers, in a Python process of its own.

    The process is isolated, as far from ours as OCI's server is: no environment variables, no installed
    packages, only the standard library.

    Args:
        folder: the artifact.
        requests: JSON values.
        timeout_seconds: for loading and answering all of them.

    Raises:
        IntegrityError: it does not load, does not answer, or not in time; with the child's traceback.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", DRIVER],
            input=json.dumps(requests),
            capture_output=True,
            encoding="utf-8",
            cwd=folder,
            env=environment,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise IntegrityError(
            f"score.py in {folder} has not answered {len(requests)} requests in {timeout_seconds:g} s."
        ) from err
    if child.returncode:
        raise IntegrityError(f"score.py in {folder} does not work:\n{child.stderr.strip()[-4000:]}")
    answers: list[Any] = json.loads(child.stdout)
    return answers


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _fill(name: str, folder: Path, values: dict[str, str]) -> None:
    text = Template((TEMPLATE / name).read_text(encoding="utf-8")).substitute(values)
    (folder / name).write_text(text, encoding="utf-8")
