"""The guide's notebook, run cell by cell in its own process with real training, and the modules that it imports."""

from __future__ import annotations

import getpass
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
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

# Runs like a kernel: one namespace, the notebook's folder on the path, cells in order.
KERNEL = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
cells, namespace = json.loads(open(sys.argv[2], encoding="utf-8").read()), {"__name__": "__main__"}
for number, cell in enumerate(cells):
    started = time.monotonic()
    exec(compile(cell, f"cell {number}", "exec"), namespace)
    print(f"[cell {number}: {time.monotonic() - started:.1f} s]", flush=True)
"""


def run_cells(tmp_path, profile_fields, answers):
    """Run all cells on a small shop, answer their questions, and return what they print."""
    inherited = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LOGNAME")
    environment = {name: os.environ[name] for name in inherited if name in os.environ} | {
        "HOME": str(tmp_path / "home"),
        "AIRFLOW_CONN_OCI_DEFAULT": json.dumps({"conn_type": "oci", "extra": profile_fields}),
        "RECDEPLOY_SETTINGS": str(tmp_path / "include" / "recommender.yaml"),
        "DB_URL": f"sqlite:///{fill_shop(tmp_path)}",
    }
    (tmp_path / "cells.json").write_text(json.dumps(CELLS), encoding="utf-8")
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", KERNEL, str(FOLDER), str(tmp_path / "cells.json")],
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def artifact_version(tmp_path):
    """Return the version in the manifest of the notebook's artifact."""
    manifest = tmp_path / "home" / "recommender_model_artifact" / "manifest.json"
    return json.loads(manifest.read_text())["version"]


