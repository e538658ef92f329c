"""The guide's notebook, cell by cell in a process of its own, with real training; and the module name it imports."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shops import make_shop
from steps.conftest import context, emulator, emulator_process, profile_fields, project_id, settings
from steps.factories import Run

from recdeploy_ops.domain.events import ApprovalAnswered, Promoted

__all__ = ["context", "emulator", "emulator_process", "profile_fields", "project_id", "settings"]

FOLDER = Path(__file__).parents[2] / "include" / "notebook"
NOTEBOOK = json.loads((FOLDER / "Recommender-Retrain-Template.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

# As a kernel has it: one namespace, the notebook's folder on the path, cells in order.
KERNEL = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
cells, namespace = json.loads(open(sys.argv[2], encoding="utf-8").read()), {"__name__": "__main__"}
for number, cell in enumerate(cells):
    started = time.monotonic()
    exec(compile(cell, f"cell {number}", "exec"), namespace)
    print(f"[cell {number}: {time.monotonic() - started:.1f} s]", flush=True)
"""


def environment_of(tmp_path, profile_fields, **more):
    passed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LOGNAME") if name in os.environ}
    connection = json.dumps({"conn_type": "oci", "extra": profile_fields})
    own = {"HOME": str(tmp_path / "home"), "AIRFLOW_CONN_OCI_DEFAULT": connection}
    return {**passed, **own, "RECDEPLOY_SETTINGS": str(tmp_path / "include" / "recommender.yaml"), **more}


def run_cells(tmp_path, environment, answers):
    (tmp_path / "cells.json").write_text(json.dumps(CELLS), encoding="utf-8")
    (tmp_path / "home").mkdir()
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", KERNEL, str(FOLDER), str(tmp_path / "cells.json")],
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment,
        timeout=540,
        check=False,
    )


def fill_shop(folder):
    """Thirty users who have each rated some of twenty products, in the last days."""
    users, products = [f"0{n:03d}" for n in range(30)], [f"p{n}" for n in range(20)]
    now = datetime.now(UTC)
    rows = [
        (user, product, 1.0 + (u * p) % 5, (now - timedelta(hours=u + p + 1)).isoformat())
        for u, user in enumerate(users)
        for p, product in enumerate(products)
        if (u + p) % 3 == 0
    ]
    tables = {"users": [(user, "x") for user in users], "products": [(product, "t", "c") for product in products]}
    return make_shop(folder / "notebook.db", interactions=rows, kind="TEXT", **tables)


@pytest.mark.more
def test_every_cell_runs_from_training_to_promotion_and_back(tmp_path, context, profile_fields):
    Run(context, "scheduled", tmp_path).release_fully()  # v1, by Airflow's steps
    first = context.ledger.read().production
    environment = environment_of(tmp_path, profile_fields, DB_URL=f"sqlite:///{fill_shop(tmp_path)}")

    done = run_cells(tmp_path, environment, ["promote", "", "previous"])

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = done.stdout
    (tmp_path / "said.txt").write_text(said, encoding="utf-8")  # kept by pytest for anyone who wants to read it
    assert "This release makes v2." in said
    assert f"Backup: {tmp_path / 'storage' / 'backups' / 'v1_'}" in said
    assert "30 users with 20 products" in said
    assert re.search(r"RMSE \d+\.\d{3}", said)
    assert "0000 Recommendations for known user" in said
    assert "a-user-nobody-knows Recommendations for new user" in said
    assert f"v2 serves at {first.url}, verified." in said
    assert "📌 Version 1" in said
    assert f"v1 serves at {first.url}, verified." in said
    book = context.ledger.read()
    assert (book.production.version, book.previous_champion.version, book.holder) == (1, 2, None)
    release = next(r for r in book.releases.values() if r.version == 2)
    assert release.run_id.startswith("notebook-")
    assert release.outcome == "promoted"
    assert release.require(ApprovalAnswered).by.startswith(getpass.getuser())
    artifact = tmp_path / "home" / "recommender_model_artifact" / "manifest.json"
    assert json.loads(artifact.read_text())["version"] == 1


