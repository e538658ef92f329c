import io
from functools import partial
from typing import Any

import pytest
from oci.data_science import models

from oci_emulator.data_science.models import METADATA_CATEGORIES
from tests.emulator.clouds import Cloud, artifact, at_once, refusal

NOT_FOUND = (404, "NotAuthorizedOrNotFound")


def version_set(cloud: Cloud) -> str:
    details = models.CreateModelVersionSetDetails(
        compartment_id=cloud.compartment, project_id=cloud.project, name="recommender"
    )
    return str(cloud.science.create_model_version_set(details).data.id)


def metadata(category: str | None) -> models.Metadata:
    return models.Metadata(key="rmse", value="0.9", category=category)


def test_a_model_is_created_read_updated_and_deleted(cloud: Cloud) -> None:
    identifier = cloud.empty_model(
        display_name="first", description="why", freeform_tags={"a": "b"}, input_schema='{"x": 1}'
    )
    read = cloud.science.get_model(identifier)
    assert (read.data.display_name, read.data.description, read.data.input_schema) == ("first", "why", '{"x": 1}')
    assert read.data.freeform_tags == {"a": "b"}
    assert read.data.lifecycle_state == "ACTIVE"
    changed = cloud.science.update_model(identifier, models.UpdateModelDetails(display_name="second"))
    assert changed.data.display_name == "second"
    assert changed.data.description == "why"
    assert changed.headers["etag"] != read.headers["etag"]
    assert cloud.science.delete_model(identifier).status == 204
    assert cloud.science.get_model(identifier).data.lifecycle_state == "DELETED"
    assert refusal(cloud.science.delete_model, identifier) == NOT_FOUND


def test_an_unknown_model_or_compartment_is_not_found(cloud: Cloud) -> None:
    assert refusal(cloud.science.get_model, "ocid1.datasciencemodel.oc1..no") == NOT_FOUND
    assert refusal(cloud.science.list_models, "ocid1.compartment.oc1..no") == NOT_FOUND
    details = models.CreateProjectDetails(compartment_id="ocid1.compartment.oc1..no")
    assert refusal(cloud.science.create_project, details) == NOT_FOUND
    details.compartment_id = None
    assert refusal(cloud.science.create_project, details) == (400, "MissingParameter")


def test_a_model_needs_a_project_that_exists(cloud: Cloud) -> None:
    details = models.CreateModelDetails(compartment_id=cloud.compartment, project_id="ocid1.datascienceproject.oc1..no")
    assert refusal(cloud.science.create_model, details) == (400, "RelatedResourceNotAuthorizedOrNotFound")


@pytest.mark.parametrize("category", [*METADATA_CATEGORIES, None])
def test_custom_metadata_has_the_categories_of_oci(cloud: Cloud, category: str | None) -> None:
    identifier = cloud.empty_model(custom_metadata_list=[metadata(category)])
    assert cloud.science.get_model(identifier).data.custom_metadata_list[0].value == "0.9"


def test_an_unknown_category_of_custom_metadata_is_refused(cloud: Cloud) -> None:
    details = models.UpdateModelDetails(custom_metadata_list=[metadata("Quality")])
    assert refusal(cloud.science.update_model, cloud.empty_model(), details) == (400, "InvalidParameter")


@pytest.mark.parametrize(
    "tags", [{f"tag-{number}": "x" for number in range(11)}, {"k": "v" * 257}, {"k" * 101: "v"}, {"": "v"}]
)
def test_tags_beyond_the_limits_of_oci_are_refused(cloud: Cloud, tags: dict[str, str]) -> None:
    details = models.UpdateModelDetails(freeform_tags=tags)
    assert refusal(cloud.science.update_model, cloud.empty_model(), details) == (400, "InvalidParameter")


def test_summaries_omit_metadata_and_description(cloud: Cloud) -> None:
    cloud.empty_model(description="long", custom_metadata_list=[metadata("Reports")])
    summary = cloud.science.list_models(cloud.compartment).data[0]
    assert not hasattr(summary, "custom_metadata_list")
    assert "description" not in str(summary)


def test_an_artifact_is_written_once_and_read_back(cloud: Cloud) -> None:
    content, model = artifact(), cloud.empty_model()
    assert refusal(cloud.science.get_model_artifact_content, model) == NOT_FOUND
    name = 'attachment; filename="model.zip"'
    assert cloud.science.create_model_artifact(model, io.BytesIO(content), content_disposition=name).status == 204
    assert refusal(cloud.science.create_model_artifact, model, b"other") == (409, "Conflict")
    read = cloud.science.get_model_artifact_content(model)
    assert read.data.content == content
    assert read.headers["content-disposition"] == name
    part = cloud.science.get_model_artifact_content(model, range="bytes=2-5")
    assert (part.status, part.data.content) == (206, content[2:6])
    head = cloud.science.head_model_artifact(model)
    assert int(head.headers["content-length"]) == len(content)
    assert head.headers["content-md5"] == read.headers["content-md5"]


def test_a_large_artifact_is_read_back_whole(cloud: Cloud) -> None:
    content = bytes(range(256)) * 4 * 1024 * 12  # 12 MiB: more than a JSON body may have
    model = cloud.model(content)
    assert cloud.science.get_model_artifact_content(model).data.content == content


