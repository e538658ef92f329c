import asyncio
import http.client
import io
import json
import re
import stat
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import oci
import psutil
import pytest
from oci.model_deployment import ModelDeploymentClient

from oci_emulator.errors import InternalServerError
from oci_emulator.serving import child
from oci_emulator.serving.proxy import Proxy
from oci_emulator.serving.supervisor import SHORT_FOLDER, THREADS, ServerSpec, Supervisor, find_socket_folder
from oci_emulator.serving.unpacking import ArtifactError, ArtifactLimits, unpack
from oci_emulator.testing import running_emulator
from tests.emulator.clouds import RUNTIME, Cloud, archive, artifact, echo_score, refusal, wait_for


def score(body: str, load: str = "return None", head: str = "") -> str:
    """Return a score.py with these function bodies."""
    return f"{head}\ndef load_model():\n    {load}\n\ndef predict(data, model=load_model()):\n    {body}\n"


@pytest.fixture
def deploy(cloud: Cloud) -> Any:
    """Return a function that deploys a score.py, with further files beside it, and returns the deployment's id."""

    def make(text: str, environment: Mapping[str, str] | None = None, **files: str) -> str:
        return cloud.deployment(cloud.model(artifact(text, **files)), environment=environment)

    return make


def failure(cloud: Cloud, content: bytes) -> str:
    """Create a deployment that must fail; return the errors of its work request."""
    return cloud.failed(cloud.begin_deployment(cloud.model(content)))


@pytest.mark.parametrize(
    "value", [{"a": [1, None, 2.5]}, [1, "x"], "text", 7, True, {"ユーザー7": "é"}, {"deep": {"er": []}}]
)
def test_a_json_body_arrives_as_an_object(cloud: Cloud, deploy: Any, value: Any) -> None:
    answer = cloud.predict(deploy(echo_score()), json.dumps(value))
    assert answer["data"] == value
    assert answer["type"] == type(value).__name__


def test_a_binary_body_arrives_as_bytes(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score())
    answer = cloud.predict_raw(deployment, b"\x00\xff{", "application/octet-stream")
    assert json.loads(answer) == {"version": 1, "data": "00ff7b", "type": "bytes"}


def test_a_body_that_is_not_json_is_refused(cloud: Cloud, deploy: Any) -> None:
    assert refusal(cloud.predict, deploy(echo_score()), "{") == (400, "CannotParseRequest")


@pytest.mark.parametrize(
    "body", ["return data['absent']", "raise SystemExit(3)", "return {1, 2}", "return float('nan')"]
)
def test_a_failing_predict_gives_500_and_keeps_the_server(cloud: Cloud, deploy: Any, body: str) -> None:
    deployment = deploy(score(body))
    for _ in range(3):
        assert refusal(cloud.predict, deployment) == (500, "InternalServerError")


