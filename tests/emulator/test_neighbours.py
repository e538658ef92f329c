"""Neighbours: resources of other teams, which are listed and read, and cannot be changed."""

import pytest
from neighbours import DEPLOYMENTS, MODELS, add_neighbours

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import Cloud, refusal


@pytest.fixture
def neighbours(cloud: Cloud) -> list[str]:
    return add_neighbours(cloud.emulator, cloud.project)


def test_neighbours_are_listed_and_read_as_added(cloud: Cloud, neighbours: list[str]) -> None:
    listed = [item.id for item in cloud.science.list_model_deployments(cloud.compartment).data]
    models = [item.id for item in cloud.science.list_models(cloud.compartment).data]

    assert set(listed) | set(models) == set(neighbours)
    group = next(ocid for ocid, name in zip(neighbours, DEPLOYMENTS, strict=False) if name == "a model group")
    shown = cloud.science.get_model_deployment(group).data
    assert (shown.display_name, shown.lifecycle_state) == ("llm", "ACTIVE")
    assert shown.model_deployment_configuration_details.deployment_type == "MODEL_GROUP"


def test_neighbours_cannot_be_deleted(cloud: Cloud, neighbours: list[str]) -> None:
    science = cloud.science
    for ocid in neighbours[: len(DEPLOYMENTS)]:
        assert refusal(science.delete_model_deployment, ocid) == (404, "NotAuthorizedOrNotFound")
    for ocid in neighbours[-len(MODELS) :]:
        assert refusal(science.delete_model, ocid) == (404, "NotAuthorizedOrNotFound")


@pytest.mark.parametrize(
    ("collection", "document", "reason"),
    [
        ("jobs", {}, "jobs"),
        ("models", {}, "compartmentId and projectId"),
        ("models", {"compartmentId": "elsewhere", "projectId": "p"}, "elsewhere"),
    ],
)
def test_a_neighbour_that_no_list_would_show_is_refused(
    cloud: Cloud, collection: str, document: dict[str, object], reason: str
) -> None:
    with pytest.raises(EmulatorError, match=reason):
        cloud.emulator.add_neighbour(collection, document)
