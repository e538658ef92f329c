import http.client
import json
import os
import signal
import stat
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.model_deployment import ModelDeploymentClient

from oci_emulator.serving import child
from oci_emulator.serving.supervisor import THREADS
from oci_emulator.serving.unpacking import ArtifactError, ArtifactLimits, unpack
from tests.emulator.clouds import RUNTIME, Cloud, archive, artifact, echo_score, model_switch, refusal, wait_for


def score(body: str, load: str = "return None", head: str = "") -> str:
    """Return a score.py with these function bodies."""
    return f"{head}\ndef load_model():\n    {load}\n\ndef predict(data, model=load_model()):\n    {body}\n"


@pytest.fixture
def deploy(cloud: Cloud) -> Any:
    def make(text: str, **options: Any) -> str:
        files = options.pop("files", {})
        return cloud.deployment(cloud.model(artifact(text, **files)), **options)

    return make


@pytest.mark.parametrize(
    "value", [{"a": [1, None, 2.5]}, [1, "x"], "text", 7, True, {"ユーザー7": "é"}, {"deep": {"er": []}}]
)
def test_json_arrives_as_the_object_it_means(cloud: Cloud, deploy: Any, value: Any) -> None:
    deployment = deploy(echo_score())
    answer = cloud.predict(deployment, json.dumps(value))
    assert answer["data"] == value
    assert answer["type"] == type(value).__name__


def test_octets_arrive_as_bytes(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score())
    answer = cloud.predict_raw(deployment, b"\x00\xff{", "application/octet-stream")
    assert json.loads(answer) == {"version": 1, "data": "00ff7b", "type": "bytes"}


def test_a_body_that_is_no_json_is_refused(cloud: Cloud, deploy: Any) -> None:
    assert refusal(cloud.predict, deploy(echo_score()), "{") == (400, "CannotParseRequest")


@pytest.mark.parametrize(
    "body", ["return data['absent']", "raise SystemExit(3)", "return {1, 2}", "return float('nan')"]
)
def test_what_fails_in_predict_is_a_clean_500(cloud: Cloud, deploy: Any, body: str) -> None:
    deployment = deploy(score(body))
    for _ in range(3):
        assert refusal(cloud.predict, deployment) == (500, "InternalServerError")


def test_a_500_says_what_score_raised(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return data['absent']"))
    with pytest.raises(oci.exceptions.ServiceError, match="KeyError: 'absent'"):
        cloud.predict(deployment)


def test_a_worker_that_dies_is_replaced(cloud: Cloud, deploy: Any) -> None:
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


def test_a_server_that_is_killed_is_started_again(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return [os.getpid(), os.getppid()]", head="import os\n"))
    os.kill(cloud.predict(deployment)[1], signal.SIGKILL)

    def answers() -> bool:
        try:
            return bool(cloud.predict(deployment))
        except Exception:  # noqa: BLE001 - it is down for a moment
            return False

    wait_for("the server is back", answers)


def test_requests_run_in_several_workers_and_threads(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("time.sleep(1); return os.getpid()", head="import os, time\n"))
    requests = THREADS + 8  # more than one worker has threads for
    start = time.monotonic()
    with ThreadPoolExecutor(requests) as pool:
        workers = set(pool.map(lambda _: cloud.predict(deployment), range(requests)))
    assert time.monotonic() - start < requests / 2  # one after the other they would take a second each
    assert len(workers) == 2


def test_the_environment_reaches_score_and_says_how_many_workers(cloud: Cloud, deploy: Any) -> None:
    head = "import os\n"
    body = "return [os.getpid(), os.environ['MODE'], os.environ.get('SECRET_OF_THE_EMULATOR')]"
    deployment = deploy(score(body, head=head), environment={"WEB_CONCURRENCY": "3", "MODE": "test"})
    answers = [cloud.predict(deployment) for _ in range(30)]
    assert {tuple(answer[1:]) for answer in answers} == {("test", None)}
    assert len({answer[0] for answer in answers}) == 3


@pytest.mark.parametrize("name", ["oci_emulator", "recdeploy_ops", "tests", "child"])
def test_score_cannot_import_the_project(cloud: Cloud, name: str) -> None:
    errors = cloud.failed(cloud.begin_deployment(cloud.model(artifact(f"import {name}\n" + echo_score()))))
    assert f"ModuleNotFoundError: No module named '{name}'" in errors


def test_what_an_editable_installation_adds_is_not_importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    body = "return [open('data.txt').read(), helper.VALUE]"
    files = {"data__txt": "content", "helper__py": "VALUE = 3\n"}
    assert cloud.predict(deploy(score(body, head="import helper\n"), files=files)) == ["content", 3]


def test_a_model_that_is_loaded_late_is_loaded_before_active(cloud: Cloud) -> None:
    lazy = "def load_model():\n    raise OSError('no weights')\n\ndef predict(data, model=None):\n    return 1\n"
    assert "no weights" in cloud.failed(cloud.begin_deployment(cloud.model(artifact(lazy))))


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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def load_model(): pass", "no function predict"),
        ("def predict(data): pass", "no function load_model"),
        ("def load_model(:", "SyntaxError"),
        ("import os; os._exit(4)", "ended with code 4"),
    ],
)
def test_a_score_that_cannot_be_served_says_why(cloud: Cloud, text: str, reason: str) -> None:
    assert reason in cloud.failed(cloud.begin_deployment(cloud.model(artifact(text))))


