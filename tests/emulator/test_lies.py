"""Lies: OCI reports success, and something else is true. Each kind can be ordered."""

import json
import time
from typing import Any

import pytest
from oci.data_science import models
from oci.exceptions import ServiceError

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import CHANGES, Cloud, model_switch, refusal, wait_for


def versions(cloud: Cloud, deployment: str, count: int = 4) -> list[Any]:
    """Return the versions that answer, none when the deployment serves nothing."""
    try:
        return [cloud.predict(deployment)["version"] for _ in range(count)]
    except ServiceError as err:
        if err.status == 404:
            return []
        raise


def switch(cloud: Cloud, deployment: str, version: object) -> Any:
    """Request an update to a new model that answers with this version; return the SDK's response."""
    return cloud.switch(deployment, cloud.echo_model(version))


@pytest.fixture
def old(cloud: Cloud) -> str:
    """A deployment whose model answers with version `old`."""
    return cloud.deployment(cloud.echo_model("old"))


@pytest.mark.parametrize(
    ("operation", "kind", "status", "state", "named", "answers"),
    [
        ("CreateModelDeployment", "work_request_failed", "FAILED", "FAILED", "new", None),
        ("CreateModelDeployment", "needs_attention", "FAILED", "NEEDS_ATTENTION", "new", None),
        ("CreateModelDeployment", "failed", "FAILED", "FAILED", "new", None),
        ("CreateModelDeployment", "half_done", "FAILED", "FAILED", "new", "new"),
        ("CreateModelDeployment", "old_still_serves", "SUCCEEDED", "ACTIVE", "new", None),
        ("UpdateModelDeployment", "work_request_failed", "FAILED", "ACTIVE", "old", "old"),
        ("UpdateModelDeployment", "needs_attention", "FAILED", "NEEDS_ATTENTION", "old", "old"),
        ("UpdateModelDeployment", "failed", "FAILED", "FAILED", "old", "old"),
        ("UpdateModelDeployment", "half_done", "FAILED", "ACTIVE", "old", "new"),
        ("UpdateModelDeployment", "silently_reverted", "SUCCEEDED", "ACTIVE", "old", "old"),
        ("UpdateModelDeployment", "old_still_serves", "SUCCEEDED", "ACTIVE", "new", "old"),
        ("DeleteModelDeployment", "work_request_failed", "FAILED", "NEEDS_ATTENTION", "old", "old"),
        ("DeleteModelDeployment", "needs_attention", "FAILED", "NEEDS_ATTENTION", "old", "old"),
        ("DeleteModelDeployment", "failed", "FAILED", "FAILED", "old", "old"),
        ("DeleteModelDeployment", "half_done", "FAILED", "NEEDS_ATTENTION", "old", None),
        ("DeleteModelDeployment", "silently_reverted", "SUCCEEDED", "ACTIVE", "old", "old"),
        ("DeleteModelDeployment", "old_still_serves", "SUCCEEDED", "DELETED", "old", "old"),
        ("DeactivateModelDeployment", "work_request_failed", "FAILED", "ACTIVE", "old", "old"),
        ("DeactivateModelDeployment", "failed", "FAILED", "FAILED", "old", "old"),
        ("DeactivateModelDeployment", "half_done", "FAILED", "ACTIVE", "old", None),
        ("DeactivateModelDeployment", "silently_reverted", "SUCCEEDED", "ACTIVE", "old", "old"),
        ("DeactivateModelDeployment", "old_still_serves", "SUCCEEDED", "INACTIVE", "old", "old"),
        ("ActivateModelDeployment", "work_request_failed", "FAILED", "FAILED", "old", None),
        ("ActivateModelDeployment", "half_done", "FAILED", "FAILED", "old", "old"),
        ("ActivateModelDeployment", "silently_reverted", "SUCCEEDED", "INACTIVE", "old", None),
        ("ActivateModelDeployment", "old_still_serves", "SUCCEEDED", "ACTIVE", "old", None),
    ],
)
def test_a_fault_decides_what_is_reported_and_what_is_true(
    cloud: Cloud, operation: str, kind: str, status: str, state: str, named: str, answers: str | None
) -> None:
    ids = {version: cloud.echo_model(version) for version in ("old", "new")}
    deployment = None if operation == "CreateModelDeployment" else cloud.deployment(ids["old"])
    if operation == "ActivateModelDeployment":
        cloud.succeeded(cloud.science.deactivate_model_deployment(deployment))
    cloud.emulator.fail_next(operation, kind, message="ordered")
    if deployment is None:
        response = cloud.begin_deployment(ids["new"])
    else:
        more = [model_switch(ids["new"])] if operation == "UpdateModelDeployment" else []
        response = getattr(cloud.science, CHANGES[operation])(deployment, *more)
    work_request = cloud.finished(response)
    deployment = deployment or response.data.id
    assert (work_request.status, work_request.percent_complete) == (status, 100)
    assert cloud.errors(work_request) == ("ordered" if status == "FAILED" else "")
    shown = cloud.science.get_model_deployment(deployment).data
    assert (shown.lifecycle_state, shown.lifecycle_details) == (state, "ordered" if status == "FAILED" else None)
    assert cloud.deployed_model(deployment) == ids[named]
    assert versions(cloud, deployment) == ([answers] * 4 if answers else [])


