"""One Airflow, two recommenders: a link to each DAG file, and settings and a storage for each recommender."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.bases.operator import ExecutorSafeguard

from recdeploy_ops.context import utc_now
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings import SETTINGS_VARIABLE, find_settings, name_settings
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.triggers.deployments import WorkRequestFinishedTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
PROJECTS = {"recommender": "product-recommender", "basket": "basket-recommender"}
SCHEDULES = {"recommender": "0 3 * * 1", "basket": "0 4 * * 2"}


def link(target: Path, source: Path) -> None:
    target.symlink_to(source)


def copy(target: Path, source: Path) -> None:
    target.write_bytes(source.read_bytes())


@pytest.fixture
def storages(tmp_path: Path, surroundings: Any) -> dict[str, Path]:
    """Two settings files side by side, each with a storage of its own."""
    surroundings.apply()
    own = surroundings.settings
    storages = {"recommender": surroundings.storage, "basket": tmp_path / "basket storage"}
    changes = {"project_name": PROJECTS["basket"], "schedule": SCHEDULES["basket"]}
    values = {**own, **changes, "storage": storages["basket"].as_uri()}
    (tmp_path / "basket.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return storages


@pytest.fixture(params=[link, copy])
def dags(request: pytest.FixtureRequest, tmp_path: Path, storages: dict[str, Path]) -> dict[str, Any]:
    folder = tmp_path / "dags"
    folder.mkdir()
    make: Callable[[Path, Path], None] = request.param
    for file in DAG_FILES:
        make(folder / file.name, file)
        make(folder / file.name.replace("recommender", "basket"), folder / file.name)
    bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="x")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_both_sets_of_dags_have_their_own_ids_schedules_and_settings(
    dags: dict[str, Any], storages: dict[str, Path]
) -> None:
    kinds = [file.stem.removeprefix("recommender_") for file in DAG_FILES]
    assert set(dags) == {f"{name}_{kind}" for name in PROJECTS for kind in kinds}
    for name, project in PROJECTS.items():
        assert dags[f"{name}_retrain"].schedule == SCHEDULES[name]
        for kind in kinds:
            for task in dags[f"{name}_{kind}"].tasks:
                found = task.hook.settings
                assert (found.project_name, found.storage) == (project, storages[name].as_uri()), task


def test_each_opens_its_own_storage_when_it_runs(
    dags: dict[str, Any], storages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)  # `execute` is called outside of Airflow's task runner

    for name, project in PROJECTS.items():
        dag = dags[f"{name}_retrain"]
        run = SimpleNamespace(dag_id=dag.dag_id, triggering_user_name=None)
        context = {
            "run_id": "the same id",
            "params": dict(dag.params),
            "ti": SimpleNamespace(try_number=1, max_tries=2),
            "dag_run": run,
        }
        for task_id in ("plan_release", "close_release"):
            dag.get_task(task_id).execute(context)

        state = Ledger(open_store(storages[name].as_uri(), None), project, utc_now).read()
        [release] = state.releases.values()
        assert (state.project, release.opened.dag_id, release.is_open) == (project, f"{name}_retrain", False)


def test_a_wait_uses_the_settings_of_its_recommender(storages: dict[str, Path]) -> None:
    trigger = WorkRequestFinishedTrigger(deployment_id="x", deadline="y", poll_seconds=1, settings_name="basket")

    _, arguments = trigger.serialize()
    assert arguments["settings_name"] == "basket"
    assert ReleasesHook(arguments["settings_name"]).settings.project_name == PROJECTS["basket"]


@pytest.mark.parametrize(
    ("dag_file", "name"),
    [
        ("dags/recommender_retrain.py", "recommender"),
        ("/opt/dags/basket_rollback.py", "basket"),
        ("dags/new_users_adopt.py", "new_users"),
    ],
)
def test_the_settings_of_a_dag_file_have_its_name(dag_file: str, name: str) -> None:
    assert name_settings(dag_file) == name


def test_settings_of_another_name_are_in_the_folder_of_the_variables_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_settings("basket").name == "basket.yaml"
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "shop.yaml"))

    assert find_settings() == find_settings("recommender") == tmp_path / "shop.yaml"
    assert find_settings("basket") == tmp_path / "basket.yaml"