def test_what_score_prints_does_not_disturb(cloud: Cloud, deploy: Any) -> None:
    head = "import os\nprint('{\"event\": \"ready\"}')\nos.write(1, b'raw')\n"
    assert cloud.predict(deploy(score("print(data); return 1", head=head))) == 1


def test_a_failing_update_keeps_the_old_model(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score("old"))
    old = cloud.deployed_model(deployment)
    bad = cloud.model(artifact("raise ValueError('new is broken')"))
    response = cloud.science.update_model_deployment(deployment, model_switch(bad))
    assert "new is broken" in cloud.failed(response)
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.deployed_model(deployment) == old
    assert cloud.predict(deployment)["version"] == "old"
    cloud.science.delete_model(bad)


def test_an_update_loses_no_request_and_leaves_no_old_answer(cloud: Cloud, deploy: Any) -> None:
    cloud.emulator.set_timings(update=0.5)
    slow = score("time.sleep(0.05); return {'version': VERSION}", head="import time\nVERSION = 'old'\n")
    deployment = deploy(slow)
    answers: list[tuple[float, Any]] = []
    newest = [0.0] * 8  # when each client asked what was answered last
    stop = threading.Event()

    def ask(number: int) -> None:
        client = cloud.client(ModelDeploymentClient)
        while not stop.is_set():
            started = time.monotonic()
            try:
                answers.append((started, json.loads(client.predict(deployment, {}).data)["version"]))
            except Exception as err:  # noqa: BLE001 - every failure is what this test looks for
                answers.append((started, err))
            newest[number] = started

    def wait_for_answers() -> float:
        moment = time.monotonic()
        wait_for("an answer to every client", lambda: min(newest) > moment)
        return moment

    with ThreadPoolExecutor(8) as pool:
        pool.map(ask, range(8))
        began = wait_for_answers()
        new = cloud.model(artifact(slow.replace("old", "new")))
        cloud.succeeded(cloud.science.update_model_deployment(deployment, model_switch(new)))
        declared = wait_for_answers()
        stop.set()
    assert [started for started, _ in answers if began < started < declared], "nobody asked while it was updated"
    assert {str(version) for _, version in answers} == {"old", "new"}
    assert {version for started, version in answers if started > declared} == {"new"}


def test_a_request_under_way_is_finished_by_the_old_before_the_update_is_done(
    cloud: Cloud, deploy: Any, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    body = "open(data['begun'], 'w').close(); time.sleep(data['seconds']); return ['old']"
    deployment = deploy(score(body, head="import time\n"))
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(cloud.predict, deployment, {"begun": str(begun), "seconds": 1.0})
        wait_for("the request is under way", begun.exists)
        response = cloud.science.update_model_deployment(
            deployment, model_switch(cloud.model(artifact(score("return ['new']"))))
        )
        cloud.succeeded(response)
        assert long.done()
        assert long.result() == ["old"]
    assert cloud.predict(deployment) == ["new"]


def test_a_large_body_is_refused(cloud: Cloud, deploy: Any) -> None:
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


def test_a_large_answer_comes_whole(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(score("return ['é' * 1000] * 2000"))
    assert cloud.predict(deployment) == ["é" * 1000] * 2000


def test_predict_takes_post_only(cloud: Cloud, deploy: Any) -> None:
    deployment = deploy(echo_score())
    assert refusal(cloud.endpoint.base_client.call_api, f"/{deployment}/predict", "GET") == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"../outside.txt": "x"}, "leaves the artifact's folder"),
        ({"a/../../outside.txt": "x"}, "leaves the artifact's folder"),
        ({"/etc/outside.txt": "x"}, "leaves the artifact's folder"),
        ({"..\\outside.txt": "x"}, "leaves the artifact's folder"),
    ],
)
def test_a_zip_that_escapes_is_refused(cloud: Cloud, members: Mapping[str, str], reason: str) -> None:
    content = archive({"score.py": echo_score(), "runtime.yaml": RUNTIME, **members})
    assert reason in cloud.failed(cloud.begin_deployment(cloud.model(content)))


