"""Bundles: immutable, verified folders in storage, committed by a manifest that is written last.

A bundle is a key prefix with files and a ``manifest.json`` that lists the sha256 of each of them. Its
**digest** is the sha256 of that manifest, so it identifies the whole content.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.remedies import RunTask
from recdeploy_ops.storage.keys import bundle_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from recdeploy_ops.storage.stores import Store

MANIFEST = "manifest.json"
SIZES = "sizes"  # a manifest's fact, for files that are too large to be read each time
CHUNK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A committed folder in storage.

    Attributes:
        prefix: key prefix, without a trailing slash.
        digest: sha256 of ``manifest.json``, in hex.
        files: sha256 in hex by file name (names may have slashes).
        facts: the manifest without ``files``.
    """

    prefix: str
    digest: str
    files: Mapping[str, str]
    facts: Mapping[str, Any]

    def key(self, name: str) -> str:
        """Return the storage key of a file of this bundle."""
        return f"{self.prefix}/{name}"


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> str:
    """Write ``manifest.json`` over every file below ``folder`` and return its sha256.

    Args:
        folder: a local folder with the finished files.
        facts: plain values for the manifest beside ``files``; without a time or run id where equal content must
            give an equal digest.
    """
    files = {name: sha256_of(path) for name, path in files_below(folder).items() if name != MANIFEST}
    content = canonical_json({**facts, "files": files})
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def measure_files(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file below a folder, by its name; without the manifest."""
    return {name: path.stat().st_size for name, path in files_below(folder).items() if name != MANIFEST}


def files_below(folder: Path) -> dict[str, Path]:
    """Return every file below a folder by its relative name, with ``/`` on every system, in the order of names."""
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()))


def store_bundle(store: Store, parent: str, folder: Path) -> Bundle:
    """Upload a folder that has a manifest below ``parent/{first 16 digits of its digest}``.

    Running it again after a kill finishes the same bundle: equal content has an equal key.
    """
    content = (folder / MANIFEST).read_bytes()
    bundle = parse_manifest(bundle_prefix(parent, hashlib.sha256(content).hexdigest()), content)
    for name, sha256 in bundle.files.items():
        store.upload(bundle.key(name), folder / name, sha256)
    store.create(bundle.key(MANIFEST), content)
    return bundle


def discard_bundle(store: Store, parent: str, folder: Path) -> None:
    """Delete what `store_bundle` has stored of a folder before it failed; a committed bundle stays."""
    content = (folder / MANIFEST).read_bytes()
    bundle = parse_manifest(bundle_prefix(parent, hashlib.sha256(content).hexdigest()), content)
    if any(store.list(bundle.key(MANIFEST))):
        return
    for name in bundle.files:
        store.delete(bundle.key(name))


def open_bundle(store: Store, prefix: str, *, digest: str | None = None, made_by: str) -> Bundle:
    """Return the committed bundle under ``prefix``.

    Args:
        store: where it is.
        prefix: its key prefix.
        digest: the expected digest.
        made_by: the task that makes it, named in the error.

    Raises:
        MissingInputError: nothing is committed there.
        IntegrityError: the manifest is not the one that was recorded, or is not a manifest.
    """
    try:
        content = store.read(f"{prefix}/{MANIFEST}")
    except KeyNotFoundError as err:
        raise MissingInputError(f"{store.uri}/{prefix} is gone", task=made_by) from err
    bundle = parse_manifest(prefix, content)
    if digest is not None and bundle.digest != digest:
        raise IntegrityError(
            f"{store.uri}/{prefix}/{MANIFEST} has the sha256 {bundle.digest}, but {digest} was recorded: "
            "it was changed after it was written.",
            RunTask(task=made_by),
        )
    return bundle


def fetch_bundle(store: Store, bundle: Bundle, folder: Path, names: Iterable[str] | None = None) -> None:
    """Download files of a bundle into ``folder`` and verify each sha256.

    Args:
        store: where the bundle is.
        bundle: as returned by `open_bundle`.
        folder: created if missing.
        names: the files to download; by default all of them, and the manifest.

    Raises:
        IntegrityError: a file is gone or not the one in the manifest.
    """
    for name in bundle.files if names is None else names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as sink:
            _verify_file(store, bundle, name, sink)
    if names is None:
        (folder / MANIFEST).write_bytes(store.read(bundle.key(MANIFEST)))


def verify_bundle(store: Store, bundle: Bundle, names: Iterable[str] | None = None) -> None:
    """Read files of a bundle back and compare each sha256 with the manifest.

    Args:
        store: where the bundle is.
        bundle: as returned by `open_bundle`.
        names: the files to read; all of them by default.

    Raises:
        IntegrityError: a file is gone or was changed.
    """
    for name in bundle.files if names is None else names:
        _verify_file(store, bundle, name)


def _verify_file(store: Store, bundle: Bundle, name: str, sink: BinaryIO | None = None) -> None:
    """Read a file of a bundle, into a sink if given, and compare its sha256 with the manifest."""
    expected = bundle.files[name]
    try:
        with store.open(bundle.key(name)) as source:
            sha256 = _copy_hashed(source, sink)
    except KeyNotFoundError as err:
        raise IntegrityError(f"{store.uri}/{bundle.key(name)} is listed in its manifest but is gone.") from err
    if sha256 != expected:
        raise IntegrityError(f"{store.uri}/{bundle.key(name)} has the sha256 {sha256}, its manifest says {expected}.")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    r"""Return the canonical JSON text of a value: sorted keys, indented by one, UTF-8, no NaN.

    A lone surrogate, which UTF-8 cannot carry, is escaped as in JSON, e.g. ``\ud800``, so that any answer of an
    endpoint can be stored.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode(errors="backslashreplace") + b"\n"


def parse_manifest(prefix: str, content: bytes) -> Bundle:
    """Return the bundle that a manifest describes.

    Raises:
        IntegrityError: the bytes are not a manifest, or a name in it leads out of the bundle.
    """
    try:
        facts = json.loads(content)
        files = facts.pop("files")
        if not all(_is_file(name, sha256) for name, sha256 in files.items()):
            raise ValueError("a name in it is unsafe, or has no sha256")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise IntegrityError(f"{prefix}/{MANIFEST} is not a manifest: {content[:120]!r} ({err!r}).") from err
    return Bundle(prefix, hashlib.sha256(content).hexdigest(), files, facts)


def _is_file(name: str, sha256: object) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and isinstance(sha256, str)


def _copy_hashed(source: BinaryIO, sink: BinaryIO | None) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        if sink:
            sink.write(chunk)
    return digest.hexdigest()
