"""Faults at the nth call, and what survives a restart."""

import os
import re
import signal
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.data_science import DataScienceClient, models

from oci_emulator.faults import KINDS
from oci_emulator.testing import EmulatorError, running_emulator
from tests.emulator.clouds import Cloud, refusal

PID_HEADER = "x-recdeploy-test-pid"


def projects(cloud: Cloud) -> int:
    return len(cloud.science.list_projects(cloud.compartment).data)


def create_project(client: Any, cloud: Cloud) -> Any:
    return client.create_project(models.CreateProjectDetails(compartment_id=cloud.compartment), opc_retry_token="t")


def test_calls_are_numbered_since_they_were_cleared(cloud: Cloud) -> None:
    projects(cloud)
    cloud.emulator.clear_calls()
    projects(cloud)
    refusal(cloud.science.get_model, "ocid1.datasciencemodel.oc1..no")
    assert [(call["nth"], call["operation"]) for call in cloud.emulator.calls()] == [
        (1, "ListProjects"),
        (2, "GetModel"),
    ]


@pytest.mark.parametrize(
    ("kind", "done"),
    [
        ("status", 0),
        ("status_after", 1),
        ("drop_before", 0),
        ("drop_after", 1),
        ("kill_client_before", 0),
        ("kill_client_after", 1),
        ("slow", 1),
        ("not_done", 0),
    ],
)
def test_a_fault_hits_the_nth_call_of_any_operation(cloud: Cloud, kind: str, done: int) -> None:
    cloud.emulator.clear_calls()
    seconds = 60 if kind == "not_done" else 0.2  # not_done does not wait
    fault = cloud.emulator.fail_at(3, kind, status=503, seconds=seconds)
    assert (fault["operation"], fault["nth"], fault["code"]) == ("*", 3, "ServiceUnavailable")
    cloud.science.list_models(cloud.compartment)
    cloud.science.list_model_deployments(cloud.compartment)
    start = time.monotonic()
    if kind in ("slow", "not_done"):
        create_project(cloud.science, cloud)
    else:
        expected = oci.exceptions.ServiceError if "status" in kind else oci.exceptions.RequestException
        with pytest.raises(expected):
            create_project(cloud.science, cloud)
    assert (time.monotonic() - start >= seconds) == (kind != "not_done")
    assert projects(cloud) == done
    assert cloud.emulator.faults() == []
    create_project(cloud.science, cloud)
    assert projects(cloud) == 1


def test_an_outcome_can_be_ordered_for_the_nth_call(cloud: Cloud) -> None:
    deployment, new = cloud.deployment(cloud.echo_model("old")), cloud.echo_model("new")
    cloud.emulator.clear_calls()
    cloud.emulator.fail_at(2, "silently_reverted")
    cloud.state(deployment)
    cloud.succeeded(cloud.switch(deployment, new))
    assert cloud.predict(deployment)["version"] == "old"


def test_an_outcome_stays_pending_if_the_nth_call_cannot_have_it(cloud: Cloud) -> None:
    cloud.emulator.clear_calls()
    cloud.emulator.fail_at(1, "silently_reverted")
    cloud.emulator.fail_at(2, "status", operation="GetModel")
    projects(cloud)
    projects(cloud)
    assert [fault["nth"] for fault in cloud.emulator.faults()] == [1, 2]


def test_several_calls_in_a_row_can_be_hit(cloud: Cloud) -> None:
    cloud.emulator.clear_calls()
    cloud.emulator.fail_at(2, status=429, times=2)
    statuses = []
    for _ in range(4):
        try:
            projects(cloud)
            statuses.append(200)
        except oci.exceptions.ServiceError as err:
            statuses.append(err.status)
    assert statuses == [200, 429, 429, 200]


def test_a_fault_cannot_be_ordered_for_a_past_call(cloud: Cloud) -> None:
    cloud.emulator.clear_calls()
    projects(cloud)
    with pytest.raises(EmulatorError, match="call 1 has passed; 1 calls have come"):
        cloud.emulator.fail_at(1)
    assert cloud.emulator.fail_at(2)["nth"] == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidParameter"),
        (404, "NotAuthorizedOrNotFound"),
        (409, "IncorrectState"),
        (412, "NoEtagMatch"),
        (429, "TooManyRequests"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (504, "InternalServerError"),
    ],
)
def test_a_status_has_the_error_code_of_oci(cloud: Cloud, status: int, code: str) -> None:
    cloud.emulator.fail_next("ListModels", status=status)
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.science.list_models(cloud.compartment)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "retry-after" not in caught.value.headers  # OCI does not document it; its clients back off