def test_an_artifact_that_is_no_zip_is_refused_at_deployment(cloud: Cloud) -> None:
    assert "not a usable zip" in cloud.failed(cloud.begin_deployment(cloud.model(b"no zip")))


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        (None, "has no runtime.yaml"),
        ("{", "cannot be parsed"),
        ("- a list", "no MODEL_ARTIFACT_VERSION"),
        (RUNTIME.replace("3.0", "2.0"), "no MODEL_ARTIFACT_VERSION"),
        (RUNTIME.replace("INFERENCE_ENV_PATH", "PATH"), "INFERENCE_CONDA_ENV.INFERENCE_ENV_PATH"),
        ("MODEL_ARTIFACT_VERSION: '3.0'\n", "INFERENCE_CONDA_ENV.INFERENCE_ENV_SLUG"),
    ],
)
def test_a_runtime_that_is_not_in_order_is_refused(cloud: Cloud, runtime: str | None, reason: str) -> None:
    model = cloud.model(artifact(echo_score(), runtime=runtime))
    assert reason in cloud.failed(cloud.begin_deployment(model))


def test_a_score_below_the_top_is_not_found(cloud: Cloud) -> None:
    content = archive({"model/score.py": echo_score(), "model/runtime.yaml": RUNTIME})
    assert "no score.py at its top level" in cloud.failed(cloud.begin_deployment(cloud.model(content)))


def write_zip(path: Path, name: str, mode: int, content: bytes = b"/etc/passwd") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        opened.writestr(member, content)
    return path


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(ArtifactError, match="link or a special file"):
        unpack(write_zip(tmp_path / "a.zip", "score.py", kind | 0o644), tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", "zeros", stat.S_IFREG | 0o644, bytes(5_000_000))
    with pytest.raises(ArtifactError, match="5000000 bytes when unpacked"):
        unpack(path, tmp_path / "out", ArtifactLimits(total_bytes=4_000_000))
    assert not list((tmp_path / "out").iterdir())


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive({f"{number}": "" for number in range(11)}))
    with pytest.raises(ArtifactError, match="has 11 files"):
        unpack(path, tmp_path / "out", ArtifactLimits(files=10))


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", "zeros", stat.S_IFREG | 0o644, bytes(100_000))
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not a usable zip"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("runtime", ["a: 2026-13-45", "[" * 20_000, "\0"])
def test_a_runtime_that_is_no_yaml_is_refused(tmp_path: Path, runtime: str) -> None:
    (tmp_path / "a.zip").write_bytes(artifact(runtime=runtime))
    with pytest.raises(ArtifactError, match=r"runtime\.yaml cannot be parsed"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


async def test_a_model_that_takes_too_long_gives_500(tmp_path: Path) -> None:
    from oci_emulator.errors import InternalServerError
    from oci_emulator.serving.proxy import Proxy
    from oci_emulator.serving.supervisor import ServerSpec, Supervisor

    (tmp_path / "a.zip").write_bytes(artifact(score("time.sleep(5); return 1", head="import time\n")))
    proxy = Proxy(Supervisor(), predict_seconds=0.2)
    try:
        server = await proxy.supervisor.start(ServerSpec(tmp_path / "a.zip", tmp_path / "out", {}))
        await proxy.switch("d", server)
        with pytest.raises(InternalServerError, match="no answer within"):
            await proxy.predict("d", "application/json", b"{}")
    finally:
        await proxy.clear()
