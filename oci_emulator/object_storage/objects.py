"""Objects: written atomically, read in any part."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from starlette.responses import Response

from oci_emulator.errors import InvalidParameterError, ResourceNotFoundError
from oci_emulator.files import file_response
from oci_emulator.messages import OciRequest, Upload, document, empty
from oci_emulator.object_storage import service_packs
from oci_emulator.object_storage.buckets import Buckets
from oci_emulator.object_storage.listings import list_page
from oci_emulator.object_storage.preconditions import check_preconditions, is_unchanged
from oci_emulator.object_storage.retention_rules import RetentionRules
from oci_emulator.store import Json, Store
from oci_emulator.tenancies import timestamp

MAX_NAME_BYTES = 1024
_STORED_HEADERS = ("content-type", "content-language", "content-encoding", "content-disposition", "cache-control")
METADATA_PREFIX = "opc-meta-"


@dataclass(frozen=True)
class Objects:
    """The objects of all buckets; each version of an object is a file in `folder`."""

    store: Store
    buckets: Buckets
    folder: Path
    rules: RetentionRules

    def admit(self, request: OciRequest) -> None:
        """Refuse an upload that cannot succeed, before its body is read."""
        bucket, name = self._named(request)
        if len(name.encode()) > MAX_NAME_BYTES or "\0" in name or "\n" in name or "\r" in name:
            reason = f"The object name {name!r} is too long or has a line break."
            raise InvalidParameterError(reason, code="InvalidObjectName")
        check_preconditions(request, self.etag_of(bucket, name))

    def put(self, request: OciRequest, upload: Upload) -> Response:
        """Answer PutObject; check the precondition again in the transaction."""
        bucket, name = self._named(request)
        if request.headers.get("content-md5") not in (None, upload.md5):
            raise InvalidParameterError("content-md5 is not the MD5 of the body.", code="UnmatchedContentMD5")
        headers = request.headers
        described = {
            "headers": {name: headers[name] for name in _STORED_HEADERS if name in headers},
            "metadata": {name: value for name, value in headers.items() if name.startswith(METADATA_PREFIX)},
        }
        body = self.write(request, bucket, name, upload, described)
        return empty(
            status=200,
            etag=body["etag"],
            opc_content_md5=body["md5"],
            last_modified=body["modified"],
            version_id=body["version"],
        )

    def write(self, request: OciRequest, bucket: str, name: str, upload: Upload, described: Json) -> Json:
        """Store `upload` as an object if the request's precondition holds; return its description."""
        before = self._find(bucket, name)
        check_preconditions(request, before["etag"] if before else None)
        self.rules.check(request, before)
        now = timestamp()
        body = {
            "file": uuid.uuid4().hex,
            "etag": str(uuid.uuid4()),
            "version": str(uuid.uuid4()),
            "size": upload.size,
            "md5": upload.md5,
            "timeCreated": before["timeCreated"] if before else now,
            "timeModified": now,
            "modified": formatdate(usegmt=True),
            **described,
        }
        upload.keep(self.folder / body["file"])
        self.store.connection.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (bucket, name, json.dumps(body))
        )
        if before is not None:
            self._delete_content(before)
        return body

    def etag_of(self, bucket: str, name: str) -> str | None:
        """Return the etag of an object, or None if it does not exist."""
        body = self._find(bucket, name)
        return body["etag"] if body else None

    def get(self, request: OciRequest) -> Response:
        """Answer GetObject."""
        body = service_packs.find(request) or self._existing(request)
        if is_unchanged(request, body["etag"]):
            return empty(status=304, etag=body["etag"])
        return file_response(self.folder / body["file"], _headers(body), request.headers.get("range"))

    def head(self, request: OciRequest) -> Response:
        """Answer HeadObject."""
        body = service_packs.find(request) or self._existing(request)
        if is_unchanged(request, body["etag"]):
            return empty(status=304, etag=body["etag"])
        return Response(b"", 200, {**_headers(body), "content-length": str(body["size"]), "accept-ranges": "bytes"})

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteObject."""
        bucket, name = self._named(request)
        body = self._existing(request)
        check_preconditions(request, body["etag"])
        self.rules.check(request, body)
        self.store.connection.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        self._delete_content(body)
        return empty(last_modified=formatdate(usegmt=True), version_id=body["version"])

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListObjects."""
        bucket = self.buckets.find(request).body["name"]
        return document(list_page(self.store.connection, bucket, request.query))

    def remove_orphans(self) -> None:
        """Remove contents without an object, which a killed emulator was writing."""
        kept = {json.loads(row[0])["file"] for row in self.store.connection.execute("SELECT body FROM objects")}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _delete_content(self, body: Json) -> None:
        """Remove a content when the transaction that replaces it is committed."""
        self.store.afterwards(lambda: (self.folder / body["file"]).unlink(missing_ok=True))

    def _named(self, request: OciRequest) -> tuple[str, str]:
        return self.buckets.find(request).body["name"], request.path["objectName"]

    def _find(self, bucket: str, name: str) -> Json | None:
        query = "SELECT body FROM objects WHERE bucket = ? AND name = ?"
        row = self.store.connection.execute(query, (bucket, name)).fetchone()
        return json.loads(row[0]) if row else None

    def _existing(self, request: OciRequest) -> Json:
        bucket, name = self._named(request)
        body = self._find(bucket, name)
        if body is None:
            raise ResourceNotFoundError(f"object {name} in bucket {bucket}", code="ObjectNotFound")
        return body


def _headers(body: Json) -> Mapping[str, str]:
    return {
        "content-type": "application/octet-stream",
        **body["headers"],
        **body["metadata"],
        "etag": body["etag"],
        "opc-multipart-md5" if "parts" in body else "content-md5": body["md5"],
        "last-modified": body["modified"],
        "version-id": body["version"],
        "storage-tier": "Standard",
    }
