"""docs/coming-from-the-notebook.md is sufficient: its own lines import a shop, release over it and roll it back."""

from __future__ import annotations

import csv
import inspect
import json
import logging
import re
from pathlib import Path

import pytest
from steps.cells import run_cell
from steps.factories import PRODUCTS, USERS, answer_of, find_faults, living, reopen

from recdeploy_ops.deployment_manager import RecommenderDeploymentManager
from recdeploy_ops.rollout.production import find_production

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coming-from-the-notebook.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEPS = BLOCK.findall(PAGE.partition("## Import an old shop")[2].partition("\n## ")[0])


@pytest.fixture
def kernel(context, settings, profile_fields, tmp_path, monkeypatch):
    """A kernel in a folder with `recommendations.csv`, and the old manager's own folders in the home folder."""
    home = tmp_path / "home"
    for name in ("recommender_model_artifact/recommender_model.pkl", "results/recommendations.csv"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("theirs")
    with (home / "recommendations.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = [(user, PRODUCTS[(n + k) % 6], 2.0 - k) for n, user in enumerate(USERS) for k in range(2)]
        csv.writer(stream).writerows([("user_id", "product_id", "score"), *rows])
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(settings.folder / "recommender.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
    monkeypatch.syspath_prepend(str(ROOT / "include" / "notebook"))
    return {"__name__": "__main__"}


def run_step(kernel, capsys, number, **replaced):
    """Run a block of the page, with its placeholders replaced; return what it prints."""
    code = STEPS[number]
    for placeholder, value in replaced.items():
        assert placeholder in code
        code = code.replace(placeholder, value)
    run_cell(code, kernel)
    return capsys.readouterr().out


def test_a_shop_of_the_guide_is_imported_released_over_and_rolled_back_by_the_page_alone(
    context, old_shop, kernel, capsys, caplog
):
    caplog.set_level(logging.INFO)
    production = old_shop.make()
    orphan = old_shop.deploy(2)
    old_shop.write_state(production, 2, test=orphan, history=(1, 2))
    url, theirs = context.deployments.get(production).url, context.store.read("backups/deployment_state.json")

    opened = run_step(kernel, capsys, 0)
    assert f"Product Recommender API v1 (TEST) ({production}) is ACTIVE" in opened
    assert f"Storage: {context.store.uri}" in opened
    assert f"call manager.import_existing_deployment({production!r})" in opened  # and not for the orphan
    assert "📌 Version 1 (20261120_180119)" in opened
    assert "not verified: made by another manager" in opened

    imported = run_step(kernel, capsys, 1, **{"ocid1.datasciencemodeldeployment.oc1...": production})
    assert "production: the ledger has nothing, OCI has v2" in imported
    assert "v1: the ledger does not know it. backups/v1_20261120_180119 is a backup of another manager" in imported
    assert f"({orphan}) still runs" in imported

    looked = run_step(kernel, capsys, 2)
    assert "✅ PRODUCTION (v2)" in looked
    assert f"\n2 {url}\n" in looked

    released = run_step(kernel, capsys, 3)
    assert "gave no list" not in released
    assert "'version': 3" in released
    assert answer_of(context)["model_version"] == 3

    rolled_back = run_step(kernel, capsys, 4)
    assert [re.search(r"'version': (\d)", line)[1] for line in rolled_back.splitlines()] == ["2", "3"]

    manager = kernel["manager"]
    assert manager.roll_back_production(1)["version"] == 1
    assert answer_of(context)["recommendations"][0] == {"product_id": "p-2", "score": 5.0}
    assert manager.rollback_artifacts(1)
    assert manager.roll_back_production(2)["url"] == url
    assert manager.roll_back_production("previous")["version"] == 1
    manager.cleanup_test_deployment()
    [left] = manager.repair_production_state()  # the ledger and OCI agree
    assert f"({orphan}) still runs" in left
    state = manager.state
    assert [entry["version"] for entry in state["deployment_history"]] == [2, 3, 2, 3, 1, 2, 1]
    assert [(b["version"], b["is_verified"]) for b in manager.list_backups()][:2] == [(1, False), (2, True)]
    after = find_production(reopen(context))
    assert (after.deployment_id, after.url, after.name) == (production, url, "product-recommender-production")
    assert {deployment.deployment_id for deployment in living(context)} == {production, orphan}
    assert context.store.read("backups/deployment_state.json") == theirs
    assert find_faults(reopen(context)) == []
    assert (Path.home() / "results" / "recommendations.csv").read_text() == "theirs"


def test_the_page_names_only_methods_and_arguments_that_exist():
    called = re.findall(r"manager\.(\w+)\(([^)`]*)", PAGE)
    for name, arguments in called:
        if name.startswith("_"):
            continue  # of the old manager
        parameters = inspect.signature(getattr(RecommenderDeploymentManager, name)).parameters
        assert set(re.findall(r"(\w+)=", arguments)) <= set(parameters), name
    assert {name for name, _ in called} >= {"take_recommendations", "repair_production_state", "extract_data"}


@pytest.mark.parametrize("source", ["imported_artifacts", "existing_shops"])
def test_the_messages_that_the_page_explains_are_said(source):
    [file] = (ROOT / "plugins").rglob(f"{source}.py")
    said = {
        "imported_artifacts": "is not an artifact of this project, it lacks",
        "existing_shops": "may be served already",
    }
    assert said[source] in file.read_text(encoding="utf-8")
    assert said[source] in PAGE
