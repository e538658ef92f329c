"""Releases against a running emulator: the real SDK, the real steps, no Airflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import oci
import pytest
import yaml
from steps.cells import Cells
from steps.factories import Run

from oci_emulator.testing import running_emulator
from recdeploy_ops.context import open_context
from recdeploy_ops.deployment_manager import RecommenderDeploymentManager
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.roots import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory):
    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        emulator.set_timings(create=0.05, update=0.05, delete=0.05)
        yield emulator


@pytest.fixture
def emulator(emulator_process):
    """The emulator, empty."""
    emulator_process.reset()
    emulator_process.set_timings(create=0.05, update=0.05, delete=0.05)
    emulator_process.clear_faults()
    return emulator_process


@pytest.fixture
def project_id(emulator):
    client = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
    details = oci.data_science.models.CreateProjectDetails(compartment_id=emulator.compartment_id, display_name="shop")
    return client.create_project(details).data.id


@pytest.fixture
def profile_fields(emulator, project_id):
    """The extra of an `oci` connection to the emulator."""
    return {
        "auth": "api_key",
        **emulator.config,
        "compartment_id": emulator.compartment_id,
        "project_id": project_id,
        "service_endpoint": emulator.url,
    }


@pytest.fixture
def settings(tmp_path):
    values = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text())
    values["storage"] = (tmp_path / "storage").as_uri()
    values["release"]["poll_seconds"] = 0.05
    values["probes"] |= {"known_users": 20, "unknown_users": 5, "malformed_requests": 20, "latency_requests": 5}
    values["probes"] |= {"consecutive_answers": 8, "repeat_seconds": 0.01}
    folder = tmp_path / "include"
    shutil.copytree(ROOT / "include" / "sql", folder / "sql")
    (folder / "recommender.yaml").write_text(yaml.safe_dump(values))
    return load_settings(folder / "recommender.yaml")


@pytest.fixture
def context(settings, profile_fields):
    session = OciSession(OciProfile.from_fields(profile_fields, source="the test's connection"))
    return open_context(settings, open_store(settings.storage, session), session, "test")


@pytest.fixture
def run(context, tmp_path):
    """Makes runs by their id; see `Run`."""
    return lambda run_id, **how: Run(context, run_id, tmp_path, **how)


@pytest.fixture
def make_manager(settings, profile_fields, tmp_path, monkeypatch):
    """Deployment managers as kernels have them; equal names are the same kernel."""
    short = settings.training.model_copy(update={"top_k": 2})  # lists of two, as the small shop allows
    monkeypatch.setitem(settings.__dict__, "training", short)

    def make(session="kernel-1", **how):
        home = tmp_path / "home"
        how = {"settings": settings, "artifact_dir": home / "artifact", "results_dir": home / "results", **how}
        oci = OciSession(OciProfile.from_fields(profile_fields, source="the test's connection"))
        return RecommenderDeploymentManager(oci=oci, session=session, **how)

    return make


@pytest.fixture
def manager(make_manager):
    return make_manager()


@pytest.fixture
def cells(manager, tmp_path):
    return Cells(manager, tmp_path)


@pytest.fixture
def two_releases(manager, tmp_path):
    """Two releases of a notebook, one after the other."""
    for shift in range(2):
        Cells(manager, tmp_path, shift=shift).release()
