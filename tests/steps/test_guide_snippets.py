"""Every code snippet of the guide runs as the guide has it, or as the docs say where it cannot."""

from __future__ import annotations

import base64
import inspect
import json
import re
import shlex
import sqlite3
import subprocess
from contextlib import closing
from types import SimpleNamespace

import oci
import oracledb
import pytest
import yaml
from shops import FakeOracleShop
from steps.cells import Cells, run_cell
from steps.conftest import ROOT, SETTINGS_FOLDER
from steps.factories import SHAPE, USERS, living, served, shop

from recdeploy_ops.deployment_manager import RecommenderDeploymentManager
from recdeploy_ops.domain.records import Role, Shape
from recdeploy_ops.extraction.cursors import table_of

NOTEBOOKS = ROOT / "include" / "notebook"
DATASCIENCE = "/home/datascience"  # of the guide; each test has a folder of its own in its place

FIRST_TIME_SETUP = """
connection_parameters = {
    "user_name": "ADMIN",
    "password": "your_password",  # ⚠️ Use OCI Vault in production!
    "service_name": "your_service_medium",
    "wallet_location": "/path/to/wallet"
}
"""

VIEW_CURRENT_STATE = """
from recommender_deployment_manager import RecommenderDeploymentManager

manager = RecommenderDeploymentManager()
print(manager.get_deployment_summary())
"""

# What the guide shows below it. Its dots, its URL and its date stand for those of each shop.
SUMMARY = """
============================================================
🎯 Product Recommender - Deployment Status
============================================================

✅ PRODUCTION (v2)
   Model: ocid1.datasciencemodel.oc1...
   Endpoint: https://modeldeployment.ap-singapore-1...
   Deployed: 2026-01-20T14:30:00

🧪 TEST: No test deployment

📊 Current Version: v2
📦 Total Deployments: 2
============================================================
"""

LIST_ALL_BACKUPS = """
from recommender_deployment_manager import RecommenderDeploymentManager, print_backups

manager = RecommenderDeploymentManager()
backups = manager.list_backups()
print_backups(backups)
"""

MANUAL_ROLLBACK = """
# Rollback artifacts to v2
manager.rollback_artifacts(version=2)

# To also update the deployment, you'll need to manually deploy
# the rolled-back artifacts using the standard deployment flow
"""

CUSTOMIZE_RESOURCES = """
test_deployment = manager.deploy_model(
    model=model,
    model_id=model_id,
    version=next_version,
    is_test=True,
    instance_shape="VM.Standard.E4.Flex",
    ocpus=2,  # ⬅️ Increase OCPUs
    memory_gb=32  # ⬅️ Increase memory
)
"""

SKIP_TEST = """
model_id = manager.save_new_model(
    model=model,
    version=next_version,
    num_users=num_users,
    num_products=num_products,
    is_test=False  # ⬅️ Skip testing
)
"""

OPTION_1 = """
# Option 1: Use OCI Vault
from ads.secrets.oraclevault import OracleVaultSecretKeeper

secret_keeper = OracleVaultSecretKeeper(
    vault_id="ocid1.vault.oc1...",
    secret_id="ocid1.vaultsecret.oc1..."
)
password = secret_keeper.get_secret()
"""

OPTION_2 = """
# Option 2: Use environment variables
import os
password = os.environ.get("DB_PASSWORD")
"""

OPTION_3 = """
# Option 3: Read from secure file
with open("/home/datascience/.secrets/db_config.json") as f:
    config = json.load(f)
    password = config["password"]
"""

CHECK_BACKUPS = "ls -la /home/datascience/backups/"

API_REFERENCE = (
    "__init__(project_name, backup_root, artifact_dir, results_dir)",
    "get_next_version()",
    "backup_current_artifacts(version)",
    "save_new_model(model, version, num_users, num_products, is_test)",
    "deploy_model(model, model_id, version, is_test, instance_shape, ocpus, memory_gb)",
    "promote_to_production(test_deployment_id)",
    "cleanup_test_deployment()",
    "rollback_artifacts(version)",
    "get_deployment_summary()",
    "list_backups()",
)


