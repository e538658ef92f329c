from functools import partial

import oci
import pytest
from oci.data_science import models

from tests.emulator.clouds import Cloud, artifact, at_once, refusal, single_model

INVALIDATED = (409, "InvalidatedRetryToken")


def test_the_first_response_is_replayed(cloud: Cloud) -> None:
    details = cloud.deployment_details(single_model(cloud.model()))
    first = cloud.science.create_model_deployment(details, opc_retry_token="once")
    cloud.succeeded(first)
    again = cloud.science.create_model_deployment(details, opc_retry_token="once")
    assert again.data == first.data
    assert again.status == first.status
    assert again.headers["opc-work-request-id"] == first.headers["opc-work-request-id"]
    assert len(cloud.science.list_model_deployments(cloud.compartment).data) == 1


def test_each_response_has_its_own_request_id(cloud: Cloud) -> None:
    details = models.CreateProjectDetails(compartment_id=cloud.compartment)
    answers = [
        cloud.science.create_project(details, opc_retry_token="once", opc_request_id=name) for name in ("A", "B")
    ]
    assert [answer.headers["opc-request-id"] for answer in answers] == ["A", "B"]
    assert answers[0].data == answers[1].data


def test_equal_tokens_at_the_same_time_make_one_resource(cloud: Cloud) -> None:
    details = models.CreateProjectDetails(compartment_id=cloud.compartment, display_name="one")
    cloud.emulator.fail_next("CreateProject", "slow", seconds=0.2, times=8)
    create = partial(cloud.science.create_project, details, opc_retry_token="same")
    created = [response.data.id for response in at_once(*[create] * 8)]
    assert len(set(created)) == 1
    assert [item.id for item in cloud.science.list_projects(cloud.compartment).data] == created[:1]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_create_that_was_dropped_makes_one_resource_when_it_is_sent_again(cloud: Cloud, kind: str) -> None:
    details = models.CreateProjectDetails(compartment_id=cloud.compartment, display_name="one")
    cloud.emulator.fail_next("CreateProject", kind)
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.create_project(details, opc_retry_token="t")
    [call] = cloud.emulator.calls("CreateProject")
    assert (call["dropped"], call["status"]) == (True, None)
    cloud.science.create_project(details, opc_retry_token="t")
    assert len(cloud.science.list_projects(cloud.compartment).data) == 1


def test_a_token_with_another_body_is_refused(cloud: Cloud) -> None:
    configuration = single_model(cloud.model())
    cloud.science.create_model_deployment(cloud.deployment_details(configuration), opc_retry_token="once")
    other = cloud.deployment_details(configuration, "other")
    assert refusal(cloud.science.create_model_deployment, other, opc_retry_token="once") == INVALIDATED


def test_a_token_whose_resource_is_gone_is_refused(cloud: Cloud) -> None:
    details = models.CreateModelDetails(compartment_id=cloud.compartment, project_id=cloud.project)
    created = cloud.science.create_model(details, opc_retry_token="once").data.id
    cloud.science.delete_model(created)
    assert refusal(cloud.science.create_model, details, opc_retry_token="once") == INVALIDATED


def test_a_refused_request_does_not_use_up_its_token(cloud: Cloud) -> None:
    details = models.CreateModelDetails(compartment_id=cloud.compartment, project_id="ocid1.datascienceproject.oc1..no")
    assert refusal(cloud.science.create_model, details, opc_retry_token="once")[0] == 400
    details.project_id = cloud.project
    assert cloud.science.create_model(details, opc_retry_token="once").status == 200


def test_an_artifact_whose_response_was_lost_can_be_sent_again(cloud: Cloud) -> None:
    model = cloud.empty_model()
    for _ in range(2):
        assert cloud.science.create_model_artifact(model, artifact(), opc_retry_token="once").status == 204
    assert refusal(cloud.science.create_model_artifact, model, artifact(), opc_retry_token="twice")[0] == 409


def test_a_token_with_another_artifact_of_the_same_length_is_refused(cloud: Cloud) -> None:
    model = cloud.empty_model()
    cloud.science.create_model_artifact(model, b"A" * 100, opc_retry_token="once")
    assert refusal(cloud.science.create_model_artifact, model, b"B" * 100, opc_retry_token="once") == INVALIDATED
    assert cloud.science.get_model_artifact_content(model).data.content == b"A" * 100


def test_equal_tokens_at_the_same_time_upload_once(cloud: Cloud) -> None:
    model, content = cloud.empty_model(), bytes(4_000_000)
    upload = partial(cloud.science.create_model_artifact, model, content, opc_retry_token="same")
    assert [response.status for response in at_once(*[upload] * 4)] == [204] * 4
