import json
import time
import urllib.error
import urllib.request
from typing import Any

import oci
import pytest
from oci.data_science import models

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import Cloud, artifact, echo_score, model_switch, refusal


def control(cloud: Cloud, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - always http
        f"{cloud.emulator.url}/_emulator/{path}",
        method=method,
        data=body,
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - always http
            return response.status, json.load(response)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, json.load(err)


def test_health_needs_no_signature(cloud: Cloud) -> None:
    status, body = control(cloud, "GET", "health")
    assert (status, body["status"], body["namespace"]) == (200, "ok", "emulator")


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "faults", b'{"operation": "GetModels", "kind": "status"}', "GetModels"),
        ("POST", "faults", b'{"operation": "GetModel", "kind": "explode"}', "kind"),
        ("POST", "faults", b'{"operation": "GetModel", "kind": "status", "status": 200}', "status"),
        ("POST", "faults", b'{"operation": "GetModel", "kind": "slow", "seconds": -1}', "seconds"),
        ("POST", "faults", b'{"operation": "GetModel", "kind": "status", "often": 3}', "often"),
        ("POST", "faults", b'{"kind": "status"}', "operation"),
        ("POST", "faults", b'{"operation": "*", "kind": "stale_replica"}', "UpdateModelDeployment only"),
        ("POST", "faults", b"{", "JSON"),
        ("PUT", "timings", b'{"create": "soon"}', "create"),
        ("PUT", "timings", b'{"create": -1}', "create"),
        ("PUT", "timings", b'{"create": NaN}', "create"),
        ("PUT", "timings", b'{"creation": 1}', "creation"),
        ("PUT", "timings", b"[]", "body"),
    ],
)
def test_bad_control_input_is_refused_with_a_reason(
    cloud: Cloud, method: str, path: str, body: bytes, reason: str
) -> None:
    status, answer = control(cloud, method, path, body)
    assert status == 400
    assert reason in answer["error"]
    assert cloud.emulator.faults() == []


def test_an_unknown_control_path_is_said(cloud: Cloud) -> None:
    assert control(cloud, "GET", "fault")[0] == 404
    assert control(cloud, "DELETE", "health")[0] == 404


def test_the_helper_quotes_what_was_refused(cloud: Cloud) -> None:
    with pytest.raises(EmulatorError, match="GetModels"):
        cloud.emulator.fail_next("GetModels")


def test_timings_change_one_by_one(cloud: Cloud) -> None:
    assert cloud.emulator.set_timings(create=1.5)["create"] == 1.5
    assert control(cloud, "GET", "timings")[1] == {
        "create": 1.5,
        "update": 0,
        "delete": 0,
        "activate": 0,
        "deactivate": 0,
    }


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (500, "InternalServerError"), (503, "X")])
def test_a_status_hits_the_next_calls_and_does_no_work(cloud: Cloud, status: int, code: str) -> None:
    model = cloud.empty_model()
    cloud.emulator.fail_next("DeleteModel", status=status, code=code, times=2)
    assert refusal(cloud.science.delete_model, model) == (status, code)
    assert cloud.science.get_model(model).data.lifecycle_state == "ACTIVE"
    assert refusal(cloud.science.delete_model, model) == (status, code)
    assert cloud.science.delete_model(model).status == 204
    assert cloud.emulator.faults() == []


