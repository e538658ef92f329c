import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oci
import pytest

from oci_emulator.testing import EmulatorError, RunningEmulator, running_emulator
from tests.emulator.clouds import Cloud, artifact, echo_score, model_switch, refusal, wait_for

PIDS = """
import os

def load_model():
    pass

def predict(data, model=load_model()):
    return [os.getpid(), os.getppid()]
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_dead(pids: set[int]) -> None:
    wait_for(f"the end of {pids}", lambda: not any(map(alive, pids)))


def served_by(cloud: Cloud) -> set[int]:
    """Start a deployment; return the processes that serve it."""
    deployment = cloud.deployment(cloud.model(artifact(PIDS)))
    return {pid for _ in range(20) for pid in cloud.predict(deployment)}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningEmulator]:
    with running_emulator(tmp_path / "data") as emulator:
        yield emulator


def test_all_state_survives(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        active = cloud.deployment(cloud.model(artifact(echo_score("kept"))))
        inactive = cloud.deployment()
        cloud.succeeded(cloud.science.deactivate_model_deployment(inactive))
        cloud.storage.put_object(emulator.namespace, cloud.bucket, "a", b"content", opc_meta={"k": "v"})
        before = cloud.science.get_model_deployment(active)
        key = Path(emulator.config["key_file"]).read_bytes()
    for _ in ("stopped", "killed"):
        with running_emulator(tmp_path) as emulator:
            cloud = Cloud(emulator)
            after = cloud.science.get_model_deployment(active)
            assert after.headers["etag"] == before.headers["etag"]
            assert after.data.lifecycle_state == "ACTIVE"
            assert after.data.model_deployment_url == f"{emulator.url}/{active}"
            assert cloud.predict(active)["version"] == "kept"
            assert refusal(cloud.predict, inactive)[0] == 404
            cloud.succeeded(cloud.science.activate_model_deployment(inactive))
            cloud.succeeded(cloud.science.deactivate_model_deployment(inactive))
            read = cloud.storage.get_object(emulator.namespace, "shelf", "a")
            assert (read.data.content, read.headers["opc-meta-k"]) == (b"content", "v")
            assert Path(emulator.config["key_file"]).read_bytes() == key
            emulator.kill()


def test_what_was_in_progress_goes_on(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        emulator.set_timings(create=0, update=0.5, delete=0)
        deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
        doomed = cloud.deployment()
        new = cloud.model(artifact(echo_score("new")))
        for operation in ("UpdateModelDeployment", "CreateModelDeployment", "DeleteModelDeployment"):
            emulator.fail_next(operation, "stuck")
        update = cloud.science.update_model_deployment(deployment, model_switch(new))
        create = cloud.begin_deployment(new)
        delete = cloud.science.delete_model_deployment(doomed)
        emulator.fail_next("CreateModelArtifact", "drop_after")
        replayed = cloud.empty_model()
        with pytest.raises(oci.exceptions.RequestException):
            cloud.science.create_model_artifact(replayed, b"x", opc_retry_token="t")
        emulator.kill()
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        assert cloud.state(deployment) == "UPDATING"
        assert cloud.predict(deployment)["version"] == "old"
        assert cloud.science.create_model_artifact(replayed, b"x", opc_retry_token="t").status == 204
        emulator.clear_faults()
        for response in (update, create, delete):
            cloud.succeeded(response)
        assert cloud.predict(deployment)["version"] == "new"
        assert cloud.predict(create.data.id)["version"] == "new"
        assert cloud.state(doomed) == "DELETED"


def test_objects_are_whole_after_a_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        contents = {letter: letter.encode() * 2_000_000 for letter in "abcdefgh"}
        bucket = cloud.bucket

        def write(letter: str) -> None:
            for number in range(50):
                try:
                    cloud.storage.put_object(emulator.namespace, bucket, f"{letter}{number % 3}", contents[letter])
                except Exception:  # noqa: BLE001 - the kill
                    return

        with ThreadPoolExecutor(4) as pool:
            pool.map(write, contents)
            wait_for("enough objects", lambda: len(list((tmp_path / "objects").iterdir())) > 8)
            emulator.kill()
    for folder in ("objects", "incoming"):  # as if killed between writing and committing
        (tmp_path / folder / "orphan").write_bytes(b"x")
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        listed = cloud.storage.list_objects(emulator.namespace, bucket, fields="size").data.objects
        assert listed
        for item in listed:
            read = cloud.storage.get_object(emulator.namespace, bucket, item.name).data.content
            assert read == contents[item.name[0]]
        assert len(list((emulator.data_dir / "objects").iterdir())) == len(listed)
        assert list((emulator.data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_emulator(own: RunningEmulator, number: signal.Signals) -> None:
    pids = served_by(Cloud(own))
    assert len(pids) == 3
    os.kill(own.pid, number)
    wait_until_dead(pids | {own.pid})
    if number != signal.SIGKILL:
        assert own.process.wait() == 0


def test_no_worker_outlives_its_server(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(artifact(PIDS)))
    workers, server = {cloud.predict(deployment)[0] for _ in range(20)}, cloud.predict(deployment)[1]
    os.kill(server, signal.SIGKILL)
    wait_until_dead(workers)


def test_a_deployment_that_ends_leaves_no_process_and_no_folder(cloud: Cloud) -> None:
    first = cloud.deployment(cloud.model(artifact(PIDS)))
    old = {pid for _ in range(20) for pid in cloud.predict(first)}
    cloud.succeeded(cloud.science.update_model_deployment(first, model_switch(cloud.model(artifact(PIDS)))))
    wait_until_dead(old)
    new = {pid for _ in range(20) for pid in cloud.predict(first)}
    assert len(list((cloud.emulator.data_dir / "deployments" / first).iterdir())) == 1
    cloud.succeeded(cloud.science.delete_model_deployment(first))
    wait_until_dead(new)
    assert not list((cloud.emulator.data_dir / "deployments").glob("*/*"))


def test_the_emulator_of_a_killed_test_run_stops(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from oci_emulator.testing import running_emulator\n"
        f"with running_emulator({str(tmp_path)!r}) as emulator:\n"
        "    print(emulator.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        tests.kill()
    wait_until_dead({pid})


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "oci_emulator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port), "--data-dir", str(tmp_path))
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert f"Port {port} of 127.0.0.1 is in use" in ended.stderr
        with pytest.raises(EmulatorError, match=f"Port {port}"), running_emulator(tmp_path, port=port):
            pass


def test_a_data_folder_has_one_emulator(emulator: RunningEmulator) -> None:
    ended = run("--data-dir", str(emulator.data_dir))
    assert ended.returncode == 1
    assert "Another emulator is using" in ended.stderr


def test_the_ready_file_and_the_credentials(tmp_path: Path) -> None:
    with running_emulator(tmp_path, compartments=["ocid1.compartment.oc1..mine"]) as emulator:
        facts = json.loads((tmp_path / "ready.json").read_text())
        assert facts == {
            "url": emulator.url,
            "pid": emulator.process.pid,
            "config_file": str(tmp_path / "credentials" / "config"),
            "compartment_id": "ocid1.compartment.oc1..mine",
            "namespace": "emulator",
        }
        assert (tmp_path / "credentials" / "key.pem").stat().st_mode & 0o777 == 0o600
        assert emulator.config["region"] == "us-ashburn-1"
        cloud = Cloud(emulator)
        for compartment in (
            "ocid1.compartment.oc1..mine",
            "ocid1.compartment.oc1..emulator",
            emulator.config["tenancy"],
        ):
            assert cloud.science.list_models(compartment).data == []
    assert "OCI emulator at http://127.0.0.1:" in (tmp_path / "emulator.log").read_text()
    assert not (tmp_path / "ready.json").exists()


def test_deployments_name_the_url_that_clients_know(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("of one that was killed")
    command = [sys.executable, "-m", "oci_emulator", "--data-dir", str(tmp_path), "--ready-file", str(ready)]
    with subprocess.Popen([*command, "--public-url", "http://emulator:4599/"], text=True) as process:
        wait_for("the ready file", lambda: "url" in (ready.read_text() if ready.exists() else ""))
        assert json.loads(ready.read_text())["url"] == "http://emulator:4599"
        process.terminate()


def test_the_same_port_can_be_taken_again_at_once(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        Cloud(emulator).deployment()
    with running_emulator(tmp_path, port=port) as emulator:
        assert emulator.url.endswith(f":{port}")
