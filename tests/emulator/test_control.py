import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import oci
import pytest
from oci.data_science import models

from oci_emulator.control import ORDERS
from oci_emulator.disturbances import PID_HEADER
from oci_emulator.guards import ORDER_HEADER
from tests.emulator.clouds import Cloud, artifact, refusal, wait_for


def control(cloud: Cloud, method: str, path: str, body: bytes | None = None, **headers: str | None) -> tuple[int, Any]:
    """Give an order; a header of None is not sent."""
    sent = {"content-type": "application/json", ORDER_HEADER: cloud.emulator.token, **headers}
    given = {name: value for name, value in sent.items() if value is not None}
    return send(cloud, method, f"_emulator/{path}", body, given)


def send(cloud: Cloud, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
    """Return the status and the JSON of the emulator's answer."""
    url = f"{cloud.emulator.url}/{path}"
    request = urllib.request.Request(url, method=method, data=body, headers=headers)  # noqa: S310 - always http
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - always http
            return response.status, json.load(response)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, json.load(err)


def test_health_needs_neither_signature_nor_token(cloud: Cloud) -> None:
    status, body = control(cloud, "GET", "health", **{ORDER_HEADER: None})
    assert (status, body) == (200, {"status": "ok"})


FOREIGN = [
    ({"Origin": "http://evil.example"}, "answers no web page"),
    ({"Origin": "null"}, "answers no web page"),
    ({"Host": "evil.example"}, "is not the host 'evil.example'"),
    ({"Host": "evil.example:4599"}, "is not the host"),
    ({"Host": "127.0.0.1.evil.example"}, "is not the host"),
    ({"Host": "[::1"}, "is not the host"),
]
WITHOUT_TOKEN = [
    ({ORDER_HEADER: None}, "the token of the ready file"),
    ({ORDER_HEADER: ""}, "the token of the ready file"),
    ({ORDER_HEADER: "wrong"}, "the token of the ready file"),
]


@pytest.mark.parametrize(("headers", "reason"), [*FOREIGN, *WITHOUT_TOKEN])
def test_an_order_of_a_web_page_or_without_the_token_is_refused(
    cloud: Cloud, headers: dict[str, str | None], reason: str
) -> None:
    ordered = [(method, path.removeprefix("/")) for method, path, _ in ORDERS if path != "/health"]
    assert ("POST", "reset") in ordered
    for method, path in [*ordered, ("POST", "unknown")]:
        status, answer = control(cloud, method, path, b"{}", **headers)
        assert (status, method, path) == (403, method, path)
        assert reason in answer["error"]


@pytest.mark.parametrize(("headers", "reason"), FOREIGN)
def test_a_web_page_gets_no_answer_of_oci_and_ends_no_process(
    cloud: Cloud, headers: dict[str, str], reason: str
) -> None:
    cloud.emulator.fail_next("ListProjects", "kill_client_before")
    cloud.emulator.clear_calls()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        named = {**headers, PID_HEADER: str(victim.pid)}
        status, answer = send(cloud, "GET", "20190101/projects?compartmentId=c", None, named)
        assert status == 403
        assert reason in answer["error"]
        assert victim.poll() is None
        assert victim.stdin is not None
        victim.stdin.close()
    assert cloud.emulator.calls() == []


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
        ("POST", "faults", b'{"nth": 100, "kind": "status", "after": 1}', "after"),
        ("POST", "faults", b'{"nth": 100, "kind": "status", "times": 0}', "times"),
        ("POST", "faults", b"{", "JSON"),
        ("PUT", "timings", b'{"create": "soon"}', "create"),
        ("PUT", "timings", b'{"create": -1}', "create"),
        ("PUT", "timings", b'{"create": NaN}', "create"),
        ("PUT", "timings", b'{"creation": 1}', "creation"),
        ("PUT", "timings", b"[]", "body"),
    ],
)
def test_invalid_control_input_is_refused_with_a_reason(
    cloud: Cloud, method: str, path: str, body: bytes, reason: str
) -> None:
    status, answer = control(cloud, method, path, body)
    assert status == 400
    assert reason in answer["error"]
    assert cloud.emulator.faults() == []


