"""Releases against a running emulator: the real SDK, the real steps, no Airflow."""

from __future__ import annotations

import copy
import shutil
import time
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import oci.retry.retry
import pytest
import yaml
from steps.cells import Cells
from steps.factories import Run, create_bucket, create_project, extra_of, reopen
from steps.old_shops import OldShop

from oci_emulator.testing import running_emulator
from recdeploy_ops.context import open_context
from recdeploy_ops.deployment_manager import RecommenderDeploymentManager
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients import predictions, sessions
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.settings import load_settings
from recdeploy_ops.steps import promote
from recdeploy_ops.storage.roots import open_store

ROOT = Path(__file__).parents[2]
EMPTY = "empty"
SETTINGS_FOLDER = "include"
RUN_FILES = frozenset({SETTINGS_FOLDER, "shop.db", "storage", "home"})  # of runs and notebooks, in a test's folder


@pytest.fixture(scope="session", autouse=True)
def no_pace():
    """Do not wait between two probes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "PACE_SECONDS", 0)
        yield


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory):
    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        emulator.set_timings(create=0.02, update=0.02, delete=0.02)
        yield emulator


@pytest.fixture(scope="session")
def project_id(emulator_process):
    created = create_project(emulator_process)
    emulator_process.snapshot(EMPTY)
    return created


@pytest.fixture
def emulator(emulator_process, project_id):
    """The emulator, empty but for a project."""
    emulator_process.clear_faults()
    emulator_process.restore(EMPTY)
    return emulator_process


class Beginnings:
    """States that many tests begin with, made once a process: a snapshot of the emulator and a copy of a folder."""

    def __init__(self, emulator, folder):
        self._emulator, self._folder, self._made = emulator, folder, set()

    def begin(self, name, folder, make):
        """Bring the emulator and a test's folder to a state, by `make` where no test of this process has."""
        copy = self._folder / name
        own = {path.name for path in folder.iterdir()} - RUN_FILES
        assert not own, f"{own} would be lost: begin with {name} before the test writes files of its own"
        if name not in self._made:
            make()
            self._emulator.snapshot(name)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(SETTINGS_FOLDER))
            self._made.add(name)
            assert {path.name for path in copy.iterdir()} <= RUN_FILES
        else:
            for path in folder.iterdir():
                if path.name != SETTINGS_FOLDER:  # each test has its own, which names its storage
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(copy, folder, dirs_exist_ok=True)
        self._emulator.restore(name)  # forgets the calls of making it


@pytest.fixture(scope="session")
def beginnings(emulator_process, tmp_path_factory):
    return Beginnings(emulator_process, tmp_path_factory.mktemp("beginnings"))


@pytest.fixture
def profile_fields(emulator, project_id):
    """The extra of an `oci` connection to the emulator."""
    return extra_of(emulator, project_id)


@cache
def read_committed_settings():
    return yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text())


@pytest.fixture
def settings(tmp_path):
    values = copy.deepcopy(read_committed_settings())
    values["storage"] = (tmp_path / "storage").as_uri()
    values["release"] |= {"poll_seconds": 0.04, "bake_minutes": 0}
    values["probes"] |= {"known_users": 6, "unknown_users": 2, "malformed_requests": 6, "latency_requests": 3}
    values["probes"] |= {"consecutive_answers": 5, "repeat_seconds": 0.01}
    folder = tmp_path / SETTINGS_FOLDER
    shutil.copytree(ROOT / "include" / "sql", folder / "sql")
    (folder / "recommender.yaml").write_text(yaml.dump(values, Dumper=yaml.CSafeDumper))
    return load_settings(folder / "recommender.yaml")


def open_session(profile_fields):
    return OciSession(OciProfile.from_fields(profile_fields, source="the test's connection"))


@pytest.fixture
def context(settings, profile_fields):
    session = open_session(profile_fields)
    return open_context(settings, open_store(settings.storage, session), session, "test")


@pytest.fixture
def no_retries(monkeypatch):
    """Let the SDK send no request again, and not wait where it does so nevertheless, as in lists of many pages."""
    monkeypatch.setattr(sessions, "retry_strategy", lambda *_: oci.retry.NoneRetryStrategy())
    monkeypatch.setattr(oci.retry.retry, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))


