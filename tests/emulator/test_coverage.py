from importlib.resources import files

import oci
import pytest

from oci_emulator.coverage import render
from oci_emulator.operations import read_real_operations
from tests.emulator.clouds import Cloud, refusal


def test_coverage_md_is_up_to_date() -> None:
    written = files("oci_emulator").joinpath("COVERAGE.md").read_text(encoding="utf-8")
    assert written == render(), "run: python -m oci_emulator.coverage > oci_emulator/COVERAGE.md"


def test_every_operation_of_oci_is_answered(cloud: Cloud) -> None:
    """No operation is answered with 404 NotFound or 405; one that is not emulated is named in a 501."""
    text = files("oci_emulator").joinpath("COVERAGE.md").read_text(encoding="utf-8")
    client = cloud.storage.base_client  # has no base path
    for operation in read_real_operations():
        if f"| {operation.name} |" in text or operation.method == "HEAD":
            continue
        path = operation.path
        for part in operation.path.split("/"):
            path = path.replace(part, "x") if part.startswith("{") else path
        if path in ("/workRequests", "/workRequests/x"):
            continue
        with pytest.raises(oci.exceptions.ServiceError) as caught:
            client.call_api(path, operation.method, header_params={"content-type": "application/json"}, body="{}")
        assert (caught.value.status, caught.value.code) == (501, "NotImplemented"), operation
        assert operation.name in caught.value.message


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/20190101/nonsense", (404, "NotFound")),
        ("GET", "/20190101/models/x/nonsense", (404, "NotFound")),
        ("GET", "/29990101/models", (404, "NotFound")),
        ("GET", "/", (404, "NotFound")),
        ("GET", "/nonsense", (404, "NotFound")),
        ("PATCH", "/20190101/models", (405, "MethodNotAllowed")),
        ("GET", "/20190101/jobs", (501, "NotImplemented")),
        ("GET", "/20180401/alarms/status", (501, "NotImplemented")),
    ],
)
def test_a_path_without_an_emulated_operation_is_refused(
    cloud: Cloud, method: str, path: str, answer: tuple[int, str]
) -> None:
    client = cloud.storage.base_client  # has no base path
    assert refusal(client.call_api, path, method) == answer