@pytest.mark.parametrize("kind", ["half_done", "silently_reverted", "old_still_serves", "stale_replica"])
def test_the_next_update_repairs_even_with_the_same_model(cloud: Cloud, old: str, kind: str) -> None:
    cloud.emulator.fail_next("UpdateModelDeployment", kind)
    cloud.finished(switch(cloud, old, "new"))
    named = cloud.deployed_model(old)
    cloud.succeeded(cloud.switch(old, named))
    repaired = "old" if kind in ("half_done", "silently_reverted") else "new"
    assert versions(cloud, old, 8) == [repaired] * 8
    assert len(list((cloud.emulator.data_dir / "deployments" / old).iterdir())) == 1
    cloud.succeeded(switch(cloud, old, "last"))
    assert versions(cloud, old, 8) == ["last"] * 8


@pytest.mark.parametrize("operation", ["CreateModelDeployment", "UpdateModelDeployment"])
def test_a_deployment_that_needs_attention_can_be_updated(cloud: Cloud, operation: str) -> None:
    cloud.emulator.fail_next(operation, "needs_attention")
    response = cloud.begin_deployment(cloud.model())
    deployment = response.data.id
    if operation == "UpdateModelDeployment":
        cloud.succeeded(response)
        response = switch(cloud, deployment, "new")
    cloud.failed(response)
    cloud.succeeded(switch(cloud, deployment, "repaired"))
    assert cloud.state(deployment) == "ACTIVE"
    assert versions(cloud, deployment) == ["repaired"] * 4


def test_a_failed_deployment_can_only_be_deleted(cloud: Cloud, old: str) -> None:
    cloud.emulator.fail_next("UpdateModelDeployment", "failed")
    cloud.failed(switch(cloud, old, "new"))
    assert refusal(switch, cloud, old, "newer") == (409, "IncorrectState")
    cloud.succeeded(cloud.science.delete_model_deployment(old))
    assert cloud.state(old) == "DELETED"


def test_one_of_four_answers_is_old_until_the_next_successful_update(cloud: Cloud, old: str) -> None:
    cloud.emulator.fail_next("UpdateModelDeployment", "stale_replica")
    cloud.succeeded(switch(cloud, old, "new"))
    assert cloud.state(old) == "ACTIVE"
    assert versions(cloud, old, 8) == ["new", "new", "new", "old"] * 2
    cloud.emulator.fail_next("UpdateModelDeployment", "work_request_failed")
    cloud.failed(switch(cloud, old, "newer"))
    assert versions(cloud, old, 4).count("old") == 1
    cloud.succeeded(switch(cloud, old, "newest"))
    assert versions(cloud, old, 8) == ["newest"] * 8


@pytest.mark.parametrize(("probability", "seen"), [(0, {"new"}), (0.5, {"old", "new"}), (1, {"old"})])
def test_a_replica_is_old_by_chance(cloud: Cloud, old: str, probability: float, seen: set[str]) -> None:
    cloud.emulator.fail_next("UpdateModelDeployment", "random_replica", probability=probability)
    cloud.succeeded(switch(cloud, old, "new"))
    assert set(versions(cloud, old, 60)) == seen
    cloud.succeeded(switch(cloud, old, "newest"))
    assert set(versions(cloud, old, 8)) == {"newest"}