def test_a_500_quotes_the_exception_of_score(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return data['absent']"))
    with pytest.raises(oci.exceptions.ServiceError, match="KeyError: 'absent'"):
        cloud.predict(deployment)


def test_a_dead_worker_is_replaced(cloud: Cloud, deploy: Any) -> None:
    head = "import os\n"
    deployment = deploy(score("os._exit(9) if data.get('die') else None; return os.getpid()", head=head))

    def workers() -> set[int]:
        return {cloud.predict(deployment) for _ in range(20)}

    before = workers()
    assert len(before) == 2
    while before & workers():
        assert refusal(cloud.predict, deployment, {"die": True}) == (500, "InternalServerError")
    wait_for("two workers again", lambda: len(workers()) == 2)
    assert not before & workers()


def test_a_killed_server_is_restarted(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return 1"))
    before = psutil.Process(cloud.emulator.pid).children()
    for server in before:
        server.kill()
    psutil.wait_procs(before)

    def answers() -> bool:
        try:
            return bool(cloud.predict(deployment))
        except Exception:  # noqa: BLE001 - the server is down for a moment
            return False

    wait_for("the server", answers)


def test_requests_run_in_several_workers_and_threads(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("time.sleep(1); return os.getpid()", head="import os, time\n"))
    requests = THREADS + 8  # more than the threads of one worker
    start = time.monotonic()
    with ThreadPoolExecutor(requests) as pool:
        workers = set(pool.map(lambda _: cloud.predict(deployment), range(requests)))
    assert time.monotonic() - start < requests / 2  # in sequence each would take a second
    assert len(workers) == 2


def test_the_environment_reaches_score_and_sets_the_number_of_workers(cloud: Cloud, deploy: Any) -> None:
    head = "import os\n"
    body = "return [os.getpid(), os.environ['MODE'], os.environ.get('SECRET_OF_THE_EMULATOR')]"
    deployment = deploy(score(body, head=head), environment={"WEB_CONCURRENCY": "3", "MODE": "test"})
    answers = [cloud.predict(deployment) for _ in range(30)]
    assert {tuple(answer[1:]) for answer in answers} == {("test", None)}
    assert len({answer[0] for answer in answers}) == 3


@pytest.mark.parametrize("name", ["oci_emulator", "recdeploy_ops", "tests", "child"])
def test_score_cannot_import_the_project(cloud: Cloud, name: str) -> None:
    errors = failure(cloud, artifact(f"import {name}\n" + echo_score()))
    assert f"ModuleNotFoundError: No module named '{name}'" in errors


def test_an_editable_installation_is_not_importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    finds_nothing = {"find_spec": classmethod(lambda *_: None), "__module__": "__editable___x_finder"}
    finder = type("Finder", (), finds_nothing)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    monkeypatch.setattr(sys, "meta_path", [finder, finder(), *sys.meta_path])
    child.isolate()
    assert str(tmp_path) not in sys.path
    assert "" not in sys.path
    assert any("site-packages" in entry for entry in sys.path)
    assert [item for item in sys.meta_path if "__editable__" in getattr(item, "__module__", "")] == []


def test_score_finds_its_files_beside_it(cloud: Cloud, deploy: Any) -> None:
    text = score("return [open('data.txt').read(), helper.VALUE]", head="import helper\n")
    assert cloud.predict(deploy(text, data__txt="content", helper__py="VALUE = 3\n")) == ["content", 3]


def test_a_load_failure_quotes_the_traceback(cloud: Cloud) -> None:
    response = cloud.begin_deployment(cloud.model(artifact(score("return 1", load="return {}['weights']"))))
    errors = cloud.failed(response)
    assert "KeyError: 'weights'" in errors
    assert 'score.py", line 3, in load_model' in errors
    logs = cloud.science.list_work_request_logs(response.headers["opc-work-request-id"]).data
    assert any("KeyError" in entry.message for entry in logs)
    deployment = cloud.science.get_model_deployment(response.data.id).data
    assert deployment.lifecycle_state == "FAILED"
    assert "weights" in deployment.lifecycle_details
    cloud.succeeded(cloud.science.delete_model_deployment(response.data.id))


LAZY = "def load_model():\n    raise OSError('no weights')\n\ndef predict(data, model=None):\n    return 1\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def load_model(): pass", "no function predict"),
        ("def predict(data): pass", "no function load_model"),
        ("def load_model(:", "SyntaxError"),
        ("import os; os._exit(4)", "ended with code 4"),
        pytest.param(LAZY, "no weights", id="load_model() fails that predict() does not call"),
    ],
)
def test_a_deployment_says_why_score_cannot_be_served(cloud: Cloud, text: str, reason: str) -> None:
    assert reason in failure(cloud, artifact(text))


def test_the_output_of_score_does_no_harm(cloud: Cloud, deploy: Any) -> None:
    head = "import os\nprint('{\"event\": \"ready\"}')\nos.write(1, b'raw')\n"
    assert cloud.predict(deploy(score("print(data); return 1", head=head))) == 1


def test_a_failing_update_keeps_the_old_model(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score("old"))
    old = cloud.deployed_model(deployment)
    bad = cloud.model(artifact("raise ValueError('new is broken')"))
    assert "new is broken" in cloud.failed(cloud.switch(deployment, bad))
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.deployed_model(deployment) == old
    assert cloud.predict(deployment)["version"] == "old"
    cloud.science.delete_model(bad)


def test_no_request_is_lost_in_an_update_and_no_old_answer_follows_it(cloud: Cloud, deploy: Any) -> None:
    cloud.emulator.set_timings(update=0.5)
    slow = score("time.sleep(0.05); return {'version': VERSION}", head="import time\nVERSION = 'old'\n")
    deployment = deploy(slow)
    answers: list[tuple[float, Any]] = []  # with the start of the request
    newest = [0.0] * 8  # the start of each client's last answered request
    stop = threading.Event()

    def keep_asking(number: int) -> None:
        client = cloud.client(ModelDeploymentClient)
        while not stop.is_set():
            started = time.monotonic()
            try:
                answers.append((started, json.loads(client.predict(deployment, {}).data)["version"]))
            except Exception as err:  # noqa: BLE001 - this test looks for any failure
                answers.append((started, err))
            newest[number] = started

    def wait_for_answers() -> float:
        moment = time.monotonic()
        wait_for("an answer to every client", lambda: min(newest) > moment)
        return moment

    with ThreadPoolExecutor(8) as pool:
        pool.map(keep_asking, range(8))
        began = wait_for_answers()
        cloud.succeeded(cloud.switch(deployment, cloud.model(artifact(slow.replace("old", "new")))))
        ended = wait_for_answers()
        stop.set()
    assert [started for started, _ in answers if began < started < ended], "no request during the update"
    assert {str(version) for _, version in answers} == {"old", "new"}
    assert {version for started, version in answers if started > ended} == {"new"}


