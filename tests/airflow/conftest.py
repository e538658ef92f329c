"""Airflow in this process: a home of its own, set before anything imports Airflow, and its database on demand."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oci_emulator.testing import RunningEmulator

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="recdeploy-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


@pytest.fixture(scope="session")
def airflow_database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten Airflow's waits: it sleeps a second for each task that has nothing to do."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))


@pytest.fixture
def load_dag() -> Callable[..., Any]:
    """Read a DAG's file as Airflow does, with the settings that are valid now."""

    def load(name: str = "recommender_retrain") -> Any:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=ROOT / "dags" / f"{name}.py", bundle_path=ROOT / "dags", bundle_name="x")
        assert not bag.import_errors, bag.import_errors
        return bag.dags[name]

    return load


@pytest.fixture
def dag(load_dag: Callable[..., Any], committed_settings: None) -> Any:
    return load_dag()


@pytest.fixture
def committed_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECDEPLOY_SETTINGS", raising=False)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    from oci_emulator.testing import running_emulator

    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def surroundings(tmp_path: Path, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Valid settings, connections and a shop; a test breaks one of them."""
    from special_shop import fill_store

    from demo.cloud import Cloud

    emulator.reset()
    ready = {name: getattr(emulator, name) for name in ("url", "config_file", "compartment_id", "token")}
    cloud = Cloud(ready)
    found = SimpleNamespace(
        cloud=cloud,
        shop=tmp_path / "shop.db",
        storage=tmp_path / "storage",
        settings=yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8")),
        oci=cloud.connection(),
        database={"conn_type": "sqlite", "host": str(tmp_path / "shop.db")},
    )
    found.settings["storage"] = found.storage.as_uri()
    found.settings["source"]["sql_folder"] = str(ROOT / "include" / "sql")
    found.settings["release"] |= {"poll_seconds": 0.1, "bake_minutes": 0}
    fill_store(found.shop)

    def apply() -> None:
        file = tmp_path / "recommender.yaml"
        file.write_text(yaml.safe_dump(found.settings), encoding="utf-8")
        monkeypatch.setenv("RECDEPLOY_SETTINGS", str(file))
        monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": found.oci}))
        if found.database is None:
            monkeypatch.delenv("AIRFLOW_CONN_RECOMMENDER_DB", raising=False)
        else:
            monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDER_DB", json.dumps(found.database))

    found.apply = apply
    return found


@pytest.fixture
def no_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `execute` be called outside of Airflow's task runner."""
    from airflow.sdk.bases.operator import ExecutorSafeguard

    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