def test_a_work_request_can_be_stuck_until_the_faults_are_cleared(cloud: Cloud, old: str) -> None:
    cloud.emulator.fail_next("UpdateModelDeployment", "stuck")
    response = switch(cloud, old, "new")
    time.sleep(0.4)
    work_request = cloud.science.get_work_request(response.headers["opc-work-request-id"]).data
    assert work_request.status == "IN_PROGRESS"
    assert work_request.percent_complete < 100
    assert cloud.state(old) == "UPDATING"
    assert versions(cloud, old) == ["old"] * 4
    assert refusal(switch, cloud, old, "other") == (409, "IncorrectState")
    cloud.emulator.clear_faults()
    cloud.succeeded(response)
    assert versions(cloud, old) == ["new"] * 4


@pytest.mark.parametrize(
    ("operation", "during", "after"),
    [("CreateModelDeployment", "CREATING", "ACTIVE"), ("DeleteModelDeployment", "DELETING", "DELETED")],
)
def test_a_creation_and_a_deletion_can_be_stuck(cloud: Cloud, operation: str, during: str, after: str) -> None:
    cloud.emulator.fail_next(operation, "stuck")
    response = cloud.begin_deployment(cloud.model())
    deployment = response.data.id
    if operation == "DeleteModelDeployment":
        cloud.succeeded(response)
        response = cloud.science.delete_model_deployment(deployment)
    assert cloud.state(deployment) == during
    cloud.emulator.clear_faults()
    cloud.succeeded(response)
    assert cloud.state(deployment) == after


def raw_state(cloud: Cloud, deployment: str) -> str:
    client = cloud.science.base_client
    answer = client.call_api(f"/modelDeployments/{deployment}", "GET", response_type="stream")
    return str(json.loads(answer.data.content)["lifecycleState"])


@pytest.mark.parametrize("operation", ["CreateModelDeployment", "UpdateModelDeployment"])
def test_a_state_can_be_one_that_oci_does_not_have(cloud: Cloud, operation: str) -> None:
    cloud.emulator.fail_next(operation, "unknown_state", state="DREAMING")
    response = cloud.begin_deployment(cloud.model())
    deployment = response.data.id
    cloud.succeeded(response)
    if operation == "UpdateModelDeployment":
        assert raw_state(cloud, deployment) == "ACTIVE"
        cloud.succeeded(switch(cloud, deployment, "new"))
    assert raw_state(cloud, deployment) == "DREAMING"
    assert cloud.state(deployment) == "UNKNOWN_ENUM_VALUE"  # the SDK's value for an unknown state
    listed = cloud.science.list_model_deployments(cloud.compartment).data
    assert [item.lifecycle_state for item in listed] == ["UNKNOWN_ENUM_VALUE"]
    cloud.succeeded(switch(cloud, deployment, "next"))
    assert raw_state(cloud, deployment) == "ACTIVE"


def test_reads_can_be_stale_with_the_old_etag(cloud: Cloud, old: str) -> None:
    for seconds in (0.9, 9.0, 90.0):  # until the machine is fast enough to read in time
        before = cloud.science.get_model_deployment(old)
        time.sleep(seconds)
        cloud.emulator.clear_faults()
        cloud.emulator.fail_next("GetModelDeployment", "stale_read", seconds=seconds, times=None)
        began, new = time.monotonic(), f"new for {seconds} s"
        details = models.UpdateModelDeploymentDetails(description=new)
        cloud.succeeded(cloud.science.update_model_deployment(old, details))
        stale = cloud.science.get_model_deployment(old)
        if time.monotonic() - began < seconds:
            break
    assert (stale.headers["etag"], stale.data.description) == (before.headers["etag"], before.data.description)
    again = models.UpdateModelDeploymentDetails(description="again")
    etag = stale.headers["etag"]
    answer = refusal(cloud.science.update_model_deployment, old, again, if_match=etag)
    assert answer == (412, "NoEtagMatch")  # writes are never stale
    wait_for("the new description", lambda: cloud.science.get_model_deployment(old).data.description == new)
    assert time.monotonic() > began + seconds


