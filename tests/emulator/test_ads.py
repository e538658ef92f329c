import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.emulator import ads_session
from tests.emulator.clouds import Cloud

CONDA_PATH = (
    "oci://service-conda-packs@id19sfcrra6z/service_pack/cpu/"
    "General_Machine_Learning_for_CPUs_on_Python_3.11/3.0/generalml_p311_cpu_x86_64_v3"
)


@dataclass
class Ads:
    """A process that runs ADS."""

    process: "subprocess.Popen[str]"
    log: Path

    def __call__(self, step: str) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{step}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{step} failed:\n{self.log.read_text()[-4000:]}"
        return json.loads(line)


@pytest.fixture
def ads(cloud: Cloud, tmp_path: Path) -> Iterator[Ads]:
    emulator, log = cloud.emulator, tmp_path / "ads.log"
    arguments = [emulator.url, emulator.config_file, cloud.compartment, cloud.project, str(tmp_path / "ads")]
    pipe = subprocess.PIPE
    with log.open("w") as errors:
        command = [sys.executable, ads_session.__file__, *arguments]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, cwd=tmp_path)
    with process:
        yield Ads(process, log)
        process.kill()


def test_ads_saves_deploys_and_deletes_a_model(cloud: Cloud, ads: Ads) -> None:
    """ADS hides failures, so the SDK reads what it did."""
    environment = yaml.safe_load(ads("prepare"))["MODEL_DEPLOYMENT"]["INFERENCE_CONDA_ENV"]
    assert environment == {
        "INFERENCE_ENV_PATH": CONDA_PATH,
        "INFERENCE_ENV_SLUG": ads_session.SLUG,
        "INFERENCE_ENV_TYPE": "data_science",
        "INFERENCE_PYTHON_VERSION": "3.11",
    }

    model = ads("save")
    saved = cloud.science.get_model(model).data
    assert (saved.lifecycle_state, saved.display_name, saved.project_id) == ("ACTIVE", "by ADS", cloud.project)
    assert "ClientLibrary" in [item.key for item in saved.custom_metadata_list]
    assert cloud.science.get_model_artifact_content(model).data.content[:2] == b"PK"

    cloud.emulator.fail_next("CreateModelDeployment", "work_request_failed", message="no capacity")
    failed = ads("deploy")  # without an exception
    assert cloud.state(failed) == "FAILED"
    deployment = ads("deploy")
    assert (cloud.state(deployment), cloud.deployed_model(deployment)) == ("ACTIVE", model)

    assert ads("predict") == {"prediction": [2, 5.0]}
    assert cloud.predict(deployment, {"values": [4]}) == {"prediction": [8]}
    cloud.emulator.fail_next("Predict", status=500)
    assert ads("predict")["code"] == "InternalServerError"  # returned like a prediction

    assert ads("refused_delete") == "ModelWithActiveDeploymentError"
    assert cloud.science.get_model(model).data.lifecycle_state == "ACTIVE"
    ads("delete_deployment")
    assert cloud.state(deployment) == "DELETED"
    cloud.succeeded(cloud.science.delete_model_deployment(failed))
    ads("delete")
    assert cloud.science.get_model(model).data.lifecycle_state == "DELETED"