class Kernel:
    """A notebook's kernel: one namespace for all snippets.

    Attributes:
        home: the folder that is `DATASCIENCE` to the snippets.
        names: the namespace.
    """

    def __init__(self, home):
        self.home, self.names = home, {}

    def run(self, code):
        """Run a snippet, with the kernel's home folder in place of the guide's."""
        run_cell(code.replace(DATASCIENCE, str(self.home)), self.names)

    def begin(self):
        """Make the manager, and return it."""
        self.run(VIEW_CURRENT_STATE)
        return self.names["manager"]


def cell(number):
    """Return the code of a cell of the project's own notebook."""
    notebook = json.loads((NOTEBOOKS / "Recommender-Retrain-Template.ipynb").read_text(encoding="utf-8"))
    codes = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    return next(code for code in codes if code.startswith(f"# Cell {number}:"))


@pytest.fixture
def kernel(settings, profile_fields, tmp_path, monkeypatch):
    """A kernel that finds settings and credentials as the docs say. Its lists have two items: the shop is small."""
    file = tmp_path / SETTINGS_FOLDER / "recommender.yaml"
    values = yaml.safe_load(file.read_text())
    values["training"]["top_k"] = 2
    file.write_text(yaml.dump(values))
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(file))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
    monkeypatch.syspath_prepend(str(NOTEBOOKS))
    kernel = Kernel(home)
    kernel.run("\n".join(line for line in cell(0).splitlines() if line.startswith("import ")))
    return kernel


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    """The sessions that are opened with Oracle, in order; each reads the small shop."""
    with closing(sqlite3.connect(shop(tmp_path))) as database:
        columns = {
            "interactions": ["user_id", "product_id", "rating", "ordered_at"],
            "users": ["user_id"],
            "products": ["product_id", "title"],
        }
        rows = {name: database.execute(f"SELECT {', '.join(columns[name])} FROM {name}").fetchall() for name in columns}
    tables = {name: table_of([column.upper() for column in columns[name]], rows[name]) for name in columns}
    opened = []

    def connect(**how):
        opened.append(FakeOracleShop(tables, **how))
        return opened[-1]

    monkeypatch.setattr(oracledb, "connect", connect)
    return opened


def test_the_summary_is_the_one_that_the_guide_shows(kernel, two_releases, capsys):
    kernel.run(VIEW_CURRENT_STATE)

    shown = [re.sub("2026-.*|https.*", "...", line) for line in SUMMARY.strip().splitlines()]
    shown = [re.escape(line).replace(r"\.\.\.", r"\S+") for line in shown]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(shown)
    for line, pattern in zip(printed, shown, strict=True):
        assert re.fullmatch(pattern, line)


def test_the_backups_are_listed(kernel, two_releases, capsys):
    kernel.run(LIST_ALL_BACKUPS)

    assert [backup["version"] for backup in kernel.names["backups"]] == [1]
    assert "📌 Version 1" in capsys.readouterr().out


def test_the_backups_are_folders_where_the_guide_looks_for_them(kernel, two_releases, settings):
    storage = settings.storage.removeprefix("file://")
    command = shlex.split(CHECK_BACKUPS.replace(DATASCIENCE, storage))

    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert re.search(r"^d.* v1_\d{8}_\d{6}$", listed, re.MULTILINE)
    assert "deployment_state.json" in listed


def test_a_version_is_restored_into_the_local_folders(kernel, two_releases):
    manager = kernel.begin()
    assert not (kernel.home / "recommender_model_artifact").exists()

    kernel.run(MANUAL_ROLLBACK)

    assert json.loads((kernel.home / "recommender_model_artifact" / "manifest.json").read_text())["version"] == 2
    assert (kernel.home / "results" / "recommendations.csv").is_file()
    assert manager.current_version == 2


@pytest.fixture
def trained(kernel, tmp_path):
    """The guide's cells of a kernel until Cell 8, with the names that its next cells use."""
    cells = Cells(kernel.begin(), tmp_path)
    cells.until_trained()
    kernel.names |= {"model": cells.model, "next_version": cells.version}
    kernel.names |= {"num_users": cells.users, "num_products": cells.products}
    return cells


