"""What Airflow finds of this project among its providers, in a process with the plugins folder in PYTHONPATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.hooks.oci import FIELDS, OciHook
from recdeploy_ops.hooks.provider_info import AUTHS, get_provider_info
from recdeploy_ops.oci_clients import profiles

if TYPE_CHECKING:
    from oci_emulator.testing import RunningEmulator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fields(emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the fields of a connection to the emulator with a project."""
    import oci

    emulator.reset()
    science = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
    details = oci.data_science.models.CreateProjectDetails(compartment_id=emulator.compartment_id, display_name="shop")
    monkeypatch.delenv("AIRFLOW_CONN_TESTED", raising=False)
    return {
        **{name: emulator.config[name] for name in ("region", "tenancy", "user", "fingerprint", "key_file")},
        "auth": "api_key",
        "service_endpoint": emulator.url,
        "compartment_id": emulator.compartment_id,
        "project_id": science.create_project(details).data.id,
    }


def outcome_of(monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]) -> tuple[bool, str]:
    monkeypatch.setenv("AIRFLOW_CONN_TESTED", json.dumps({"conn_type": "oci", "extra": fields}))
    return OciHook("tested").test_connection()


def run_airflow(code: str, home: Path, **environment: str) -> Any:
    """Return what code prints as JSON in a new process with Airflow's settings."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import airflow.settings\nairflow.settings.initialize()\n{code}"],
        env={**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "plugins"), **environment},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_form_has_each_field_that_the_hook_reads() -> None:
    [connection] = get_provider_info()["connection-types"]
    fields = connection["conn-fields"]
    assert set(fields) == set(FIELDS)
    assert fields["auth"]["schema"]["enum"] == list(profiles.AUTHS) == AUTHS
    masked = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert masked == {"key_content", "pass_phrase"}


def test_the_package_has_the_projects_version() -> None:
    [found] = [item for item in distributions(path=[str(ROOT / "plugins")]) if item.metadata["Name"] == "recdeploy"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found.version == project["version"]


def test_airflow_finds_the_form_the_hook_the_notifier_and_the_backend(tmp_path: Path) -> None:
    code = """
import json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
form = {name.removeprefix("extra__oci__"): widget for name, widget in manager.connection_form_widgets.items()
        if name.startswith("extra__oci__")}
print(json.dumps([
    manager.hooks["oci"].hook_name,
    sorted(form),
    sorted(name for name, widget in form.items() if widget.is_sensitive),
    manager.field_behaviours["oci"]["hidden_fields"],
    "recdeploy_ops.vault.backends.OciVaultBackend" in manager.secrets_backend_class_names,
    "recdeploy_ops.notifications.topics.OciNotifier" in manager.notification,
]))
"""
    name, fields, sensitive, hidden, has_backend, has_notifier = run_airflow(code, tmp_path)
    assert name == "Oracle Cloud Infrastructure"
    assert fields == sorted(FIELDS)
    assert sensitive == ["key_content", "pass_phrase"]
    assert hidden == ["host", "port", "schema", "login", "password"]
    assert has_backend
    assert has_notifier


def test_the_api_server_describes_the_form(tmp_path: Path) -> None:
    code = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[meta] = [item for item in HookMetaService.hook_meta_data() if item.connection_type == "oci"]
print(json.dumps([meta.hook_name, meta.extra_fields["auth"]["schema"]["enum"], meta.standard_fields.password.hidden]))
"""
    assert run_airflow(code, tmp_path) == ["Oracle Cloud Infrastructure", AUTHS, True]


def test_a_connection_that_works_names_its_project(fields: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome_of(monkeypatch, fields) == (True, "OCI answers: the Data Science project is 'shop'.")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"project_id": "ocid1.datascienceproject.oc1..no"}, "404 NotAuthorizedOrNotFound"),
        ({"user": "ocid1.user.oc1..other"}, "401 NotAuthenticated"),
        ({"region": ""}, "lacks region"),
        ({"key_file": "/missing"}, "cannot sign requests as api_key"),
    ],
)
def test_a_connection_that_fails_says_why(
    fields: dict[str, str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str
) -> None:
    works, message = outcome_of(monkeypatch, {**fields, **changes})
    assert not works
    assert reason in message


def test_airflow_tests_a_connection_of_the_form(fields: dict[str, str], tmp_path: Path) -> None:
    code = f"""
import json
from airflow.models import Connection
print(json.dumps(Connection(conn_id="tested", conn_type="oci", extra={json.dumps(fields)!r}).test_connection()))
"""
    stored = json.dumps({"conn_type": "oci", "extra": fields})
    works, message = run_airflow(code, tmp_path, AIRFLOW_CONN_TESTED=stored)
    assert (works, message) == (True, "OCI answers: the Data Science project is 'shop'.")
