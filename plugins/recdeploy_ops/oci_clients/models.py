"""The Model Catalog: projects, models, artifacts, provenance and model version sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import one_line
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.records import CatalogModel
from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.oci_clients.sessions import retry_token
from recdeploy_ops.settings.tags import NO_TAGS, TagSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recdeploy_ops.oci_clients.sessions import OciSession

CHUNK = 1 << 20
MAX_ARTIFACT_BYTES = 8 << 30  # a larger artifact is not downloaded


@dataclass(frozen=True)
class NewModel:
    """The parts of a model that is to be registered.

    Attributes:
        name: display name.
        description: for people.
        version_set: name of the model version set.
        version_label: label in that set, e.g. ``v7``.
        tags: free-form tags.
        metadata: custom metadata: (key, value, description, category of OCI's list).
        provenance: ``repository_url``, ``git_branch``, ``git_commit``, ``training_script``, ``training_id``.
        token: identifies this registration, so that a repeated request does not create a second model.
    """

    name: str
    description: str
    version_set: str
    version_label: str
    tags: Mapping[str, str]
    metadata: tuple[tuple[str, str, str, str], ...]
    provenance: Mapping[str, str | None]
    token: str


class ModelCatalog:
    """Models of one project.

    Args:
        session: signs the requests.
        tags: of new models and version sets, beside this project's own.
    """

    def __init__(self, session: OciSession, tags: TagSettings = NO_TAGS) -> None:
        self._session = session
        self._tags = tags
        self._profile = session.profile

    def check_access(self) -> None:
        """Read the project, so that wrong keys, compartments and projects are detected early."""
        project_id = self._profile.project_id
        with calling(f"read the Data Science project {project_id}"):
            project = self._client.get_project(project_id).data
        with calling(f"list the models in the compartment {self._profile.compartment_id}"):
            self._client.list_models(self._profile.compartment_id, project_id=project.id, limit=1)

    def models(self) -> Iterator[CatalogModel]:
        """Yield the project's models, newest first, including deleted ones that OCI still lists."""
        import oci.pagination

        with calling(f"list the models in the compartment {self._profile.compartment_id}"):
            answer = oci.pagination.list_call_get_all_results(
                self._client.list_models,
                self._profile.compartment_id,
                project_id=self._profile.project_id,
                sort_by="timeCreated",
                sort_order="DESC",
            )
        for model in answer.data:
            yield _to_record(model)

    def get(self, model_id: str) -> CatalogModel:
        """Return a model."""
        with calling(f"read the model {model_id}"):
            return _to_record(self._client.get_model(model_id).data)

    def create(self, new: NewModel) -> CatalogModel:
        """Create a model without its artifact, in its version set; a repeated request returns the same model."""
        import oci.data_science.models as sdk

        details = sdk.CreateModelDetails(
            compartment_id=self._profile.compartment_id,
            project_id=self._profile.project_id,
            display_name=new.name,
            description=new.description,
            model_version_set_id=self._version_set(new.version_set),
            version_label=new.version_label,
            freeform_tags={**self._tags.freeform, **new.tags},
            defined_tags=self._tags.defined,
            custom_metadata_list=[
                sdk.Metadata(key=key, value=value, description=description, category=category)
                for key, value, description, category in new.metadata
            ],
        )
        with calling(f"create the model {new.name}"):
            model = self._client.create_model(details, opc_retry_token=retry_token(new.token)).data
        self._describe_origin(model.id, new)
        return _to_record(model)

    def complete_origin(self, model_id: str, new: NewModel) -> None:
        """Record a model's provenance, unless an earlier try has."""
        import oci.exceptions

        with calling(f"read the provenance of the model {model_id}"):
            try:
                self._client.get_model_provenance(model_id)
            except oci.exceptions.ServiceError as err:
                if err.status != 404:
                    raise
            else:
                return
        self._describe_origin(model_id, new)

    def has_artifact(self, model_id: str) -> bool:
        """Return whether the model's artifact was uploaded."""
        import oci.exceptions

        with calling(f"look for the artifact of the model {model_id}"):
            try:
                self._client.head_model_artifact(model_id)
            except oci.exceptions.ServiceError as err:
                if err.status == 404:
                    return False
                raise
        return True

    def upload_artifact(self, model_id: str, path: Path) -> None:
        """Upload a zip as the model's artifact; OCI accepts it only once."""
        with path.open("rb") as stream, calling(f"upload the artifact of the model {model_id}"):
            self._client.create_model_artifact(
                model_id,
                stream,
                content_length=str(path.stat().st_size),
                content_disposition=f'attachment; filename="{model_id}.zip"',
                opc_retry_token=retry_token("artifact", model_id),
            )

    def tag(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Add tags to a model; its other tags stay."""
        import oci.data_science.models as sdk

        with calling(f"tag the model {model_id}"):
            answer = self._client.get_model(model_id)
            known = answer.data.freeform_tags or {}
            if tags.items() <= known.items():
                return
            details = sdk.UpdateModelDetails(freeform_tags={**known, **tags})
            self._client.update_model(model_id, details, if_match=answer.headers.get("etag"))

    def activate(self, model_id: str) -> None:
        """Activate a deactivated model."""
        with calling(f"activate the model {model_id}"):
            etag = self._client.get_model(model_id).headers.get("etag")
            self._client.activate_model(model_id, if_match=etag)

    def delete(self, model_id: str, tags: Mapping[str, str]) -> bool:
        """Delete a model and its artifact, unless it was changed; one that is gone already counts as deleted.

        Args:
            model_id: OCID.
            tags: that it must still have.

        Returns:
            False if its tags have changed: it is another model now, and stays.
        """
        import oci.exceptions

        with calling(f"delete the model {model_id}"):
            answer = self._client.get_model(model_id)
            if answer.data.lifecycle_state == "DELETED":
                return True
            if not tags.items() <= (answer.data.freeform_tags or {}).items():
                return False
            try:
                self._client.delete_model(model_id, if_match=answer.headers.get("etag"))
            except oci.exceptions.ServiceError as err:
                # The SDK sends a request again whose answer was lost: then the model is gone already.
                if err.status != 404 or self._client.get_model(model_id).data.lifecycle_state != "DELETED":
                    raise
            return True

    def download_artifact(self, model_id: str, path: Path) -> None:
        """Write the model's artifact, a zip, to a file.

        Raises:
            IntegrityError: it is larger than any recommender's and could fill the disk.
        """
        with calling(f"download the artifact of the model {model_id}"), path.open("wb") as sink:
            answer = self._client.get_model_artifact_content(model_id)
            for chunk in answer.data.raw.stream(CHUNK, decode_content=False):
                if sink.tell() + len(chunk) > MAX_ARTIFACT_BYTES:
                    raise IntegrityError(f"The artifact of the model {model_id} has over {MAX_ARTIFACT_BYTES:,} bytes.")
                sink.write(chunk)

    @property
    def _client(self) -> Any:
        return self._session.data_science

    def _version_set(self, name: str) -> str:
        import oci.data_science.models as sdk

        with calling(f"find the model version set {name}"):
            listed = self._client.list_model_version_sets(
                self._profile.compartment_id, project_id=self._profile.project_id, name=name
            ).data
        for version_set in listed:
            if version_set.name == name and version_set.lifecycle_state == "ACTIVE":
                return str(version_set.id)
        details = sdk.CreateModelVersionSetDetails(
            compartment_id=self._profile.compartment_id,
            project_id=self._profile.project_id,
            name=name,
            freeform_tags=self._tags.freeform,
            defined_tags=self._tags.defined,
        )
        token = retry_token("model version set", self._profile.project_id, name)
        with calling(f"create the model version set {name}"):
            return str(self._client.create_model_version_set(details, opc_retry_token=token).data.id)

    def _describe_origin(self, model_id: str, new: NewModel) -> None:
        import oci.data_science.models as sdk

        details = sdk.CreateModelProvenanceDetails(**new.provenance)
        with calling(f"record the provenance of the model {model_id}"):
            self._client.create_model_provenance(model_id, details, opc_retry_token=retry_token("provenance", model_id))


def _to_record(model: Any) -> CatalogModel:
    return CatalogModel(
        model_id=model.id,
        name=one_line(model.display_name or model.id),
        lifecycle_state=model.lifecycle_state,
        tags=dict(model.freeform_tags or {}),
        metadata={item.key: item.value for item in getattr(model, "custom_metadata_list", None) or []},
        created_at=model.time_created,
        is_archived=_is_archived(model),
    )


def _is_archived(model: Any) -> bool:
    """Return whether a retention policy has archived a model's artifact or is doing so: OCI does not deploy it."""
    retention = getattr(model, "retention_operation_details", None)
    return getattr(retention, "archive_state", None) in {"PENDING", "SUCCEEDED"}
