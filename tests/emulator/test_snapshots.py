import pytest

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import Cloud, refusal


def test_a_snapshot_restores_resources_objects_and_servers_repeatedly(cloud: Cloud) -> None:
    bucket = cloud.bucket
    bucket.put_object("kept", b"before")
    deployment = cloud.deployment()
    answer = cloud.predict(deployment)
    etag = cloud.science.get_model_deployment(deployment).headers["etag"]
    cloud.emulator.snapshot("before")
    for _ in range(2):
        bucket.put_object("kept", b"after")
        bucket.put_object("new", b"after")
        cloud.science.delete_model_deployment(deployment)
        cloud.emulator.wait_until_idle()
        assert refusal(cloud.predict, deployment)[0] == 404
        cloud.emulator.restore("before")
        assert bucket.names() == ["kept"]
        assert bucket.read("kept") == b"before"
        assert cloud.predict(deployment) == answer
        assert cloud.science.get_model_deployment(deployment).headers["etag"] == etag


def test_a_restore_stops_the_servers_started_since(cloud: Cloud) -> None:
    cloud.emulator.snapshot("empty")
    deployment = cloud.deployment()
    cloud.predict(deployment)
    cloud.emulator.restore("empty")
    assert refusal(cloud.predict, deployment)[0] == 404
    assert list((cloud.emulator.data_dir / "deployments").glob("*/*")) == []


def test_a_restore_waits_for_work_requests_and_forgets_faults_and_calls(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.emulator.snapshot("active")
    cloud.emulator.fail_next("DeleteModelDeployment", "stuck")
    cloud.emulator.fail_next("ListProjects", times=None)
    cloud.science.delete_model_deployment(deployment)
    cloud.emulator.restore("active")
    assert cloud.emulator.faults() == []
    assert cloud.emulator.calls() == []
    cloud.predict(deployment)
    assert [call["nth"] for call in cloud.emulator.calls()] == [1]


def test_a_forgotten_or_invalid_name_is_refused(cloud: Cloud) -> None:
    cloud.emulator.snapshot("gone")
    cloud.emulator.reset()
    with pytest.raises(EmulatorError, match="no snapshot is called 'gone'"):
        cloud.emulator.restore("gone")
    with pytest.raises(EmulatorError, match="name"):
        cloud.emulator.snapshot("../up")
