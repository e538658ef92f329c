import pytest

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import Cloud, refusal


def names(cloud: Cloud) -> list[str]:
    listed = cloud.storage.list_objects(cloud.emulator.namespace, cloud.bucket).data.objects
    return [found.name for found in listed]


def put(cloud: Cloud, name: str, content: bytes) -> None:
    cloud.storage.put_object(cloud.emulator.namespace, cloud.bucket, name, content)


def get(cloud: Cloud, name: str) -> bytes:
    content: bytes = cloud.storage.get_object(cloud.emulator.namespace, cloud.bucket, name).data.content
    return content


def test_a_restore_brings_resources_objects_and_servers_back_as_often_as_wanted(cloud: Cloud) -> None:
    put(cloud, "kept", b"before")
    deployment = cloud.deployment()
    answer = cloud.predict(deployment)
    etag = cloud.science.get_model_deployment(deployment).headers["etag"]
    cloud.emulator.snapshot("before")
    for _ in range(2):
        put(cloud, "kept", b"after")
        put(cloud, "new", b"after")
        cloud.science.delete_model_deployment(deployment)
        cloud.emulator.wait_until_idle()
        assert refusal(cloud.predict, deployment)[0] == 404
        cloud.emulator.restore("before")
        assert names(cloud) == ["kept"]
        assert get(cloud, "kept") == b"before"
        assert cloud.predict(deployment) == answer
        assert cloud.science.get_model_deployment(deployment).headers["etag"] == etag


def test_a_restore_stops_what_was_served_since(cloud: Cloud) -> None:
    cloud.emulator.snapshot("empty")
    deployment = cloud.deployment()
    cloud.predict(deployment)
    cloud.emulator.restore("empty")
    assert refusal(cloud.predict, deployment)[0] == 404
    assert list((cloud.emulator.data_dir / "deployments").glob("*/*")) == []


def test_a_restore_waits_for_what_is_under_way_and_forgets_faults_and_calls(cloud: Cloud) -> None:
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


def test_a_snapshot_that_is_not_there_is_refused(cloud: Cloud) -> None:
    with pytest.raises(EmulatorError, match="no snapshot is called 'nothing'"):
        cloud.emulator.restore("nothing")
    with pytest.raises(EmulatorError, match="name"):
        cloud.emulator.snapshot("../up")


def test_reset_forgets_snapshots(cloud: Cloud) -> None:
    cloud.emulator.snapshot("gone")
    cloud.emulator.reset()
    with pytest.raises(EmulatorError, match="no snapshot is called"):
        cloud.emulator.restore("gone")