@pytest.mark.more
def test_the_cells_that_reject_and_that_roll_back_to_a_number(tmp_path, context, profile_fields):
    for number in (1, 2):
        Run(context, f"scheduled-{number}", tmp_path, shift=number).release_fully()
    url = context.ledger.read().production.url
    environment = environment_of(tmp_path, profile_fields, DB_URL=f"sqlite:///{fill_shop(tmp_path)}")

    done = run_cells(tmp_path, environment, ["", "reject", "1"])

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Type 'reject' to delete TEST and keep v2" in done.stdout
    assert f"v1 serves at {url}, verified." in done.stdout
    book = context.ledger.read()
    assert {number: str(version.stage) for number, version in book.versions.items()} == {
        1: "champion",
        2: "retired",
        3: "rejected",
    }
    assert (book.production.version, book.production.url, book.holder) == (1, url, None)
    assert [d.tags["recdeploy-role"] for d in context.deployments.all() if d.lifecycle_state != "DELETED"] == [
        "production"
    ]
    rejected = next(r for r in book.releases.values() if r.version == 3)
    assert (rejected.outcome, rejected.get(Promoted)) == ("rejected", None)
    assert rejected.require(ApprovalAnswered).decision == "Reject"
    artifact = tmp_path / "home" / "recommender_model_artifact" / "manifest.json"
    assert json.loads(artifact.read_text())["version"] == 1


def test_the_notebook_is_what_the_guide_says():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert [cell.partition(":")[0].partition("\n")[0] for cell in CELLS] == [f"# Cell {n}" for n in range(16)]
    identities = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_no_cell_holds_a_password():
    literal = re.compile(r"password[\"']?\s*[:=]\s*[\"'][^\"']")
    assert not [cell for cell in CELLS if literal.search(cell)]


@pytest.mark.parametrize("copied", [False, True])
def test_the_guides_modules_are_found_from_anywhere(tmp_path, copied):
    """Also when the files were uploaded beside each other, as the guide says, and RECDEPLOY_HOME names the project."""
    folder, environment = FOLDER, {"PATH": os.environ["PATH"]}
    if copied:
        folder = tmp_path / "datascience"
        folder.mkdir()
        for name in ("recommender_deployment_manager.py", "recommender_new_user_fallback.py"):
            (folder / name).write_bytes((FOLDER / name).read_bytes())
        environment["RECDEPLOY_HOME"] = str(FOLDER.parents[1])
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from recommender_deployment_manager import RecommenderDeploymentManager, print_backups\n"
        "from recommender_new_user_fallback import build_and_save_new_user_fallback\n"
        "print(RecommenderDeploymentManager.__name__, 'airflow' in sys.modules)"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    assert done.stdout.split() == ["RecommenderDeploymentManager", "False"], done.stderr


def test_a_module_without_its_project_says_what_to_do(tmp_path):
    target = tmp_path / "recommender_deployment_manager.py"
    target.write_bytes((FOLDER / target.name).read_bytes())
    command = [sys.executable, "-c", "import recommender_deployment_manager"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    assert "let the environment variable RECDEPLOY_HOME name its folder" in done.stderr


@pytest.mark.parametrize("report", [True, False])
def test_the_fallback_helper_gives_what_the_artifact_has(tmp_path, monkeypatch, report):
    import artifacts

    from recdeploy_ops.artifacts.artifact import read_fallback

    monkeypatch.syspath_prepend(str(FOLDER))
    from recommender_new_user_fallback import build_and_save_new_user_fallback

    new_users = artifacts.NEW_USERS if report else None
    folder = artifacts.make_artifact(tmp_path, new_users=new_users)
    expected = read_fallback(folder)
    (folder / "new_user_fallback.pkl").write_bytes(b"")

    assert build_and_save_new_user_fallback(tmp_path / "inputs" / "results", folder, top_k=3) == expected
    assert read_fallback(folder) == expected
    from recdeploy_ops.artifacts.sandbox import load_in_clean_process

    [answer] = load_in_clean_process(folder, [{"user_id": "nobody"}])  # verifies every file against the manifest
    assert [found["product_id"] for found in answer["recommendations"]] == [item for item, _ in expected]