def fill_shop(folder):
    """Write the champion's shop with 30 more users, who rated some of 20 more products lately; return its path."""
    users, products = [f"0{n:03d}" for n in range(30)], [f"p{n}" for n in range(20)]
    now = datetime.now(UTC)
    rows = [
        (user, product, 1.0 + (u * p) % 5, (now - timedelta(hours=u + p + 1)).isoformat())
        for u, user in enumerate(users)
        for p, product in enumerate(products)
        if (u + p) % 3 == 0
    ]
    tables = ("interactions", "users", "products")
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        approved = {table: shop.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    return make_shop(
        folder / "notebook.db",
        interactions=approved["interactions"] + rows,
        users=approved["users"] + [(user, "x") for user in users],
        products=approved["products"] + [(product, "t", "c") for product in products],
        kind="TEXT",
    )


@pytest.mark.more
def test_every_cell_runs_from_training_to_promotion_and_back(tmp_path, context, profile_fields):
    Run(context, "scheduled", tmp_path).release_fully()  # v1, by Airflow's steps
    first = context.ledger.read().production

    output = run_cells(tmp_path, profile_fields, ["promote", "", "previous"])

    (tmp_path / "output.txt").write_text(output, encoding="utf-8")  # kept by pytest, for people to read
    assert "This release makes v2." in output
    assert f"Backup: {tmp_path / 'storage' / 'backups' / 'v1_'}" in output
    assert "36 users with 26 products" in output
    assert re.search(r"RMSE \d+\.\d{3}", output)
    assert "0000 Recommendations for known user" in output
    assert "a-user-nobody-knows Recommendations for new user" in output
    assert f"v2 serves at {first.url}, verified." in output
    assert "📌 Version 1" in output
    assert f"v1 serves at {first.url}, verified." in output
    state = context.ledger.read()
    assert (state.production.version, state.previous_champion.version, state.holder) == (1, 2, None)
    release = next(r for r in state.releases.values() if r.version == 2)
    assert release.run_id.startswith("notebook-")
    assert release.outcome == "promoted"
    assert release.require(ApprovalAnswered).by.startswith(getpass.getuser())
    assert artifact_version(tmp_path) == 1


@pytest.mark.more
def test_the_cells_reject_and_roll_back_to_a_number(tmp_path, context, profile_fields):
    for number in (1, 2):
        Run(context, f"scheduled-{number}", tmp_path, shift=number).release_fully()
    url = context.ledger.read().production.url

    output = run_cells(tmp_path, profile_fields, ["", "reject", "1"])

    assert "Type 'reject' to delete TEST and keep v2" in output
    assert f"v1 serves at {url}, verified." in output
    state = context.ledger.read()
    assert {number: str(version.stage) for number, version in state.versions.items()} == {
        1: "champion",
        2: "retired",
        3: "rejected",
    }
    assert (state.production.version, state.production.url, state.holder) == (1, url, None)
    remaining = [d for d in context.deployments.all() if d.lifecycle_state != "DELETED"]
    assert [d.tags["recdeploy-role"] for d in remaining] == ["production"]
    rejected = next(r for r in state.releases.values() if r.version == 3)
    assert (rejected.outcome, rejected.get(Promoted)) == ("rejected", None)
    assert rejected.require(ApprovalAnswered).decision == "Reject"
    assert artifact_version(tmp_path) == 1


def test_the_notebook_has_the_cells_of_the_guide():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert [cell.partition(":")[0].partition("\n")[0] for cell in CELLS] == [f"# Cell {n}" for n in range(16)]
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_no_cell_contains_a_password():
    literal = re.compile(r"password[\"']?\s*[:=]\s*[\"'][^\"']")
    assert not [cell for cell in CELLS if literal.search(cell)]


@pytest.mark.parametrize("copied", [False, True])
def test_the_guides_modules_are_found_from_anywhere(tmp_path, copied):
    """Also if the files were uploaded into one folder, as the guide says, and RECDEPLOY_HOME names the project."""
    folder, environment = FOLDER, {}
    if copied:
        folder = copy_modules(tmp_path, "recommender_deployment_manager.py", "recommender_new_user_fallback.py")
        environment = {"RECDEPLOY_HOME": str(FOLDER.parents[1])}
    done = run_code(
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from recommender_deployment_manager import RecommenderDeploymentManager, print_backups\n"
        "from recommender_new_user_fallback import build_and_save_new_user_fallback\n"
        "print(RecommenderDeploymentManager.__name__, 'airflow' in sys.modules)",
        tmp_path,
        **environment,
    )

    assert done.stdout.split() == ["RecommenderDeploymentManager", "False"], done.stderr


def test_a_module_without_its_project_names_the_remedy(tmp_path):
    folder = copy_modules(tmp_path, "recommender_deployment_manager.py")
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\nimport recommender_deployment_manager"
    done = run_code(code, tmp_path)

    assert "let the environment variable RECDEPLOY_HOME name its folder" in done.stderr


def copy_modules(tmp_path, *names):
    """Copy modules of the notebook's folder into a new folder; return that."""
    folder = tmp_path / "datascience"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    return folder


def run_code(code, folder, **environment):
    """Run code in a new Python process with this environment."""
    command = [sys.executable, "-P", "-c", code]
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.mark.parametrize("report", [True, False])
def test_the_fallback_helper_gives_the_fallback_of_the_artifact(tmp_path, monkeypatch, report):
    import artifacts

    from recdeploy_ops.artifacts.stored_lists import read_fallback

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
    assert [item["product_id"] for item in answer["recommendations"]] == [item for item, _ in expected]


@pytest.mark.parametrize("given", ["a table", "a list", "both"])
def test_the_fallback_helper_takes_the_arguments_of_the_guides_authors(tmp_path, monkeypatch, given):
    import artifacts
    import pandas as pd

    monkeypatch.syspath_prepend(str(FOLDER))
    from recommender_new_user_fallback import build_and_save_new_user_fallback

    folder = artifacts.make_artifact(tmp_path, new_users=artifacts.NEW_USERS)
    results = tmp_path / "inputs" / "results"
    table = pd.DataFrame({"user_id": ["a", "b", "b"], "product_id": ["p4", "p4", "p1"], "score": [2.0, 4.0, 5.0]})
    (tmp_path / "theirs.csv").write_text("product_id,score\np5,9.5\np1,8.0\n")
    how = {"recommendations_df": table} if given != "a list" else {}
    how |= {"new_user_csv_path": tmp_path / "theirs.csv"} if given != "a table" else {}

    ranking = build_and_save_new_user_fallback(results, folder, **how)

    assert ranking == ([("p4", 3.0), ("p1", 5.0)] if given == "a table" else [("p5", 9.5), ("p1", 8.0)])
    assert build_and_save_new_user_fallback(results, folder, table) == [("p4", 3.0), ("p1", 5.0)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"recommendations_df": {"user_id": ["a"], "product_id": ["p"]}}, "the table lacks rating"),
        ({"new_user_csv_path": "absent.csv"}, "absent.csv does not exist"),
    ],
)
def test_the_fallback_helper_says_what_it_lacks(tmp_path, monkeypatch, arguments, says):
    import pandas as pd

    from recdeploy_ops.domain.errors import SettingsError

    monkeypatch.syspath_prepend(str(FOLDER))
    from recommender_new_user_fallback import build_and_save_new_user_fallback

    how = {name: pd.DataFrame(value) if isinstance(value, dict) else value for name, value in arguments.items()}
    with pytest.raises(SettingsError, match=says):
        build_and_save_new_user_fallback(tmp_path, tmp_path / "artifact", **how)


def test_adss_own_command_runs_in_this_environment():
    """As the cells of the guide's authors do: `!ads operator run -f recommender.yaml`."""
    command = [sys.executable, "-c", "import sys, ads.cli; sys.exit(ads.cli.cli())", "operator", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert "ModuleNotFoundError" not in done.stderr
    assert "operator" in done.stdout + done.stderr
