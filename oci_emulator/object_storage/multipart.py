"""Multipart uploads: parts in any order, which a commit joins into one object."""

import base64
import hashlib
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from oci_emulator.errors import InvalidParameterError, ResourceNotFoundError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, Upload, document, empty
from oci_emulator.object_storage.objects import METADATA_PREFIX, Objects
from oci_emulator.object_storage.preconditions import check_preconditions
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import timestamp

KIND = "multipart-upload"
MAX_PARTS = 10_000
_HEADERS = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentEncoding": "content-encoding",
    "contentDisposition": "content-disposition",
    "cacheControl": "cache-control",
}
_LISTING = Listing((), ("timeCreated",))


@dataclass(frozen=True)
class MultipartUploads:
    """The unfinished uploads; each part is a file in `folder`."""

    store: Store
    objects: Objects
    folder: Path

    def create(self, request: OciRequest) -> Response:
        """Answer CreateMultipartUpload."""
        bucket, body = self.objects.buckets.find(request).body["name"], request.json()
        name = body.get("object")
        if not isinstance(name, str) or not name:
            raise InvalidParameterError("object is missing: the name of the new object.")
        check_preconditions(request, self.objects.etag_of(bucket, name))
        shown: Json = {
            "namespace": request.path["namespaceName"],
            "bucket": bucket,
            "object": name,
            "uploadId": str(uuid.uuid4()),
            "timeCreated": timestamp(),
            "storageTier": "Standard",
        }
        headers = {header: body[field] for field, header in _HEADERS.items() if body.get(field)}
        metadata = {_metadata_name(key): value for key, value in (body.get("metadata") or {}).items()}
        kept = {"headers": headers, "metadata": metadata, "parts": {}}
        self.store.save(Resource(KIND, shown["uploadId"], shown, kept))
        return document(shown)

    def admit_part(self, request: OciRequest) -> tuple[Resource, str]:
        """Return the upload and the number of a part; refuse an unknown upload or an invalid number."""
        number = request.required_query("uploadPartNum")
        if not number.isdecimal() or not 1 <= int(number) <= MAX_PARTS:
            raise InvalidParameterError(f"uploadPartNum is {number!r}, not a number from 1 to {MAX_PARTS}.")
        return self._find(request), number

    def put_part(self, request: OciRequest, upload: Upload) -> Response:
        """Answer UploadPart; a part replaces an earlier one of its number."""
        resource, number = self.admit_part(request)
        if request.headers.get("content-md5") not in (None, upload.md5):
            raise InvalidParameterError("content-md5 is not the MD5 of the body.", code="UnmatchedContentMD5")
        before = resource.private["parts"].get(number)
        part: Json = {"file": uuid.uuid4().hex, "etag": str(uuid.uuid4()), "md5": upload.md5, "size": upload.size}
        upload.keep(self.folder / part["file"])
        resource.private["parts"][number] = part
        self.store.save(resource)
        self._delete([before] if before else [])
        return empty(status=200, etag=str(part["etag"]), opc_content_md5=upload.md5)

    def commit(self, request: OciRequest) -> Response:
        """Answer CommitMultipartUpload: join the named parts, and remove all parts."""
        resource = self._find(request)
        parts = _chosen(resource, request.json())
        upload = self._joined(parts)
        described = {name: resource.private[name] for name in ("headers", "metadata")}
        body = self.objects.write(
            request, resource.body["bucket"], resource.body["object"], upload, {**described, "parts": len(parts)}
        )
        self._remove(resource)
        return empty(status=200, etag=body["etag"], opc_multipart_md5=body["md5"], last_modified=body["modified"])

    def abort(self, request: OciRequest) -> Response:
        """Answer AbortMultipartUpload."""
        self._remove(self._find(request))
        return empty()

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListMultipartUploads."""
        bucket = self.objects.buckets.find(request).body["name"]
        uploads = [item for item in self.store.all_of(KIND) if item.body["bucket"] == bucket]
        return _LISTING.reply(request, uploads, lambda resource: resource.body)

    def list_parts(self, request: OciRequest) -> Response:
        """Answer ListMultipartUploadParts."""
        parts = self._find(request).private["parts"]
        shown = [
            {"partNumber": int(number), "etag": part["etag"], "md5": part["md5"], "size": part["size"]}
            for number, part in parts.items()
        ]
        return document(sorted(shown, key=lambda part: int(part["partNumber"])))

    def remove_orphans(self) -> None:
        """Remove the parts that belong to no upload."""
        uploads = self.store.all_of(KIND)
        kept = {part["file"] for resource in uploads for part in resource.private["parts"].values()}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _find(self, request: OciRequest) -> Resource:
        bucket = self.objects.buckets.find(request).body["name"]
        identifier = request.required_query("uploadId")
        resource = self.store.find(KIND, identifier)
        wanted = (bucket, request.path["objectName"])
        if resource is None or (resource.body["bucket"], resource.body["object"]) != wanted:
            raise ResourceNotFoundError(f"multipart upload {identifier}", code="NoSuchUpload")
        return resource

    def _joined(self, parts: Sequence[Json]) -> Upload:
        """Return the parts as one file, with the MD5 that OCI shows for such an object."""
        path = self.folder / uuid.uuid4().hex
        with path.open("xb") as joined:
            for part in parts:
                with (self.folder / part["file"]).open("rb") as file:
                    shutil.copyfileobj(file, joined)
        digests = b"".join(base64.b64decode(part["md5"]) for part in parts)
        digest = base64.b64encode(hashlib.md5(digests, usedforsecurity=False).digest()).decode()
        return Upload(path, sum(part["size"] for part in parts), f"{digest}-{len(parts)}", "")

    def _remove(self, resource: Resource) -> None:
        self.store.delete(resource.id)
        self._delete(list(resource.private["parts"].values()))

    def _delete(self, parts: Sequence[Json]) -> None:
        for part in parts:
            self.store.afterwards((self.folder / part["file"]).unlink)


def _chosen(resource: Resource, body: Json) -> list[Json]:
    """Return the parts named in a commit, in the order of their numbers."""
    parts: Mapping[str, Json] = resource.private["parts"]
    named = sorted(body.get("partsToCommit") or [], key=lambda part: int(part["partNum"]))
    if not named:
        raise InvalidParameterError("partsToCommit names no part.")
    for wanted in named:
        part = parts.get(str(wanted["partNum"]))
        if part is None or part["etag"] != wanted.get("etag"):
            raise InvalidParameterError(
                f"Part {wanted['partNum']} was not uploaded with etag {wanted.get('etag')}.", code="InvalidUploadPart"
            )
    return [parts[str(part["partNum"])] for part in named]


def _metadata_name(key: str) -> str:
    return key if key.startswith(METADATA_PREFIX) else f"{METADATA_PREFIX}{key}"
