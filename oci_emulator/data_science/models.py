"""Models: the entries of the catalog, with metadata, provenance and version set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from oci_emulator.data_science.catalog import DEPLOYMENT, MODEL, PROJECT, VERSION_SET, Catalog, display_name, pick
from oci_emulator.errors import ConflictError, IncorrectStateError, InvalidParameterError, ResourceNotFoundError
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.store import Json, Resource

_UPDATABLE = (
    "displayName",
    "description",
    "freeformTags",
    "definedTags",
    "customMetadataList",
    "definedMetadataList",
    "versionLabel",
    "retentionSetting",
    "backupSetting",
)
_FIELDS = ("compartmentId", "projectId", "inputSchema", "outputSchema", *_UPDATABLE)
_PROVENANCE_FIELDS = ("repositoryUrl", "gitBranch", "gitCommit", "scriptDir", "trainingScript", "trainingId")
_LISTING = Listing(
    (
        "id",
        "projectId",
        "displayName",
        "lifecycleState",
        "createdBy",
        "modelVersionSetName",
        "versionLabel",
        "category",
    ),
    ("timeCreated", "displayName", "lifecycleState"),
    frozenset(
        {
            "customMetadataList",
            "definedMetadataList",
            "description",
            "inputSchema",
            "outputSchema",
            "retentionSetting",
            "retentionOperationDetails",
            "backupSetting",
        }
    ),
)
METADATA_CATEGORIES = (
    "Performance",
    "Training Profile",
    "Training and Validation Datasets",
    "Training Environment",
    "Reports",
    "Readme",
    "other",
)
# The states before and after each operation.
TRANSITIONS: Mapping[str, tuple[str, str]] = {
    "ActivateModel": ("INACTIVE", "ACTIVE"),
    "DeactivateModel": ("ACTIVE", "INACTIVE"),
}


@dataclass(frozen=True)
class Models:
    """The models of the tenancy; the folder `artifacts` has a file for each artifact, named after its model."""

    catalog: Catalog
    artifacts: Path

    def create(self, request: OciRequest) -> Response:
        """Answer CreateModel."""
        body = {"displayName": display_name("model"), **request.json()}
        self.catalog.related(PROJECT, body, "projectId")
        check_metadata(body)
        resource = self.catalog.draft(
            MODEL, body, _FIELDS, lifecycleState="ACTIVE", category="USER", isModelByReference=False
        )
        self._enter_version_set(resource, body)
        return document(resource.body, self.catalog.store.save(resource))

    def get(self, request: OciRequest) -> Response:
        """Answer GetModel."""
        resource = self.catalog.find_readable(MODEL, request, "modelId")
        return document(resource.body, resource)

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListModels."""
        return _LISTING.reply(request, self.catalog.listed(MODEL, request), lambda resource: resource.body)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateModel, which cannot change artifact, schemas and provenance."""
        resource = self.catalog.find_existing(MODEL, request, "modelId")
        body = request.json()
        check_metadata(body)
        resource.body.update(pick(body, _UPDATABLE))
        self._enter_version_set(resource, body)
        return document(resource.body, self.catalog.store.save(resource))

    def delete(self, request: OciRequest) -> Response:
        """Answer DeleteModel; refuse it for a model in use."""
        self.remove(self.catalog.find_existing(MODEL, request, "modelId"))
        return empty()

    def act(self, request: OciRequest) -> Response:
        """Answer ActivateModel and DeactivateModel."""
        resource = self.catalog.find_existing(MODEL, request, "modelId")
        before, after = TRANSITIONS[request.operation.name]
        state = resource.body["lifecycleState"]
        if state != before:
            raise IncorrectStateError(f"Model {resource.id} is {state}; {request.operation.name} requires {before}.")
        resource.body["lifecycleState"] = after
        return document(resource.body, self.catalog.store.save(resource))

    def create_provenance(self, request: OciRequest) -> Response:
        """Answer CreateModelProvenance; refuse a second one."""
        resource = self.catalog.find_existing(MODEL, request, "modelId")
        if "provenance" in resource.private:
            raise ConflictError(f"Model {resource.id} already has a provenance.")
        return self._save_provenance(resource, request)

    def get_provenance(self, request: OciRequest) -> Response:
        """Answer GetModelProvenance."""
        resource = self._with_provenance(request)
        return document(resource.private["provenance"], resource)

    def update_provenance(self, request: OciRequest) -> Response:
        """Answer UpdateModelProvenance."""
        return self._save_provenance(self._with_provenance(request), request)

    def archive(self, identifier: str) -> None:
        """Archive a model's artifact, as a retention policy does; its lifecycle state stays.

        Raises:
            ResourceNotFoundError: no such model exists.
        """
        resource = self.catalog.store.find(MODEL, identifier)
        if resource is None:
            raise ResourceNotFoundError(f"{MODEL} {identifier}")
        resource.body["retentionOperationDetails"] = {"archiveState": "SUCCEEDED"}
        self.catalog.store.save(resource)

    def remove(self, resource: Resource) -> None:
        """Delete a model with its artifact; refuse it for a model in use."""
        for deployment in self.catalog.store.all_of(DEPLOYMENT):
            if deployment.body["lifecycleState"] != "DELETED" and resource.id in deployment.private["models"]:
                raise ConflictError(f"Model {resource.id} is in use by model deployment {deployment.id}.")
        resource.body["lifecycleState"] = "DELETED"
        self.catalog.store.save(resource)
        self.catalog.store.afterwards(lambda: (self.artifacts / resource.id).unlink(missing_ok=True))

    def _with_provenance(self, request: OciRequest) -> Resource:
        resource = self.catalog.find_existing(MODEL, request, "modelId")
        if "provenance" not in resource.private:
            raise ResourceNotFoundError(f"provenance of model {resource.id}")
        return resource

    def _save_provenance(self, resource: Resource, request: OciRequest) -> Response:
        resource.private["provenance"] = pick(request.json(), _PROVENANCE_FIELDS)
        return document(resource.private["provenance"], self.catalog.store.save(resource))

    def _enter_version_set(self, model: Resource, body: Json) -> None:
        """Give the model the next version number of the version set in the body; no number is used twice."""
        if body.get("modelVersionSetId") in (None, model.body.get("modelVersionSetId")):
            return
        version_set = self.catalog.related(VERSION_SET, body, "modelVersionSetId")
        version_set.private["last_version"] += 1
        self.catalog.store.save(version_set)
        model.body.update(
            modelVersionSetId=version_set.id,
            modelVersionSetName=version_set.body["name"],
            versionId=version_set.private["last_version"],
        )


def check_metadata(body: Json) -> None:
    """Refuse custom metadata in an unknown category."""
    for entry in body.get("customMetadataList") or []:
        category = entry.get("category") if isinstance(entry, dict) else None
        # Case does not matter: ADS writes `Other`, the API reference `other`.
        if category is not None and str(category).lower() not in map(str.lower, METADATA_CATEGORIES):
            raise InvalidParameterError(
                f"The category of custom metadata {entry.get('key')!r} is {category!r},"
                f" not one of {', '.join(METADATA_CATEGORIES)}."
            )
