"""Externally built artifacts: a folder, or ADS's ``GenericModel``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import artifacts
import pytest

from recdeploy_ops.domain.errors import GateFailedError, IntegrityError, SettingsError
from recdeploy_ops.domain.events import ArtifactBuilt, ModelTrained
from recdeploy_ops.storage.bundles import open_bundle, sha256_of


@pytest.fixture
def made(tmp_path):
    """An artifact that was built elsewhere, as v1."""
    return artifacts.make_artifact(tmp_path / "made", version=1)


def save(manager, folder):
    return manager.save_new_model(folder, version=1, num_users=4, num_products=6)


class TestImportedArtifacts:
    def test_an_artifact_made_elsewhere_is_released_with_a_note(self, manager, made):
        model_id = save(manager, made)
        test = manager.deploy_model(made, model_id, 1)

        model = manager.context.catalog.get(model_id)
        assert (model.metadata["num_users"], model.metadata["num_products"]) == ("4", "6")
        assert test.predict({"user_id": "u2"})["recommendations"][1] == {
            "product_id": "p2",
            "rating": 3.3333333333333335,
        }
        assert "without the data" in manager.validate_test()
        assert manager.promote_to_production()["version"] == 1

    def test_its_results_are_stored_if_there_are_any(self, manager, made, tmp_path):
        shutil.copytree(tmp_path / "made" / "inputs" / "results", manager.results_dir)
        (manager.results_dir / "thesis.docx").write_text("private")

        save(manager, made)

        own = manager._session.own()
        kept = manager.context.of_run(own.run_id).open_bundle(ModelTrained).files
        assert "new_users.csv" in kept
        assert "thesis.docx" not in kept

    def test_results_of_another_model_are_noticed(self, manager, made):
        lists = {**artifacts.LISTS, "u1": [("p4", 4.5), ("p3", 4.25), ("p2", 1.1)]}
        artifacts.write_results(manager.results_dir, lists)

        with pytest.raises(GateFailedError, match="u1"):
            save(manager, made)

    def test_a_folder_without_an_artifact_of_this_project_is_refused(self, manager, tmp_path):
        (tmp_path / "score.py").touch()

        with pytest.raises(
            SettingsError, match=r"lacks runtime.yaml.*build_artifact\(\).*docs/coming-from-the-notebook\.md"
        ):
            save(manager, tmp_path)
        assert manager.context.ledger.read().holder is None

    def test_an_artifact_of_another_version_is_refused(self, manager, tmp_path):
        folder = artifacts.make_artifact(tmp_path / "made", version=3)

        with pytest.raises(SettingsError, match="has v3, but this release makes v1"):
            save(manager, folder)

    @pytest.mark.parametrize(
        ("name", "error", "says"),
        [
            ("recommendations.sqlite", IntegrityError, "does not match its manifest"),
            ("score.py", SettingsError, "score_py_uri"),
        ],
    )
    def test_a_changed_file_is_refused(self, manager, made, name, error, says):
        with (made / name).open("ab") as stream:
            stream.write(b"#")

        with pytest.raises(error, match=says):
            save(manager, made)

    def test_a_registered_version_keeps_its_content(self, manager, tmp_path):
        first, other = (
            artifacts.make_artifact(tmp_path / name, version=1, new_users=new_users)
            for name, new_users in (("one", artifacts.NEW_USERS), ("two", None))
        )
        save(manager, first)
        assert save(manager, first)

        with pytest.raises(SettingsError, match="v1 is registered with other content"):
            save(manager, other)


GENERIC_MODEL = """
import json, logging, os, sys
import ads
from ads.model.generic_model import GenericModel
from recdeploy_ops.deployment_manager import RecommenderDeploymentManager

url, config_file, folder, score, slug = sys.argv[1:]
ads.set_auth("api_key", oci_config_location=config_file, client_kwargs={"service_endpoint": url})
model = GenericModel(estimator=None, artifact_dir=folder, serialize=False)
model.prepare(
    inference_conda_env=slug, model_file_name="recommendations.sqlite", score_py_uri=score, force_overwrite=True
)
manager = RecommenderDeploymentManager()
version = manager.get_next_version()
model_id = manager.save_new_model(model=model, version=version, num_users=4, num_products=6)
test_deployment = manager.deploy_model(model=model, model_id=model_id, version=version)
answer = test_deployment.predict({"user_id": "u2"})
manager.promote_to_production(test_deployment.model_deployment_id)
print(json.dumps([model_id, sorted(os.listdir(folder)), answer]))
"""


@pytest.mark.more
def test_an_ads_generic_model_is_saved_deployed_and_promoted(settings, context, profile_fields, emulator, tmp_path):
    """In a process of its own, for ADS changes much of the one that imports it."""
    folder = artifacts.make_artifact(tmp_path / "made", version=1)
    slug = settings.serving.conda_environment.slug
    facts = [emulator.url, str(emulator.config_file), str(folder), str(artifacts.TEMPLATE / "score.py"), slug]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(artifacts.TEMPLATE.parents[1] / "plugins"),
        "RECDEPLOY_SETTINGS": str(settings.folder / "recommender.yaml"),
        "AIRFLOW_CONN_OCI_DEFAULT": json.dumps({"conn_type": "oci", "extra": profile_fields}),
        "FSSPEC_OCI": json.dumps({"config_kwargs": {"service_endpoint": emulator.url}}),
    }
    command = [sys.executable, "-c", GENERIC_MODEL, *facts]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    assert done.returncode == 0, done.stderr[-4000:]
    model_id, names, answer = json.loads(done.stdout.splitlines()[-1])
    assert ".model-ignore" in names, "ADS has prepared the folder"
    state = context.ledger.read()
    assert (state.production.version, state.production.model_id) == (1, model_id)
    assert (answer["model_version"], answer["digest"]) == (1, state.production.digest)
    [release] = state.releases.values()
    built = release.require(ArtifactBuilt)
    served = open_bundle(context.store, built.prefix, digest=built.digest, made_by="build_artifact").files
    assert set(served) == {"README.md", "new_user_fallback.pkl", "recommendations.sqlite", "runtime.yaml", "score.py"}
    assert served["runtime.yaml"] == sha256_of(folder / "runtime.yaml"), "the environment that ADS was given"