def test_the_test_deployment_gets_the_resources(kernel, trained):
    kernel.names["model_id"] = trained.save()

    kernel.run(CUSTOMIZE_RESOURCES)

    [test] = living(trained.manager.context, Role.TEST)
    assert test.deployment_id == kernel.names["test_deployment"].model_deployment_id
    assert test.shape == Shape("VM.Standard.E4.Flex", ocpus=2, memory_gb=32, instance_count=SHAPE.instance_count)


def test_a_release_that_skips_the_test_goes_into_production_with_the_unchanged_cell_10(kernel, trained):
    kernel.run(SKIP_TEST)
    kernel.run(CUSTOMIZE_RESOURCES)

    context = trained.manager.context
    assert living(context, Role.TEST) == []
    assert not kernel.names["test_deployment"].is_test
    assert served(context) == kernel.names["next_version"] == 1
    assert kernel.names["test_deployment"].predict({"user_id": USERS[0]})["count"] == 2


def test_the_connection_of_the_first_time_setup_reads_the_shop(kernel, oracle):
    manager = kernel.begin()

    kernel.run(FIRST_TIME_SETUP)
    rows = manager.extract_data(kernel.names["connection_parameters"])

    assert rows == {"interactions": 12, "users": 6, "items": 6}
    assert {(session.opened_with["user"], session.opened_with["password"]) for session in oracle} == {
        ("ADMIN", "your_password")
    }


@pytest.mark.parametrize("option", [OPTION_2, OPTION_3], ids=["environment", "file"])
def test_a_password_that_is_not_in_the_notebook_reaches_the_database(kernel, oracle, monkeypatch, option):
    monkeypatch.setenv("DB_PASSWORD", "a secret" if option == OPTION_2 else "another")
    secrets = kernel.home / ".secrets"
    secrets.mkdir()
    (secrets / "db_config.json").write_text(json.dumps({"password": "a secret" if option == OPTION_3 else "another"}))
    kernel.run(FIRST_TIME_SETUP)

    kernel.run(option)
    parameters = kernel.names["connection_parameters"] | {"password": kernel.names["password"]}
    kernel.begin().extract_data(parameters)

    assert {session.opened_with["password"] for session in oracle} == {"a secret"}


def test_a_secret_of_the_vault_is_read_by_cell_3_as_ads_has_no_module_of_that_name(kernel, monkeypatch):
    with pytest.raises(ModuleNotFoundError, match=r"ads\.secrets\.oraclevault"):
        kernel.run(OPTION_1)
    assert "OracleVaultSecretKeeper" in (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")

    def find(secret_id):
        content = {"ocid1.vaultsecret.oc1..shop": base64.b64encode("a secret ü".encode()).decode()}[secret_id]
        return SimpleNamespace(data=SimpleNamespace(secret_bundle_content=SimpleNamespace(content=content)))

    monkeypatch.setattr(oci.auth.signers, "get_resource_principals_signer", lambda: "the session's signer")
    monkeypatch.setattr(
        oci.secrets,
        "SecretsClient",
        lambda config, signer: SimpleNamespace(get_secret_bundle={"the session's signer": find}[signer]),
    )
    for name in ("DB_URL", "DB_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DB_SECRET_OCID", "ocid1.vaultsecret.oc1..shop")
    monkeypatch.setenv("DB_SERVICE_NAME", "shop_medium")

    kernel.run(cell(3))

    assert kernel.names["connection_parameters"]["password"] == "a secret ü"


@pytest.mark.parametrize("documented", API_REFERENCE)
def test_a_method_of_the_api_reference_takes_its_arguments_in_that_order(documented):
    name, _, arguments = documented.rstrip(")").partition("(")
    names = [argument for argument in arguments.split(", ") if argument]

    _, *parameters = inspect.signature(getattr(RecommenderDeploymentManager, name)).parameters.values()

    assert [parameter.name for parameter in parameters][: len(names)] == names
    assert all(parameter.default is not parameter.empty for parameter in parameters[len(names) :])
