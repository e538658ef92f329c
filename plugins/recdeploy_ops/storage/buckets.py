"""OCI Object Storage as a store: for production, where workers do not share a disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    KeyExistsError,
    KeyNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from recdeploy_ops.domain.remedies import ChangeSetting
from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.storage.keys import FOLDERS
from recdeploy_ops.storage.stores import StoredObject, Unfinished
from recdeploy_ops.storage.uploads import Uploads, md5_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from recdeploy_ops.oci_clients.sessions import OciSession

PAGE = 1000
CHUNK = 1 << 20
GONE = frozenset({"ObjectNotFound", "NoSuchUpload"})
RETAINED = "RetentionRuleViolation"


class BucketStore:
    """Objects below a prefix of one bucket.

    ``If-None-Match: *`` makes creation exclusive: of two writers exactly one wins.

    Args:
        uri: ``oci://bucket@namespace/prefix``.
        session: signs the requests.
    """

    def __init__(self, uri: str, session: OciSession) -> None:
        self.uri = uri.rstrip("/")
        match = re.fullmatch(r"oci://([^@/]+)@([^/]+)(?:/(.*))?", self.uri)
        if match is None:
            raise StorageError(f"{uri!r} is not a storage root of the form oci://bucket@namespace/prefix.")
        self._bucket, self._namespace = match[1], match[2]
        self._prefix = f"{match[3]}/" if match[3] else ""
        self._session = session

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        with self.open(key) as stream:
            return stream.read()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Stream the object; only errors of this stream become storage errors."""
        import urllib3.exceptions

        with self._calling("read", key):
            answer = self._client.get_object(self._namespace, self._bucket, self._name(key))
        try:
            yield cast("BinaryIO", answer.data.raw)
        except urllib3.exceptions.HTTPError:
            with self._calling("read", key):
                raise
        finally:
            answer.data.close()

    def list(self, prefix: str, *, start: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix``, ordered by key."""
        first: str | None = self._prefix + start if start else None
        while True:
            with self._calling("list", prefix):
                page = self._client.list_objects(
                    self._namespace,
                    self._bucket,
                    prefix=self._prefix + prefix,
                    limit=PAGE,
                    fields="name,size",
                    **({"start": first} if first else {}),
                ).data
            for listed in page.objects:
                yield StoredObject(listed.name.removeprefix(self._prefix), listed.size)
            first = page.next_start_with
            if not first:
                return

    def create(self, key: str, content: bytes) -> None:
        """Store ``content`` under a new key."""
        self._put(key, BytesIO(content), len(content))

    def upload(self, key: str, path: Path, sha256: str) -> None:
        """Store a file's content under a new key, read once."""
        with path.open("rb") as stream:
            self._put(key, stream, path.stat().st_size, sha256)

    def replace(self, key: str, content: bytes) -> None:
        """Overwrite."""
        with self._calling("write", key):
            self._client.put_object(self._namespace, self._bucket, self._name(key), content)

    def copy(self, source: str, target: str) -> bool:
        """Store ``source`` under the new key ``target`` as well, by way of a local temporary file."""
        with self.open(source) as stream, tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool, CHUNK)
            size = spool.tell()
            spool.seek(0)
            self._put(target, cast("BinaryIO", spool), size)
        return True

    def delete(self, key: str) -> None:
        """Remove an object, or nothing."""
        with suppress(KeyNotFoundError), self._calling("delete", key):
            self._client.delete_object(self._namespace, self._bucket, self._name(key))

    def find_unfinished(self, before: datetime) -> Sequence[Unfinished]:
        """Return the multipart uploads that began before a time and never finished."""
        import oci.pagination

        with self._calling("list the unfinished uploads of", ""):
            uploads = oci.pagination.list_call_get_all_results(
                self._client.list_multipart_uploads, self._namespace, self._bucket
            ).data
        stale = (upload for upload in uploads if self._is_ours(upload.object) and upload.time_created < before)
        return [Unfinished(upload.object, upload.upload_id) for upload in stale]

    def discard(self, unfinished: Unfinished) -> None:
        """Abort a multipart upload, or nothing."""
        with suppress(KeyNotFoundError), self._calling("abort the upload of", unfinished.name):
            self._client.abort_multipart_upload(self._namespace, self._bucket, unfinished.name, unfinished.upload_id)

    def _is_ours(self, name: str) -> bool:
        """Return whether an object is in a folder of this project; a bucket may have other objects, too."""
        return name.startswith(self._prefix) and name.removeprefix(self._prefix).startswith(FOLDERS)

    def free_bytes(self) -> None:
        """Return None: a bucket has no limit."""

    def check_writable(self) -> None:
        """Write and remove a small object."""
        self.replace("write-check", b"")
        self.delete("write-check")

    @property
    def _client(self) -> Any:
        return self._session.object_storage

    def _name(self, key: str) -> str:
        return self._prefix + key

    def _put(self, key: str, stream: BinaryIO, size: int, sha256: str | None = None) -> None:
        import oci.exceptions

        uploads = Uploads(self._client, self._namespace, self._bucket)
        try:
            with self._calling("write", key):
                try:
                    uploads.put(self._name(key), stream, size, sha256)
                except oci.exceptions.ServiceError as err:
                    if err.status == 412 or err.code == "NoSuchUpload":  # the latter: the answer to a commit was lost
                        raise KeyExistsError(key) from err
                    raise
        except KeyExistsError as err:
            stored = self._md5(key)
            if stored is None:
                raise StorageUnavailableError(
                    f"Object Storage refused to write {self.uri}/{key} because it exists, but it does not exist."
                ) from err
            stream.seek(0)
            if stored != md5_of(stream, size):
                raise

    def _md5(self, key: str) -> str | None:
        import oci.exceptions

        with self._calling("read", key):
            try:
                answer = self._client.head_object(self._namespace, self._bucket, self._name(key))
            except oci.exceptions.ServiceError as err:
                if err.status == 404:  # an answer to HEAD has no body, and so no code
                    return None
                raise
        return str(answer.headers.get("opc-multipart-md5") or answer.headers["content-md5"])

    @contextmanager
    def _calling(self, what: str, key: str) -> Iterator[None]:
        try:
            with calling(f"{what} {self.uri}/{key}"):
                yield
        except CloudRefusedError as err:
            if err.code in GONE:
                raise KeyNotFoundError(key) from err
            if err.code == RETAINED:
                raise StorageError(
                    f"{err.message} A retention rule of the bucket forbids replacing or deleting stored objects, and "
                    "a release replaces snapshots and pointers.",
                    ChangeSetting(
                        "Remove the rule in the OCI console (Object Storage, the bucket, Retention rules), or name a "
                        "bucket without one before the first release",
                        setting="storage",
                    ),
                ) from err
            raise StorageError(
                f"{err} Set 'storage' in include/recommender.yaml to a bucket that the OCI connection may write."
            ) from err