def test_an_unknown_control_path_is_not_found(cloud: Cloud) -> None:
    assert control(cloud, "GET", "fault")[0] == 404
    assert control(cloud, "DELETE", "health")[0] == 404


def test_one_timing_changes_without_the_others(cloud: Cloud) -> None:
    assert cloud.emulator.set_timings(create=1.5)["create"] == 1.5
    assert control(cloud, "GET", "timings")[1] == {
        "create": 1.5,
        "update": 0,
        "delete": 0,
        "activate": 0,
        "deactivate": 0,
    }


def test_a_status_fault_hits_the_next_calls_and_changes_nothing(cloud: Cloud) -> None:
    model = cloud.empty_model()
    cloud.emulator.fail_next("DeleteModel", status=503, code="X", times=2)
    assert refusal(cloud.science.delete_model, model) == (503, "X")
    assert cloud.science.get_model(model).data.lifecycle_state == "ACTIVE"
    assert refusal(cloud.science.delete_model, model) == (503, "X")
    assert cloud.science.delete_model(model).status == 204
    assert cloud.emulator.faults() == []


def test_a_fault_can_skip_calls_first(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", after=2)
    for _ in range(2):
        cloud.science.list_models(cloud.compartment)
    assert refusal(cloud.science.list_models, cloud.compartment)[0] == 500
    cloud.science.list_models(cloud.compartment)


def test_a_fault_can_hit_any_operation(cloud: Cloud) -> None:
    cloud.emulator.fail_next("*", status=503, times=2)
    assert refusal(cloud.storage.get_namespace)[0] == 503
    assert refusal(cloud.science.list_models, cloud.compartment)[0] == 503


def test_faults_can_be_cleared(cloud: Cloud) -> None:
    cloud.emulator.fail_next("ListModels", times=9)
    assert [fault["times"] for fault in cloud.emulator.faults()] == [9]
    cloud.emulator.clear_faults()
    cloud.science.list_models(cloud.compartment)


def test_an_error_response_can_be_lost_too(cloud: Cloud) -> None:
    cloud.emulator.fail_next("GetModel", "drop_after")
    with pytest.raises(oci.exceptions.RequestException):
        cloud.science.get_model("ocid1.datasciencemodel.oc1..no")
    assert refusal(cloud.science.get_model, "ocid1.datasciencemodel.oc1..no")[0] == 404


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


def test_reset_removes_everything(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.bucket.put_object("a", b"x")
    cloud.emulator.fail_next("ListModels")
    cloud.emulator.reset()
    assert cloud.emulator.calls() == []
    assert refusal(cloud.predict, deployment)[0] == 404
    assert cloud.science.list_models(cloud.compartment).data == []
    assert cloud.storage.list_buckets(cloud.emulator.namespace, cloud.compartment).data == []
    assert list((cloud.emulator.data_dir / "objects").iterdir()) == []


def test_reset_does_not_wait_for_a_transition(cloud: Cloud) -> None:
    cloud.emulator.set_timings(create=300)
    model = cloud.model()
    for _ in range(3):
        cloud.begin_deployment(model)
    start = time.monotonic()
    cloud.emulator.reset()
    assert time.monotonic() - start < 300
    assert cloud.science.list_model_deployments(cloud.compartment).data == []


def test_reset_while_a_server_is_being_removed(cloud: Cloud) -> None:
    files = {f"file_{number}__txt": "" for number in range(10_000)}
    deployment = cloud.deployment(cloud.model(artifact(**files)))
    [folder] = (cloud.emulator.data_dir / "deployments" / deployment).glob("*/artifact")
    cloud.science.delete_model_deployment(deployment)
    wait_for("the removal has begun", lambda: not folder.exists() or sum(1 for _ in folder.iterdir()) < len(files))
    for _ in range(2):
        cloud.emulator.reset()
    assert list((cloud.emulator.data_dir / "deployments").iterdir()) == []
    assert list(cloud.emulator.data_dir.glob("removed-*")) == []
