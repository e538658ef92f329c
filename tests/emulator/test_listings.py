import oci
import pytest
from oci.data_science import models

from tests.emulator.clouds import Cloud, refusal


def names(cloud: Cloud, **options: object) -> list[str]:
    listed = oci.pagination.list_call_get_all_results(cloud.science.list_models, cloud.compartment, **options)
    return [item.display_name for item in listed.data]


@pytest.fixture
def seven(cloud: Cloud) -> Cloud:
    for number in range(7):
        cloud.empty_model(display_name=f"m{(number * 3) % 7}")
    return cloud


def test_the_newest_are_listed_first(seven: Cloud) -> None:
    assert names(seven) == ["m4", "m1", "m5", "m2", "m6", "m3", "m0"]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_pages_together_are_the_whole_list(seven: Cloud, limit: int) -> None:
    seven.emulator.clear_calls()
    assert names(seven, limit=limit, sort_by="displayName") == [f"m{number}" for number in range(7)]
    assert len(seven.emulator.calls("ListModels")) == -(-7 // limit)


def test_a_model_created_between_two_pages_shifts_nothing(seven: Cloud) -> None:
    first = seven.science.list_models(seven.compartment, limit=4)
    seven.empty_model(display_name="late")
    second = seven.science.list_models(seven.compartment, limit=4, page=first.headers["opc-next-page"])
    assert [item.display_name for item in first.data + second.data] == ["m4", "m1", "m5", "m2", "m6", "m3", "m0"]
    assert "opc-next-page" not in second.headers


def test_the_order_can_be_reversed(seven: Cloud) -> None:
    assert names(seven, sort_order="ASC") == ["m0", "m3", "m6", "m2", "m5", "m1", "m4"]
    assert names(seven, sort_by="displayName", sort_order="DESC")[0] == "m6"


def test_filters_select(seven: Cloud) -> None:
    seven.science.deactivate_model(seven.science.list_models(seven.compartment, display_name="m2").data[0].id)
    assert names(seven, lifecycle_state="INACTIVE") == ["m2"]
    assert names(seven, display_name="no such") == []


@pytest.mark.parametrize(
    "query",
    ["page=nonsense", "page=bm9uc2Vuc2U=", "limit=0", "limit=1001", "limit=-1", "sortBy=colour", "sortOrder=UP"],
)
def test_an_invalid_query_is_refused(cloud: Cloud, query: str) -> None:
    path = f"/models?compartmentId={cloud.compartment}&{query}"
    assert refusal(cloud.science.base_client.call_api, path, "GET") == (400, "InvalidParameter")


def test_projects_deployments_and_work_requests_are_listed(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    assert [item.id for item in cloud.science.list_projects(cloud.compartment).data] == [cloud.project]
    active = cloud.science.list_model_deployments(cloud.compartment, lifecycle_state="ACTIVE").data
    assert [item.id for item in active] == [deployment]
    assert cloud.science.list_model_deployments("ocid1.tenancy.oc1..emulator").data == []
    requests = cloud.science.list_work_requests(cloud.compartment, resource_id=deployment).data
    assert [item.operation_type for item in requests] == ["MODEL_DEPLOYMENT_CREATE"]


def test_shapes_are_listed(cloud: Cloud) -> None:
    shapes = cloud.science.list_model_deployment_shapes(cloud.compartment).data
    assert "VM.Standard.E4.Flex" in [shape.name for shape in shapes]


def test_projects_are_updated(cloud: Cloud) -> None:
    changed = cloud.science.update_project(cloud.project, models.UpdateProjectDetails(description="why"))
    assert cloud.science.get_project(cloud.project).data.description == changed.data.description == "why"
