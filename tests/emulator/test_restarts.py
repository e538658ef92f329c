import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oci
import psutil
import pytest

from oci_emulator.testing import EmulatorError, RunningEmulator, running_emulator
from tests.emulator.clouds import Bucket, Cloud, refusal, wait_for


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_dead(pids: set[int]) -> None:
    wait_for(f"the end of {pids}", lambda: not any(map(is_running, pids)))


def server_pids(cloud: Cloud, deployment: str) -> set[int]:
    """Return the processes that serve a deployment: the server and its workers, which run in the artifact's folder."""
    folder = cloud.emulator.data_dir / "deployments" / deployment
    processes = psutil.Process(cloud.emulator.pid).children(recursive=True)
    return {process.pid for process in processes if Path(process.cwd()).is_relative_to(folder)}


def test_all_state_survives_a_restart(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        active = cloud.deployment(cloud.echo_model("kept"))
        inactive = cloud.deployment()
        cloud.succeeded(cloud.science.deactivate_model_deployment(inactive))
        cloud.bucket.put_object("a", b"content", opc_meta={"k": "v"})
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


def test_work_in_progress_continues_after_a_kill(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        emulator.set_timings(create=0, update=0.5, delete=0)
        deployment = cloud.deployment(cloud.echo_model("old"))
        doomed = cloud.deployment()
        new = cloud.echo_model("new")
        for operation in ("UpdateModelDeployment", "CreateModelDeployment", "DeleteModelDeployment"):
            emulator.fail_next(operation, "stuck")
        update = cloud.switch(deployment, new)
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


def test_objects_are_whole_after_a_kill_during_a_write(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        contents = {letter: letter.encode() * 2_000_000 for letter in "abcdefgh"}
        bucket = cloud.bucket

        def write(letter: str) -> None:
            for number in range(50):
                try:
                    bucket.put_object(f"{letter}{number % 3}", contents[letter])
                except Exception:  # noqa: BLE001 - the kill
                    return

        with ThreadPoolExecutor(4) as pool:
            pool.map(write, contents)
            wait_for("enough objects", lambda: len(list((tmp_path / "objects").iterdir())) > 8)
            emulator.kill()
    for folder in ("objects", "incoming"):  # as after a kill between writing and committing
        (tmp_path / folder / "orphan").write_bytes(b"x")
    with running_emulator(tmp_path) as emulator:
        bucket = Bucket(Cloud(emulator).storage, emulator.namespace, bucket.name)
        names = bucket.names()
        assert names
        for name in names:
            assert bucket.read(name) == contents[name[0]]
        assert len(list((emulator.data_dir / "objects").iterdir())) == len(names)
        assert list((emulator.data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_emulator(tmp_path: Path, number: signal.Signals) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        pids = server_pids(cloud, cloud.deployment())
        assert len(pids) == 3
        os.kill(emulator.pid, number)
        wait_until_dead(pids | {emulator.pid})
        if number != signal.SIGKILL:
            assert emulator.process.wait() == 0


def test_no_worker_outlives_its_server(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.echo_model("v"))
    processes = server_pids(cloud, deployment)
    [server] = [pid for pid in processes if psutil.Process(pid).ppid() not in processes]
    workers = processes - {server}
    os.kill(server, signal.SIGKILL)
    wait_until_dead(workers)


def test_an_ended_deployment_leaves_no_process_and_no_folder(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.echo_model("v"))
    old = server_pids(cloud, deployment)
    cloud.succeeded(cloud.switch(deployment, cloud.echo_model("v")))
    wait_until_dead(old)
    new = server_pids(cloud, deployment)
    assert len(list((cloud.emulator.data_dir / "deployments" / deployment).iterdir())) == 1
    cloud.succeeded(cloud.science.delete_model_deployment(deployment))
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


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port), "--data-dir", str(tmp_path))
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert f"Port {port} of 127.0.0.1 is in use" in ended.stderr
        with pytest.raises(EmulatorError, match=f"Port {port}"), running_emulator(tmp_path, port=port):
            pass


def test_a_data_folder_has_only_one_emulator(emulator: RunningEmulator) -> None:
    ended = run("--data-dir", str(emulator.data_dir))
    assert ended.returncode == 1
    assert "Another emulator is using" in ended.stderr


def test_a_ready_file_and_credentials_are_written(tmp_path: Path) -> None:
    further = "ocid1.compartment.oc1..further"
    with running_emulator(tmp_path, compartments=[further]) as emulator:
        facts = json.loads((tmp_path / "ready.json").read_text())
        assert facts == {
            "url": emulator.url,
            "pid": emulator.process.pid,
            "config_file": str(tmp_path / "credentials" / "config"),
            "compartment_id": further,
            "namespace": "emulator",
            "token": (tmp_path / "credentials" / "control_token").read_text(),
        }
        assert (tmp_path / "ready.json").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "credentials" / "key.pem").stat().st_mode & 0o777 == 0o600
        assert emulator.config["region"] == "us-ashburn-1"
        cloud = Cloud(emulator)
        for compartment in (further, "ocid1.compartment.oc1..emulator", emulator.config["tenancy"]):
            assert cloud.science.list_models(compartment).data == []
    assert "OCI emulator at http://127.0.0.1:" in (tmp_path / "emulator.log").read_text()
    assert not (tmp_path / "ready.json").exists()


def test_the_ready_file_names_the_public_url(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("left by a killed emulator")
    command = [sys.executable, "-m", "oci_emulator", "--data-dir", str(tmp_path), "--ready-file", str(ready)]
    with subprocess.Popen([*command, "--public-url", "http://emulator:4599/"], text=True) as process:
        wait_for("the ready file", lambda: "url" in (ready.read_text() if ready.exists() else ""))
        assert json.loads(ready.read_text())["url"] == "http://emulator:4599"
        process.terminate()


def test_a_port_can_be_reused_at_once(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        Cloud(emulator).deployment()
    with running_emulator(tmp_path, port=port) as emulator:
        assert emulator.url.endswith(f":{port}")
