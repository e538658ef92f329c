"""Measure what moves files: a local backup, a local upload, and an upload in parts to Object Storage.

    python -m benchmarks.copies --megabytes 2048

Prints one JSON object. Each part runs in a process of its own, so that its peak memory is its own; what is read comes
from the disk, not from the system's cache of it. Object Storage is the emulator, on this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import peak_mb, run_part
from oci_emulator.testing import running_emulator
from recdeploy_ops.storage.bundles import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.oci_clients.sessions import OciSession

FILES = 8
TRIES = 3  # of what waits for the disk: the fastest counts
CHUNK = 1 << 20
BUCKET = "shop"
LIVE, BACKUP = "artifacts/v1", "backups/v1"


def main() -> None:
    """Measure each part in a child process, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--where", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = PARTS[arguments.part](arguments.where) if arguments.part else measure(arguments.megabytes)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def measure(megabytes: int) -> dict[str, Any]:
    """Return the figures of each part, and their ratios to the rivals.

    Args:
        megabytes: of the files that are backed up, together; an upload takes an eighth of that.
    """
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name:
        for number in range(FILES):
            _write(Path(name, "store", LIVE, f"{number}.bin"), megabytes // FILES, number)
        _write(Path(name, "file"), megabytes // 8, FILES)
        parts = {part: run_part(__file__, part, name) for part in PARTS}
    return {"backup_mb": megabytes, "files": FILES, "upload_mb": megabytes // 8, **parts, "ratios": compare(parts)}


def compare(parts: dict[str, Any]) -> dict[str, float]:
    """Return the ratios to the rivals; memory is what an upload adds to that of the process."""
    ratios = {
        "backup_to_copytree": parts["backup"]["seconds"] / parts["copytree"]["seconds"],
        "one_pass_to_two": parts["upload in one pass"]["seconds"] / parts["upload in two passes"]["seconds"],
        "parts_to_whole_memory": _added_mb(parts["upload in parts"]) / _added_mb(parts["upload as a whole"]),
        "parts_to_whole_seconds": parts["upload in parts"]["seconds"] / parts["upload as a whole"]["seconds"],
    }
    return {name: round(value, 4) for name, value in ratios.items()}


def _added_mb(part: dict[str, float]) -> float:
    return part["peak_mb"] - part["before_mb"]


def measure_backup(folder: Path) -> dict[str, float]:
    """Back up as `backup_production` does: each object under a second key, a hard link."""
    from recdeploy_ops.storage.directories import DirectoryStore

    store = DirectoryStore((folder / "store").as_uri())
    keys = [found.key for found in store.list(f"{LIVE}/")]

    def back_up() -> None:
        second = [store.copy(key, key.replace(LIVE, BACKUP)) for key in keys]
        if any(second):
            raise RuntimeError(f"The file system of {folder} has no hard links: nothing to measure here.")

    return _timed(back_up)


def measure_copytree(folder: Path) -> dict[str, float]:
    """Back up as the guide does."""
    for path in (folder / "store" / LIVE).iterdir():
        _forget(path)
    figures = _timed(lambda: shutil.copytree(folder / "store" / LIVE, folder / "copied"))
    shutil.rmtree(folder / "copied")
    return figures


def measure_one_pass(folder: Path) -> dict[str, float]:
    """Store a file and compare its sha256 with the manifest's, reading it once."""
    from recdeploy_ops.storage.directories import DirectoryStore

    store, expected = DirectoryStore((folder / "store").as_uri()), sha256_of(folder / "file")

    def store_once_read() -> None:
        store.delete("file")
        _forget(folder / "file")
        store.upload("file", folder / "file", expected)

    return min((_timed(store_once_read) for _ in range(TRIES)), key=itemgetter("seconds"))


def measure_two_passes(folder: Path) -> dict[str, float]:
    """Read a file for its sha256, and read it again to store it."""
    source, copied = folder / "file", folder / "whole"
    expected = sha256_of(source)

    def store_twice_read() -> None:
        copied.unlink(missing_ok=True)
        _forget(source)
        if sha256_of(source) != expected:
            raise RuntimeError("the file has changed")
        _forget(source)  # as when it is larger than memory
        shutil.copyfile(source, copied)
        with copied.open("rb") as stream:
            os.fsync(stream.fileno())

    return min((_timed(store_twice_read) for _ in range(TRIES)), key=itemgetter("seconds"))


def measure_parts(folder: Path) -> dict[str, float]:
    """Upload a file to Object Storage as the product does: in parts, hashed on the way."""
    from recdeploy_ops.storage.buckets import BucketStore

    path, sha256 = folder / "file", sha256_of(folder / "file")

    def put(session: OciSession, namespace: str) -> None:
        BucketStore(f"oci://{BUCKET}@{namespace}", session).upload("file", path, sha256)

    return _with_bucket(folder / "cloud in parts", path, put)


def measure_whole(folder: Path) -> dict[str, float]:
    """Upload a file in the simplest way: read whole, hashed, and put at once."""
    path, sha256 = folder / "file", sha256_of(folder / "file")

    def put(session: OciSession, namespace: str) -> None:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RuntimeError("the file has changed")
        session.object_storage.put_object(namespace, BUCKET, "file", content)

    return _with_bucket(folder / "cloud", path, put)


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "backup": measure_backup,
    "copytree": measure_copytree,
    "upload in one pass": measure_one_pass,
    "upload in two passes": measure_two_passes,
    "upload in parts": measure_parts,
    "upload as a whole": measure_whole,
}


def _with_bucket(cloud: Path, path: Path, put: Callable[[OciSession, str], None]) -> dict[str, float]:
    """Measure an upload to an emulator of its own."""
    import oci

    from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession

    with running_emulator(cloud) as emulator:
        place = {"compartment_id": emulator.compartment_id, "project_id": "none", "service_endpoint": emulator.url}
        session = OciSession(OciProfile.from_fields({**emulator.config, **place}, source="the emulator"))
        bucket = oci.object_storage.models.CreateBucketDetails(name=BUCKET, compartment_id=emulator.compartment_id)
        session.object_storage.create_bucket(emulator.namespace, bucket)
        before = peak_mb()
        _forget(path)
        figures = _timed(lambda: put(session, emulator.namespace))
        stored = session.object_storage.head_object(emulator.namespace, BUCKET, "file").headers
    if int(stored["content-length"]) != path.stat().st_size:
        raise RuntimeError("the upload is not whole")
    return {**figures, "before_mb": before, "in_parts": int("opc-multipart-md5" in stored)}


def _timed(work: Callable[[], object]) -> dict[str, float]:
    started, used = time.perf_counter(), time.process_time()
    work()
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(time.process_time() - used, 3),
        "peak_mb": peak_mb(),
    }


def _write(path: Path, megabytes: int, seed: int) -> None:
    """Write a file whose content no file system can compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(seed)  # noqa: S311 - content, not a secret
    with path.open("wb") as stream:
        for _ in range(megabytes):
            stream.write(drawn.randbytes(CHUNK))
        stream.flush()
        os.fsync(stream.fileno())


def _forget(path: Path) -> None:
    """Make the system drop what it holds of a file in memory."""
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