def in_child(work: Callable[[], object]) -> int:
    """Run a function in a child process; return the signal that ended it, or the negative exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def named_client(cloud: Cloud, pid: object = None) -> Any:
    """Return a client that names a process, its own by default."""
    client = cloud.client(DataScienceClient)
    client.base_client.session.headers[PID_HEADER] = str(os.getpid() if pid is None else pid)
    return client


@pytest.mark.parametrize(("kind", "done"), [("kill_client_before", 0), ("kill_client_after", 1)])
def test_a_client_that_names_itself_is_killed(cloud: Cloud, kind: str, done: int) -> None:
    cloud.emulator.clear_calls()
    cloud.emulator.fail_at(1, kind)
    assert in_child(lambda: create_project(named_client(cloud), cloud)) == signal.SIGKILL
    [call] = cloud.emulator.calls("CreateProject")
    assert call["killed"]
    assert call["dropped"]
    assert projects(cloud) == done
    assert in_child(lambda: create_project(named_client(cloud), cloud)) == 0
    assert projects(cloud) == 1


@pytest.mark.parametrize("pid", ["1", "0", "-1", "", "x", "²", "emulator", "gone"])
def test_no_other_process_is_killed(cloud: Cloud, pid: str) -> None:
    if pid == "gone":
        pid = str(os.fork() or os._exit(0))
        os.waitpid(int(pid), 0)
    client = named_client(cloud, cloud.emulator.pid if pid == "emulator" else pid.encode())
    cloud.emulator.fail_next("CreateProject", "kill_client_before")
    with pytest.raises(oci.exceptions.RequestException):
        create_project(client, cloud)
    assert projects(cloud) == 0
    [call] = cloud.emulator.calls("CreateProject")
    assert (call["killed"], call["dropped"], call["status"]) == (None, True, None)


def test_the_readme_lists_every_kind() -> None:
    text = files("oci_emulator").joinpath("README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == KINDS


def test_timings_faults_and_calls_survive_a_restart(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        projects(cloud)
        emulator.clear_calls()
        emulator.set_timings(update=0.5)
        emulator.fail_next("ListModels", status=429, times=2, after=1)
        emulator.fail_at(5)
        cloud.science.list_models(cloud.compartment)
        refusal(cloud.science.list_models, cloud.compartment)
        faults = emulator.faults()
        emulator.fail_at(3, "slow", operation="ListProjects", seconds=60)
        waiting = os.fork()
        if waiting == 0:
            try:
                projects(cloud)
            finally:
                os._exit(0)
        while len(calls := emulator.calls()) < 3:
            time.sleep(0.01)
        emulator.kill()
        os.waitpid(waiting, 0)
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        assert emulator.set_timings() == {
            "create": 0.2,
            "update": 0.5,
            "delete": 0.2,
            "activate": 0.2,
            "deactivate": 0.2,
        }
        assert [(call["status"], call["dropped"]) for call in calls] == [(200, False), (429, False), (None, False)]
        calls[2]["dropped"] = True  # the kill interrupted it
        assert (emulator.calls(), emulator.faults()) == (calls, faults)
        assert [fault["times"] for fault in faults] == [1, 1]
        assert refusal(cloud.science.list_models, cloud.compartment) == (429, "TooManyRequests")
        assert refusal(projects, cloud)[0] == 500
        assert [call["nth"] for call in emulator.calls()] == [1, 2, 3, 4, 5]
        numbers = [call["number"] for call in emulator.calls()]
        emulator.reset()
        assert (emulator.set_timings()["update"], emulator.faults(), emulator.calls()) == (0.2, [], [])
        projects(cloud)
        assert emulator.calls()[0]["nth"] == 1
        assert numbers == sorted(set(numbers))


def test_lies_survive_a_restart(tmp_path: Path) -> None:
    def answers(cloud: Cloud, deployment: str) -> list[str]:
        return sorted(cloud.predict(deployment)["version"] for _ in range(4))

    kinds = ("old_still_serves", "half_done", "stale_replica", "stuck", "unknown_state")
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        old, new = cloud.echo_model("old"), cloud.echo_model("new")
        begun = [cloud.begin_deployment(old, environment={"WEB_CONCURRENCY": "1"}) for _ in kinds]
        deployments = {kind: response.data.id for kind, response in zip(kinds, begun, strict=True)}
        for response in begun:
            cloud.succeeded(response)
        updates = {}
        for kind, deployment in deployments.items():
            emulator.fail_next("UpdateModelDeployment", kind)
            updates[kind] = cloud.switch(deployment, new)
            if kind != "stuck":
                cloud.finished(updates[kind])
        emulator.kill()
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        assert {kind: answers(cloud, deployment) for kind, deployment in deployments.items()} == {
            "old_still_serves": ["old"] * 4,
            "half_done": ["new"] * 4,
            "stale_replica": ["new"] * 3 + ["old"],
            "stuck": ["old"] * 4,
            "unknown_state": ["new"] * 4,
        }
        assert cloud.state(deployments["unknown_state"]) == "UNKNOWN_ENUM_VALUE"
        assert cloud.state(deployments["stuck"]) == "UPDATING"
        emulator.clear_faults()
        cloud.succeeded(updates["stuck"])
        assert answers(cloud, deployments["stuck"]) == ["new"] * 4