@pytest.fixture
def make_bucket(emulator, profile_fields):
    """Makes a bucket of a name, and returns its URI."""
    return partial(create_bucket, emulator, open_session(profile_fields))


@pytest.fixture
def old_shop(context, emulator, tmp_path):
    """A shop with a deployment manager of the guide's kind; see `OldShop`."""
    return OldShop(context, emulator, tmp_path)


@pytest.fixture
def keep_start(context, emulator, tmp_path):
    """Keeps the state of OCI and of the storage, and returns a function that brings it back.

    That function returns the context of a process that remembers nothing, not even a fault.
    """
    storage, copy = tmp_path / "storage", tmp_path / "start"

    def keep():
        emulator.snapshot("start")
        shutil.copytree(storage, copy)
        return begin_again

    def begin_again(run_id="test"):
        emulator.restore("start")
        shutil.rmtree(storage)
        shutil.copytree(copy, storage)
        return reopen(context, run_id, session=OciSession(context.catalog._session.profile))

    return keep


@pytest.fixture
def run(context, tmp_path):
    """Makes runs by their id; see `Run`."""
    return lambda run_id, **how: Run(context, run_id, tmp_path, **how)


@pytest.fixture
def begin_with(context, tmp_path, beginnings):
    """Begins a test with what `Run` makes; see `Beginnings`."""

    def begin(name, make):
        storage = context.settings.storage.partition(":")[0]
        beginnings.begin(f"{name}-{storage}", tmp_path, make)
        context.refresh()

    return begin


@pytest.fixture
def released(run, begin_with):
    """Begins a test with a number of releases, run-1 and further, with different lists. The newest is in production."""

    def begin(releases=1):
        def make():
            if releases > 1:
                begin(releases - 1)
            run(f"run-{releases}", shift=releases - 1).release_fully()

        begin_with(f"released-{releases}", make)

    return begin


@pytest.fixture
def two_versions(released):
    released(2)


@pytest.fixture
def validated(run, released, begin_with):
    """Begins a test with a run of this number validated, and those before it released."""

    def begin(number):
        validating = run(f"run-{number}", shift=number - 1)

        def make():
            if number > 1:
                released(number - 1)
            validating.validate()

        begin_with(f"validated-{number}", make)
        return run(validating.run_id, shift=validating.shift)

    return begin


@pytest.fixture
def tag_by_hand(context, emulator):
    """Changes the tags of a deployment, by default production, as a person does in the console."""

    def tag(tags, deployment=None):
        context.deployments.tag(deployment or find_production(context), tags)
        emulator.wait_until_idle()

    return tag


@pytest.fixture
def approved(validated):
    """v1 serves, and the run that may promote v2."""
    second = validated(2)
    second.answer(Decision.PROMOTE)
    return second


@pytest.fixture
def approved_here(run, released):
    """As `approved`, with the settings of this test: the run may be planned again without losing its approval."""
    released()
    second = run("run-2", shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    return second


@pytest.fixture
def switching(approved, emulator):
    """v2 is approved, and OCI has switched production to it; nothing was verified."""
    promote.advance(approved.context)
    emulator.wait_until_idle()
    return approved


@pytest.fixture
def make_manager(settings, profile_fields, tmp_path, monkeypatch):
    """Deployment managers as kernels have them; equal names are the same kernel."""
    short = settings.training.model_copy(update={"top_k": 2})  # lists of two, as the small shop allows
    monkeypatch.setitem(settings.__dict__, "training", short)

    def make(session="kernel-1", **how):
        home = tmp_path / "home"
        how = {"settings": settings, "artifact_dir": home / "artifact", "results_dir": home / "results", **how}
        return RecommenderDeploymentManager(oci=open_session(profile_fields), session=session, **how)

    return make


@pytest.fixture
def manager(make_manager):
    return make_manager()


@pytest.fixture
def cells(manager, tmp_path):
    return Cells(manager, tmp_path)


@pytest.fixture
def two_releases(manager, tmp_path, beginnings):
    """Two releases of a notebook, one after the other."""

    def make():
        for shift in range(2):
            Cells(manager, tmp_path, shift=shift).release()

    beginnings.begin("two-releases-of-a-notebook", tmp_path, make)
    manager.context.refresh()
