"""Model artifacts: written once, read many times."""

from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from starlette.responses import Response

from oci_emulator.data_science.catalog import MODEL, Catalog, check_not_archived
from oci_emulator.errors import ConflictError, LengthRequiredError, ResourceNotFoundError
from oci_emulator.files import file_response
from oci_emulator.messages import OciRequest, Upload, empty
from oci_emulator.store import Resource


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of the models, each in a file in `folder`."""

    catalog: Catalog
    folder: Path

    def admit(self, request: OciRequest) -> Resource:
        """Return the model of an upload; refuse it if the model has an artifact."""
        model = self.catalog.find_existing(MODEL, request, "modelId")
        if "artifact" in model.private:
            raise ConflictError(f"Model {model.id} already has an artifact, which cannot be replaced.")
        if "content-length" not in request.headers:
            raise LengthRequiredError("The request has no content-length.")
        return model

    def create(self, request: OciRequest, upload: Upload) -> Response:
        """Answer CreateModelArtifact; like OCI, check the file only when it is deployed."""
        model = self.admit(request)
        upload.keep(self.folder / model.id)
        model.private["artifact"] = {
            "md5": upload.md5,
            "modified": formatdate(usegmt=True),
            "disposition": request.headers.get("content-disposition") or f'attachment; filename="{model.id}"',
        }
        return empty(self.catalog.store.save(model))

    def get(self, request: OciRequest) -> Response:
        """Answer GetModelArtifactContent."""
        path, headers = self._file_and_headers(request)
        return file_response(path, headers, request.headers.get("range"))

    def head(self, request: OciRequest) -> Response:
        """Answer HeadModelArtifact."""
        path, headers = self._file_and_headers(request)
        return Response(b"", 200, {**headers, "content-length": str(path.stat().st_size), "accept-ranges": "bytes"})

    def _file_and_headers(self, request: OciRequest) -> tuple[Path, dict[str, str]]:
        model = self.catalog.find_existing(MODEL, request, "modelId")
        artifact = model.private.get("artifact")
        if artifact is None:
            raise ResourceNotFoundError(f"artifact of model {model.id}")
        check_not_archived(model)
        headers = {
            "etag": model.etag,
            "content-type": "application/octet-stream",
            "content-disposition": artifact["disposition"],
            "content-md5": artifact["md5"],
            "last-modified": artifact["modified"],
        }
        return self.folder / model.id, headers