def test_a_fault_can_wait_for_later_calls(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", after=2)
    for _ in range(2):
        cloud.science.list_models(cloud.compartment)
    assert refusal(cloud.science.list_models, cloud.compartment)[0] == 500
    cloud.science.list_models(cloud.compartment)


def test_a_fault_can_hit_any_operation(cloud: Cloud) -> None:
    cloud.emulator.fail_next("*", status=503, times=2)
    assert refusal(cloud.storage.get_namespace)[0] == 503
    assert refusal(cloud.science.list_models, cloud.compartment)[0] == 503


def test_faults_can_be_taken_back(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", times=9)
    assert [fault["times"] for fault in cloud.emulator.faults()] == [9]
    cloud.emulator.clear_faults()
    cloud.science.list_models(cloud.compartment)


def test_slow_is_slow_and_then_works(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", "slow", seconds=0.4)
    start = time.monotonic()
    assert cloud.science.list_models(cloud.compartment).data == []
    assert time.monotonic() - start >= 0.4


def test_a_connection_dropped_before_does_no_work(cloud: Cloud) -> None:
    model = cloud.empty_model()
    cloud.emulator.fail_next("DeleteModel", "drop_before")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.delete_model(model)
    assert cloud.science.get_model(model).data.lifecycle_state == "ACTIVE"


def test_a_connection_dropped_after_has_done_the_work(cloud: Cloud) -> None:
    model = cloud.empty_model()
    cloud.emulator.fail_next("DeleteModel", "drop_after")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.delete_model(model)
    assert cloud.science.get_model(model).data.lifecycle_state == "DELETED"


def test_a_refusal_can_be_lost_too(cloud: Cloud) -> None:
    cloud.emulator.fail_next("GetModel", "drop_after")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.get_model("ocid1.datasciencemodel.oc1..no")
    assert refusal(cloud.science.get_model, "ocid1.datasciencemodel.oc1..no")[0] == 404


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_dropped_create_makes_one_resource_with_a_token(cloud: Cloud, kind: str) -> None:
    details = models.CreateProjectDetails(compartment_id=cloud.compartment, display_name="one")
    cloud.emulator.fail_next("CreateProject", kind)
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.create_project(details, opc_retry_token="t")
    cloud.science.create_project(details, opc_retry_token="t")
    assert len(cloud.science.list_projects(cloud.compartment).data) == 1


def test_the_sdk_itself_recovers_from_a_lost_response(cloud: Cloud) -> None:
    cloud.emulator.fail_next("CreateProject", "drop_after")
    retry = oci.retry.RetryStrategyBuilder(max_attempts=2).get_retry_strategy()
    details = models.CreateProjectDetails(compartment_id=cloud.compartment)
    assert cloud.science.create_project(details, retry_strategy=retry).status == 200
    assert len(cloud.science.list_projects(cloud.compartment).data) == 1


def test_predict_can_fail_and_drop(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.emulator.fail_next("Predict", status=429, code="TooManyRequests")
    assert refusal(cloud.predict, deployment) == (429, "TooManyRequests")
    cloud.emulator.fail_next("Predict", "drop_before")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.predict(deployment)
    assert cloud.predict(deployment)["version"] == 1


def test_an_update_can_be_made_to_fail(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
    old = cloud.deployed_model(deployment)
    cloud.emulator.fail_next("UpdateModelDeployment", "work_request_failed", message="no capacity")
    response = cloud.science.update_model_deployment(deployment, model_switch(cloud.model()))
    assert cloud.failed(response) == "no capacity"
    assert (cloud.state(deployment), cloud.deployed_model(deployment)) == ("ACTIVE", old)
    assert cloud.predict(deployment)["version"] == "old"


def test_a_create_can_be_made_to_fail(cloud: Cloud) -> None:
    cloud.emulator.fail_next("CreateModelDeployment", "work_request_failed")
    response = cloud.begin_deployment(cloud.model())
    cloud.failed(response)
    assert cloud.state(response.data.id) == "FAILED"
    assert refusal(cloud.predict, response.data.id)[0] == 404


def test_an_update_can_leave_a_deployment_in_need_of_attention(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
    new = cloud.model(artifact(echo_score("new")))
    cloud.emulator.fail_next("UpdateModelDeployment", "needs_attention")
    cloud.failed(cloud.science.update_model_deployment(deployment, model_switch(new)))
    assert cloud.state(deployment) == "NEEDS_ATTENTION"
    assert cloud.predict(deployment)["version"] == "old"
    cloud.succeeded(cloud.science.update_model_deployment(deployment, model_switch(new)))
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.predict(deployment)["version"] == "new"


def test_an_update_can_fail_a_deployment_which_can_then_only_be_deleted(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
    switch = model_switch(cloud.model(artifact(echo_score("new"))))
    cloud.emulator.fail_next("UpdateModelDeployment", "failed", message="lost its load balancer")
    cloud.failed(cloud.science.update_model_deployment(deployment, switch))
    found = cloud.science.get_model_deployment(deployment).data
    assert (found.lifecycle_state, found.lifecycle_details) == ("FAILED", "lost its load balancer")
    assert refusal(cloud.science.update_model_deployment, deployment, switch) == (409, "IncorrectState")
    cloud.succeeded(cloud.science.delete_model_deployment(deployment))
    assert cloud.state(deployment) == "DELETED"


@pytest.mark.parametrize(
    ("kind", "shows_new", "versions"),
    [
        ("silently_reverted", False, ["old"] * 8),
        ("old_still_serves", True, ["old"] * 8),
        ("stale_replica", True, ["new", "new", "new", "old"] * 2),
    ],
)
def test_an_update_can_be_a_lie(cloud: Cloud, kind: str, shows_new: bool, versions: list[str]) -> None:
    deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
    old, new = cloud.deployed_model(deployment), cloud.model(artifact(echo_score("new")))
    cloud.emulator.fail_next("UpdateModelDeployment", kind)
    cloud.succeeded(cloud.science.update_model_deployment(deployment, model_switch(new)))
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.deployed_model(deployment) == (new if shows_new else old)
    assert [cloud.predict(deployment)["version"] for _ in versions] == versions
    last = cloud.model(artifact(echo_score("last")))
    cloud.succeeded(cloud.science.update_model_deployment(deployment, model_switch(last)))
    assert {cloud.predict(deployment)["version"] for _ in range(8)} == {"last"}
    assert len(list((cloud.emulator.data_dir / "deployments" / deployment).iterdir())) == 1


def test_calls_are_listed_in_order(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.emulator.clear_calls()
    cloud.science.get_model_deployment(deployment, opc_request_id="MINE")
    refusal(cloud.science.get_model, "ocid1.datasciencemodel.oc1..no")
    cloud.predict(deployment)
    calls = cloud.emulator.calls()
    assert [(call["operation"], call["status"]) for call in calls] == [
        ("GetModelDeployment", 200),
        ("GetModel", 404),
        ("Predict", 200),
    ]
    assert calls[0]["opc_request_id"].startswith("MINE")
    assert [call["deployment_id"] for call in calls] == [deployment, None, deployment]
    assert calls[2]["path"] == f"/{deployment}/predict"
    assert [call["number"] for call in calls] == sorted(call["number"] for call in calls)


def test_a_dropped_call_is_listed_as_such(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", "drop_before")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.list_models(cloud.compartment)
    call = cloud.emulator.calls("ListModels")[0]
    assert (call["dropped"], call["status"]) == (True, None)


def test_reset_forgets_all(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.storage.put_object(cloud.emulator.namespace, cloud.bucket, "a", b"x")
    cloud.emulator.fail_next("ListModels")
    cloud.emulator.reset()
    assert cloud.emulator.calls() == []
    assert refusal(cloud.predict, deployment)[0] == 404
    assert cloud.science.list_models(cloud.compartment).data == []
    assert cloud.storage.list_buckets(cloud.emulator.namespace, cloud.compartment).data == []
    assert list((cloud.emulator.data_dir / "objects").iterdir()) == []


def test_reset_in_the_middle_of_a_transition_is_clean(cloud: Cloud) -> None:
    cloud.emulator.set_timings(create=300)
    model = cloud.model()
    for _ in range(3):
        cloud.begin_deployment(model)
    start = time.monotonic()
    cloud.emulator.reset()
    assert time.monotonic() - start < 300  # no transition was waited for
    assert cloud.science.list_model_deployments(cloud.compartment).data == []
