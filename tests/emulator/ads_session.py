"""Oracle's ADS in a process of its own, because importing it changes the process.

Run as `python ads_session.py URL CONFIG_FILE COMPARTMENT PROJECT FOLDER`, it reads the name of a step from each line
of its input, runs the step, and writes one line of JSON.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

SLUG = "generalml_p311_cpu_x86_64_v3"
SCORE = """\
import json
from pathlib import Path


def load_model():
    return json.loads(Path(__file__).with_name("model.json").read_text())


def predict(data, model=load_model()):
    return {"prediction": [model["factor"] * value for value in data["values"]]}
"""


class Session:
    """The life of one model, as in a notebook."""

    def __init__(self, url: str, config_file: str, compartment: str, project: str, folder: str) -> None:
        os.environ["FSSPEC_OCI"] = json.dumps({"config_kwargs": {"service_endpoint": url}})
        import ads
        from ads.model.generic_model import GenericModel

        ads.set_auth("api_key", oci_config_location=config_file, client_kwargs={"service_endpoint": url})
        self.target = {"compartment_id": compartment, "project_id": project}
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        (self.folder / "score.py").write_text(SCORE)
        self.model = GenericModel(estimator=None, artifact_dir=str(self.folder / "artifact"), serialize=False)

    def prepare(self) -> Any:
        score = str(self.folder / "score.py")
        self.model.prepare(inference_conda_env=SLUG, model_file_name="model.json", score_py_uri=score)
        (self.folder / "artifact" / "model.json").write_text(json.dumps({"factor": 2}))
        return (self.folder / "artifact" / "runtime.yaml").read_text()

    def save(self) -> Any:
        return self.model.save(display_name="by ADS", ignore_introspection=True, **self.target)

    def deploy(self) -> Any:
        shape = {"deployment_instance_shape": "VM.Standard.E4.Flex"}
        size = {"deployment_ocpus": 1, "deployment_memory_in_gbs": 8}
        self.model.deploy(display_name="by ADS", poll_interval=0.1, **shape, **size, **self.target)
        return self.model.model_deployment.model_deployment_id

    def predict(self) -> Any:
        return self.model.predict(data={"values": [1, 2.5]}, auto_serialize_data=False)

    def refused_delete(self) -> Any:
        try:
            self.model.delete()
        except Exception as err:  # noqa: BLE001 - the test checks its type
            return type(err).__name__
        return None

    def delete_deployment(self) -> Any:
        return self.model.model_deployment.delete(poll_interval=0.1).lifecycle_state

    def delete(self) -> Any:
        return self.model.delete()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that nothing printed by ADS is taken for an answer
    session = Session(*sys.argv[1:])
    for step in sys.stdin:
        answers.write(json.dumps(getattr(session, step.strip())(), default=str) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