def test_one_of_two_simultaneous_uploads_wins(cloud: Cloud) -> None:
    model = cloud.empty_model()
    upload = partial(cloud.science.create_model_artifact, model)
    first, second = at_once(*(partial(upload, letter * 1_000_000) for letter in (b"a", b"b")))
    assert 409 in (first, second)
    assert (first if second == 409 else second).status == 204
    assert len(set(cloud.science.get_model_artifact_content(model).data.content)) == 1


def test_provenance_is_created_once_and_updated(cloud: Cloud) -> None:
    model = cloud.empty_model()
    assert refusal(cloud.science.get_model_provenance, model) == NOT_FOUND
    details = models.CreateModelProvenanceDetails(git_commit="abc", training_script="train.py")
    cloud.science.create_model_provenance(model, details)
    assert refusal(cloud.science.create_model_provenance, model, details) == (409, "Conflict")
    assert cloud.science.get_model_provenance(model).data.git_commit == "abc"
    cloud.science.update_model_provenance(model, models.UpdateModelProvenanceDetails(git_commit="def"))
    assert cloud.science.get_model_provenance(model).data.git_commit == "def"


def test_models_are_deactivated_and_activated(cloud: Cloud) -> None:
    model = cloud.empty_model()
    assert cloud.science.deactivate_model(model).data.lifecycle_state == "INACTIVE"
    assert refusal(cloud.science.deactivate_model, model) == (409, "IncorrectState")
    assert cloud.science.activate_model(model).data.lifecycle_state == "ACTIVE"


def test_a_version_number_of_a_set_is_used_once(cloud: Cloud) -> None:
    group = version_set(cloud)
    created = [cloud.empty_model(model_version_set_id=group, version_label=f"v{number}") for number in (1, 2)]
    cloud.science.delete_model(created[1])
    third = cloud.science.get_model(cloud.empty_model(model_version_set_id=group)).data
    assert (third.version_id, third.model_version_set_name) == (3, "recommender")
    listed = cloud.science.list_models(cloud.compartment, model_version_set_name="recommender", version_label="v1")
    assert [(item.id, item.version_id) for item in listed.data] == [(created[0], 1)]


def test_a_model_can_enter_a_set_later(cloud: Cloud) -> None:
    model = cloud.empty_model()
    details = models.UpdateModelDetails(model_version_set_id=version_set(cloud), version_label="late")
    assert cloud.science.update_model(model, details).data.version_id == 1
    assert cloud.science.update_model(model, details).data.version_id == 1


def test_the_name_of_a_set_is_unique(cloud: Cloud) -> None:
    first = version_set(cloud)
    assert refusal(version_set, cloud)[0] == 409
    changed = cloud.science.update_model_version_set(first, models.UpdateModelVersionSetDetails(description="why"))
    assert changed.data.description == "why"
    listed = cloud.science.list_model_version_sets(cloud.compartment, name="recommender").data
    assert [item.id for item in listed] == [first]


def test_a_set_is_deleted_only_together_with_its_models(cloud: Cloud) -> None:
    group = version_set(cloud)
    model = cloud.empty_model(model_version_set_id=group)
    assert refusal(cloud.science.delete_model_version_set, group) == (409, "Conflict")
    cloud.succeeded(cloud.science.delete_model_version_set(group, is_delete_related_models=True))
    assert cloud.science.get_model(model).data.lifecycle_state == "DELETED"
    assert cloud.science.get_model_version_set(group).data.lifecycle_state == "DELETED"


def test_a_project_that_is_not_empty_is_not_deleted(cloud: Cloud) -> None:
    model = cloud.empty_model()
    assert refusal(cloud.science.delete_project, cloud.project) == (409, "Conflict")
    cloud.science.delete_model(model)
    cloud.succeeded(cloud.science.delete_project(cloud.project))
    assert refusal(cloud.science.delete_project, cloud.project)[0] == 404


def test_a_model_in_use_is_not_deleted(cloud: Cloud) -> None:
    model = cloud.model()
    deployment = cloud.deployment(model)
    assert refusal(cloud.science.delete_model, model) == (409, "Conflict")
    cloud.succeeded(cloud.science.delete_model_deployment(deployment))
    assert cloud.science.delete_model(model).status == 204


@pytest.mark.parametrize("call", ["update_model", "delete_model", "deactivate_model"])
def test_an_old_etag_is_refused(cloud: Cloud, call: str) -> None:
    model = cloud.empty_model()
    old = cloud.science.get_model(model).headers["etag"]
    cloud.science.update_model(model, models.UpdateModelDetails(description="newer"), if_match=old)
    arguments: list[Any] = [models.UpdateModelDetails(description="other")] if call == "update_model" else []
    assert refusal(getattr(cloud.science, call), model, *arguments, if_match=old) == (412, "NoEtagMatch")
    assert cloud.science.get_model(model).data.description == "newer"


def test_a_body_that_is_not_a_json_object_is_refused(cloud: Cloud) -> None:
    headers = {"content-type": "application/json"}
    post = partial(cloud.science.base_client.call_api, "/projects", "POST", header_params=headers)
    for body in ("[]", "{", '"text"'):
        assert refusal(post, body=body) == (400, "CannotParseRequest")