def test_a_stale_read_hits_only_the_ordered_number_of_calls(cloud: Cloud, old: str) -> None:
    cloud.succeeded(cloud.science.update_model_deployment(old, models.UpdateModelDeploymentDetails(description="new")))
    cloud.emulator.fail_next("GetModelDeployment", "stale_read", seconds=600)
    assert refusal(cloud.science.get_model_deployment, old) == (404, "NotAuthorizedOrNotFound")
    assert cloud.science.get_model_deployment(old).data.description == "new"


def test_lists_can_be_stale(cloud: Cloud, old: str) -> None:
    def states() -> dict[str, str]:
        listed = cloud.science.list_model_deployments(cloud.compartment).data
        return {item.id: item.lifecycle_state for item in listed}

    known = {old: "ACTIVE"}
    for seconds in (0.3, 3.0, 30.0):  # until the machine is fast enough to read in time
        time.sleep(seconds)
        before = len(cloud.science.list_models(cloud.compartment).data)
        cloud.emulator.clear_faults()
        cloud.emulator.fail_next("ListModelDeployments", "stale_read", seconds=seconds, times=None)
        cloud.emulator.fail_next("ListModels", "stale_read", seconds=seconds)
        began = time.monotonic()
        created = cloud.deployment(cloud.model())
        known[created] = "ACTIVE"
        seen, count = states(), len(cloud.science.list_models(cloud.compartment).data)
        if time.monotonic() - began < seconds:
            break
    assert seen.get(created) != "ACTIVE"
    assert count == before
    wait_for("the new deployment in the list", lambda: states() == known)


@pytest.mark.parametrize(
    ("operation", "kind", "details"),
    [
        ("CreateModelDeployment", "stale_replica", {}),
        ("CreateModelDeployment", "silently_reverted", {}),
        ("GetModelDeployment", "needs_attention", {}),
        ("*", "stuck", {}),
        ("UpdateModelDeployment", "stale_read", {"seconds": 1}),
        ("GetObject", "stale_read", {"seconds": 1}),
        ("GetModel", "stale_read", {}),
        ("GetModel", "stale_read", {"seconds": 601}),
        ("UpdateModelDeployment", "random_replica", {"probability": 1.1}),
        ("UpdateModelDeployment", "unknown_state", {"state": ""}),
    ],
)
def test_a_fault_that_an_operation_cannot_have_is_refused(
    cloud: Cloud, operation: str, kind: str, details: dict[str, Any]
) -> None:
    with pytest.raises(EmulatorError, match="was refused"):
        cloud.emulator.fail_next(operation, kind, **details)
    assert cloud.emulator.faults() == []


def test_an_accepted_change_can_be_left_undone(cloud: Cloud, old: str) -> None:
    model = cloud.empty_model()
    for operation in ("DeleteModel", "UpdateModel", "DeleteModelDeployment"):
        cloud.emulator.fail_next(operation, "not_done")
    assert cloud.science.delete_model(model).status == 204
    renamed = models.UpdateModelDetails(display_name="renamed")
    assert cloud.science.update_model(model, renamed).data.display_name == "renamed"
    left = cloud.science.get_model(model).data
    assert (left.lifecycle_state, left.display_name) == ("ACTIVE", "m")
    response = cloud.science.delete_model_deployment(old)
    assert response.status == 202
    assert refusal(cloud.science.get_work_request, response.headers["opc-work-request-id"])[0] == 404
    assert (cloud.state(old), versions(cloud, old)) == ("ACTIVE", ["old"] * 4)


def test_a_write_or_deletion_of_an_object_can_be_left_undone(cloud: Cloud) -> None:
    bucket = cloud.bucket
    bucket.put_object("a", b"before")
    for operation in ("PutObject", "DeleteObject"):
        cloud.emulator.fail_next(operation, "not_done")
    bucket.put_object("a", b"after")
    assert bucket.read("a") == b"before"
    bucket.delete_object("a")
    assert bucket.read("a") == b"before"
    bucket.put_object("a", b"after")
    assert bucket.read("a") == b"after"
