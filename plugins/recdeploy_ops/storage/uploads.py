"""Uploads to a bucket in one pass: content is read once and hashed meanwhile, in bounded memory.

An object of up to `SINGLE_BYTES` is put at once, a larger one in parts (OCI: at most 10,000, each but the last of at
least 10 MiB). Object Storage compares each body with the MD5 that is sent with it.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

SINGLE_BYTES = 64 << 20
PART_BYTES = 32 << 20


class Uploads:
    """Writes objects of one bucket, each only if its name is free.

    Args:
        client: the SDK's Object Storage client.
        namespace: of the tenancy.
        bucket: name.
    """

    def __init__(self, client: Any, namespace: str, bucket: str) -> None:
        self._client = client
        self._bucket = (namespace, bucket)

    def put(self, name: str, stream: BinaryIO, size: int, sha256: str | None = None) -> None:
        """Write an object.

        Args:
            name: of the object.
            stream: its content, at the start.
            size: in bytes.
            sha256: the expected hash of the content; None if it is not compared.

        Raises:
            IntegrityError: the content has another sha256; nothing is written.
            oci.exceptions.ServiceError: with status 412 if an object has this name.
        """
        if size > SINGLE_BYTES:
            self._put_parts(name, stream, sha256)
            return
        content = stream.read()
        _require(name, hashlib.sha256(content), sha256)
        self._client.put_object(
            *self._bucket, name, content, content_md5=_encoded(_md5(content).digest()), if_none_match="*"
        )

    def _put_parts(self, name: str, stream: BinaryIO, sha256: str | None) -> None:
        import oci.exceptions
        import oci.object_storage.models as sdk

        details = sdk.CreateMultipartUploadDetails(object=name)
        upload_id = self._client.create_multipart_upload(*self._bucket, details, if_none_match="*").data.upload_id
        try:
            digest, parts = hashlib.sha256(), []
            for number, part in enumerate(_parts_of(stream), start=1):
                digest.update(part)
                answer = self._client.upload_part(
                    *self._bucket, name, upload_id, number, part, content_md5=_encoded(_md5(part).digest())
                )
                parts.append(sdk.CommitMultipartUploadPartDetails(part_num=number, etag=answer.headers["etag"]))
            _require(name, digest, sha256)
            commit = sdk.CommitMultipartUploadDetails(parts_to_commit=parts)
            self._client.commit_multipart_upload(*self._bucket, name, upload_id, commit, if_none_match="*")
        except BaseException:
            with suppress(oci.exceptions.ServiceError, oci.exceptions.RequestException):  # the first error says more
                self._client.abort_multipart_upload(*self._bucket, name, upload_id)
            raise


def md5_of(stream: BinaryIO, size: int) -> str:
    """Return the MD5 that Object Storage reports for content that `Uploads.put` wrote.

    For an object in parts it is the MD5 of the parts' MD5s, with their number.
    """
    if size <= SINGLE_BYTES:
        return _encoded(_md5(stream.read()).digest())
    digests = [_md5(part).digest() for part in _parts_of(stream)]
    return f"{_encoded(_md5(b''.join(digests)).digest())}-{len(digests)}"


def _parts_of(stream: BinaryIO) -> Iterator[bytes]:
    while part := stream.read(PART_BYTES):
        yield part


def _require(name: str, digest: Any, expected: str | None) -> None:
    if expected is not None and digest.hexdigest() != expected:
        raise IntegrityError(
            f"{name} has the sha256 {digest.hexdigest()}, its manifest says {expected}: it was changed after the "
            "manifest was written."
        )


def _md5(content: bytes) -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def _encoded(digest: bytes) -> str:
    return b64encode(digest).decode()