def test_an_update_waits_for_a_request_to_the_old_model(cloud: Cloud, deploy: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    body = "open(data['begun'], 'w').close(); time.sleep(data['seconds']); return ['old']"
    deployment = deploy(score(body, head="import time\n"))
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(cloud.predict, deployment, {"begun": str(begun), "seconds": 1.0})
        wait_for("the start of the request", begun.exists)
        cloud.succeeded(cloud.switch(deployment, cloud.model(artifact(score("return ['new']")))))
        assert long.done()
        assert long.result() == ["old"]
    assert cloud.predict(deployment) == ["new"]


def test_a_body_over_ten_megabytes_is_refused(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return len(data)"))
    fits = b"x" * (10 * 1024 * 1024)
    assert json.loads(cloud.predict_raw(deployment, fits, "text/plain")) == len(fits)
    answer = refusal(cloud.predict_raw, deployment, fits + b"x", "text/plain")
    assert answer == (413, "PayloadTooLarge")


def test_a_body_of_unknown_length_is_refused(cloud: Cloud, deploy: Any) -> None:
    connection = http.client.HTTPConnection(cloud.emulator.url.removeprefix("http://"), timeout=10)
    connection.request("POST", f"/{deploy(echo_score())}/predict", iter([b"{}"]), encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.load(response)["code"]) == (411, "LengthRequired")
    connection.close()


def test_a_large_answer_arrives_whole(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return ['é' * 1000] * 2000"))
    assert cloud.predict(deployment) == ["é" * 1000] * 2000


def test_predict_accepts_only_post(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score())
    assert refusal(cloud.endpoint.base_client.call_api, f"/{deployment}/predict", "GET") == (405, "MethodNotAllowed")


def with_file(name: str) -> bytes:
    """Return an artifact with a further file of this name."""
    return archive({"score.py": echo_score(), "runtime.yaml": RUNTIME, name: "x"})


def single_file(name: str, content: bytes = b"", *, kind: int = stat.S_IFREG) -> bytes:
    """Return a zip file with one file, which has the mode of this kind."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        member = zipfile.ZipInfo(name)
        member.external_attr = (kind | 0o644) << 16
        opened.writestr(member, content)
    return buffer.getvalue()


def understated(content: bytes) -> bytes:
    """Return a zip file that says that its file of 100,000 bytes has 10."""
    return content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))


BELOW_THE_TOP = archive({"model/score.py": echo_score(), "model/runtime.yaml": RUNTIME})
NO_PATH = RUNTIME.replace("INFERENCE_ENV_PATH", "PATH")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"no zip", "not a usable zip", id="not a zip"),
        pytest.param(understated(single_file("zeros", bytes(100_000))), "not a usable zip", id="a wrong size"),
        pytest.param(with_file("../outside.txt"), "leaves the artifact's folder", id="a path to the parent"),
        pytest.param(with_file("a/../../outside.txt"), "leaves the artifact's folder", id="a detour to the parent"),
        pytest.param(with_file("/etc/outside.txt"), "leaves the artifact's folder", id="an absolute path"),
        pytest.param(with_file("..\\outside.txt"), "leaves the artifact's folder", id="a Windows path"),
        pytest.param(single_file("score.py", kind=stat.S_IFLNK), "link or a special file", id="a link"),
        pytest.param(single_file("score.py", kind=stat.S_IFIFO), "link or a special file", id="a pipe"),
        pytest.param(single_file("score.py", kind=stat.S_IFCHR), "link or a special file", id="a device"),
        pytest.param(BELOW_THE_TOP, "no score.py at its top level", id="score.py in a folder"),
        pytest.param(artifact(runtime=None), "has no runtime.yaml", id="no runtime.yaml"),
        pytest.param(artifact(runtime="{"), "runtime.yaml cannot be parsed", id="an open bracket"),
        pytest.param(artifact(runtime="a: 2026-13-45"), "runtime.yaml cannot be parsed", id="an impossible date"),
        pytest.param(artifact(runtime="[" * 20_000), "runtime.yaml cannot be parsed", id="too deep a nesting"),
        pytest.param(artifact(runtime="\0"), "runtime.yaml cannot be parsed", id="a null character"),
        pytest.param(artifact(runtime="- a list"), "no MODEL_ARTIFACT_VERSION", id="a list"),
        pytest.param(artifact(runtime=RUNTIME.replace("3.0", "2.0")), "no MODEL_ARTIFACT_VERSION", id="version 2.0"),
        pytest.param(artifact(runtime=NO_PATH), "INFERENCE_CONDA_ENV.INFERENCE_ENV_PATH", id="no path"),
        pytest.param(
            artifact(runtime="MODEL_ARTIFACT_VERSION: '3.0'\n"),
            "INFERENCE_CONDA_ENV.INFERENCE_ENV_SLUG",
            id="no environment",
        ),
    ],
)
def test_an_invalid_artifact_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArtifactError, match=re.escape(reason)):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "limits", "reason"),
    [
        pytest.param(
            single_file("zeros", bytes(5_000_000)),
            ArtifactLimits(total_bytes=4_000_000),
            "5000000 bytes when unpacked",
            id="a zip bomb",
        ),
        pytest.param(
            archive({f"{number}": "" for number in range(11)}),
            ArtifactLimits(files=10),
            "has 11 files",
            id="too many files",
        ),
    ],
)
def test_too_large_an_artifact_is_refused_before_it_is_unpacked(
    tmp_path: Path, content: bytes, limits: ArtifactLimits, reason: str
) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArtifactError, match=reason):
        unpack(tmp_path / "a.zip", tmp_path / "out", limits)
    assert not list((tmp_path / "out").iterdir())


def test_an_invalid_artifact_is_refused_when_it_is_deployed(cloud: Cloud) -> None:
    assert "not a usable zip" in failure(cloud, b"no zip")


async def test_a_model_that_takes_too_long_gives_500(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(artifact(score("time.sleep(5); return 1", head="import time\n")))
    proxy = Proxy(Supervisor(), predict_seconds=0.2)
    try:
        server = await proxy.supervisor.start(ServerSpec(tmp_path / "a.zip", tmp_path / "out", {}))
        await proxy.switch("d", server)
        with pytest.raises(InternalServerError, match="no answer within"):
            await proxy.predict("d", "application/json", b"{}")
    finally:
        await proxy.clear()
        await proxy.supervisor.close()  # also ends the process that waits for the next server


async def test_a_process_that_ended_before_gets_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(artifact(score("return 1")))
    supervisor, others = Supervisor(), set(psutil.Process().children())
    server = await supervisor.start(ServerSpec(tmp_path / "a.zip", tmp_path / "out", {}))
    waiting = {one for one in psutil.Process().children() if one not in others and one.pid != server.process.pid}
    for process in waiting:
        process.kill()
    # Until the event loop has seen their end, and their ids are free.
    await asyncio.to_thread(wait_for, "their end", lambda: not any(process.is_running() for process in waiting))
    signalled: list[int] = []
    monkeypatch.setattr("os.killpg", lambda group, _: signalled.append(group))

    await supervisor.close()

    assert waiting
    assert set(signalled) == {server.process.pid}


@pytest.mark.parametrize(("length", "is_used"), [(60, True), (64, False), (200, False)])
def test_sockets_are_not_in_a_temporary_folder_whose_path_is_too_long(
    length: int, is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = "/" + "f" * (length - 1)
    monkeypatch.setattr(tempfile, "tempdir", folder)

    assert find_socket_folder() == (Path(folder) if is_used else SHORT_FOLDER)


ATTACK = """
import glob, os, socket, threading, time

def network():
    socket.create_connection(("127.0.0.1", int(PORT)), timeout=5)

def memory():
    return len(bytearray(5 << 30))

def parents_environment():
    return [path for path in glob.glob("/proc/[0-9]*/environ") if b"CANARY" in open(path, "rb").read()]

def other_processes():
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 1000]

def a_large_file():
    with open("large", "wb") as stream:
        for _ in range(100):
            stream.write(bytes(1 << 20))

def load_model():
    return None

def predict(data, model=load_model()):
    try:
        return [globals()[data]()]
    except (OSError, MemoryError) as err:
        return [type(err).__name__]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are a part of Linux")
def test_a_deployed_score_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "CANARY")
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        deployment = cloud.deployment(cloud.model(artifact(ATTACK.replace("PORT", emulator.url.rpartition(":")[2]))))
        attacks = ("network", "memory", "parents_environment", "other_processes", "a_large_file")
        answers = {attack: cloud.predict(deployment, json.dumps(attack)) for attack in attacks}
    assert answers == {
        "network": ["OSError"],
        "memory": ["MemoryError"],
        "parents_environment": [[]],
        "other_processes": [[]],
        "a_large_file": ["OSError"],
    }
    assert "Not confined" not in (tmp_path / "emulator.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are a part of Linux")
def test_a_process_that_score_has_started_ends_with_the_deployment(cloud: Cloud, deploy: Any) -> None:
    head = "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(3600)\n"
    deployment = deploy(score("return 1", head=head))
    started = [
        process
        for process in psutil.Process(cloud.emulator.pid).children(recursive=True)
        if deployment in Path(process.cwd()).parts
    ]
    assert len(started) == 5, "the server, two workers, and one process of each"
    cloud.succeeded(cloud.science.delete_model_deployment(deployment))
    wait_for("the end of all", lambda: not any(process.is_running() for process in started))
