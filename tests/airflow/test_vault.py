"""The secrets backend against the emulator's vault: look-ups, the cache, what is missing, and that nothing leaks."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oci.vault import VaultsClient
from oci.vault.models import ScheduleSecretDeletionDetails
from vaults import put_secret, replace_content

from oci_emulator.credentials import COMPARTMENT, VAULT
from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, SettingsError, SourceDataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from oci_emulator.testing import RunningEmulator

ROOT = Path(__file__).parents[2]
WORD = "opensesame-7"
CONNECTION = {"conn_type": "oci", "password": WORD, "extra": {"auth": "api_key", "region": "eu-frankfurt-1"}}
NAME = "airflow-connections-oci_default"


@pytest.fixture
def vault(emulator: RunningEmulator) -> Any:
    """Return the client that puts secrets into an empty vault."""
    emulator.reset()
    return VaultsClient(emulator.config, service_endpoint=emulator.url)


@pytest.fixture
def backend(vault: Any, emulator: RunningEmulator) -> Callable[..., Any]:
    """Return a function that makes a backend for the emulator's vault."""

    def make(**changes: Any) -> Any:
        from recdeploy_ops.vault.backends import OciVaultBackend

        given = {"vault_id": VAULT, "config_file": emulator.config_file, "service_endpoint": emulator.url}
        return OciVaultBackend(**{**given, "compartment_id": COMPARTMENT, **changes})

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time of the cache in a list, for tests to change."""
    now = [1000.0]
    monkeypatch.setattr("recdeploy_ops.vault.backends.time.monotonic", lambda: now[0])
    return now


def delete(vault: Any, secret: str) -> None:
    vault.schedule_secret_deletion(secret, ScheduleSecretDeletionDetails())


def test_a_connection_a_variable_and_an_option_are_read(vault: Any, backend: Callable[..., Any]) -> None:
    put_secret(vault, NAME, json.dumps(CONNECTION))
    put_secret(vault, "airflow-connections-shop", f"postgresql://reader:{WORD}@db:5432/shop")
    put_secret(vault, "airflow-variables-limit", "zwölf")
    put_secret(vault, "airflow-config-sql", "sqlite://")
    made = backend()
    connection = made.get_connection("oci_default")
    assert (connection.conn_id, connection.conn_type, connection.password) == ("oci_default", "oci", WORD)
    assert connection.extra_dejson["region"] == "eu-frankfurt-1"
    assert made.get_connection("shop").host == "db"
    assert made.get_variable("limit") == "zwölf"
    assert made.get_config("sql") == "sqlite://"


def test_prefixes_can_be_chosen_and_kinds_left_out(vault: Any, backend: Callable[..., Any]) -> None:
    put_secret(vault, "shop.conn.a", json.dumps(CONNECTION))
    put_secret(vault, "airflow-variables-a", "1")
    made = backend(connections_prefix="shop.conn.", variables_prefix=None)
    assert made.get_connection("a").conn_type == "oci"
    assert made.get_variable("a") is None


@pytest.mark.parametrize("key", ["two words", "a/b", "x" * 300, "ä"])
def test_a_name_that_oci_does_not_allow_is_not_looked_up(
    backend: Callable[..., Any], emulator: RunningEmulator, key: str
) -> None:
    assert backend().get_variable(key) is None
    assert emulator.calls("GetSecretBundleByName") == []


def test_absent_pending_and_deleted_secrets_are_none(
    vault: Any, backend: Callable[..., Any], emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    made = backend(cache_seconds=0)
    assert made.get_connection("oci_default") is None
    secret = put_secret(vault, NAME, json.dumps(CONNECTION))
    delete(vault, secret)
    assert made.get_connection("oci_default") is None
    assert f"The secret '{NAME}' is PENDING_DELETION: it counts as absent." in caplog.text
    emulator.end_retention(secret)
    assert made.get_connection("oci_default") is None
    assert "is DELETED" in caplog.text


def test_a_value_is_read_again_after_the_cache_time(
    vault: Any, backend: Callable[..., Any], emulator: RunningEmulator, clock: list[float]
) -> None:
    secret = put_secret(vault, "airflow-variables-a", "one")
    made = backend(cache_seconds=60)
    assert [made.get_variable("a"), made.get_variable("b")] == ["one", None]
    replace_content(vault, secret, "two")
    put_secret(vault, "airflow-variables-b", "new")
    clock[0] += 59
    assert [made.get_variable("a"), made.get_variable("b")] == ["one", None]
    assert len(emulator.calls("GetSecretBundleByName")) == 2
    clock[0] += 1
    assert [made.get_variable("a"), made.get_variable("b")] == ["two", "new"]


def test_a_failure_is_not_cached(vault: Any, backend: Callable[..., Any], emulator: RunningEmulator) -> None:
    put_secret(vault, "airflow-variables-a", "one")
    made = backend()
    emulator.fail_next("GetSecretBundleByName", status=401)
    with pytest.raises(CloudRefusedError, match=r"401 NotAuthenticated.*Check the credentials of the secrets backend"):
        made.get_variable("a")
    assert made.get_variable("a") == "one"


def test_a_secret_that_may_not_be_read_is_told_from_an_absent_one(
    vault: Any, backend: Callable[..., Any], emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    put_secret(vault, NAME, json.dumps(CONNECTION))
    emulator.fail_next("GetSecretBundleByName", status=404, times=2)
    with pytest.raises(CloudRefusedError, match=r"exists in .* may not be read.*read secret-bundles in compartment id"):
        backend().get_connection("oci_default")
    assert f"Cannot look {NAME} up in OCI Vault: The secret" in caplog.text
    assert backend(compartment_id=None).get_connection("oci_default") is None
    assert "or this principal may not read it: the answer is the same" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"vault_id": "ocid1.vault.oc1..other"}, {"compartment_id": "ocid1.compartment.oc1..other"}]
)
def test_a_wrong_vault_or_compartment_is_named_once(
    vault: Any, backend: Callable[..., Any], changes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    put_secret(vault, NAME, json.dumps(CONNECTION))
    made = backend(**changes)
    assert [made.get_connection("other"), made.get_variable("a")] == [None, None]
    named = [record for record in caplog.records if "OCI shows no secret of" in record.message]
    assert len(named) == 1
    assert next(iter(changes.values())) in named[0].message


def test_an_outage_is_an_error_that_is_logged(
    backend: Callable[..., Any], emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fail_next("GetSecretBundleByName", status=503, times=None)
    with pytest.raises(CloudUnavailableError, match=f"read the secret '{NAME}'.*503"):
        backend().get_connection("oci_default")
    assert [record.levelname for record in caplog.records if NAME in record.message] == ["ERROR"]


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://reader:{WORD}/x@db/shop",
        f'{{"conn_type": "oci", "password": "{WORD}"',
        f'{{"conn_type": "oci", "port": "{WORD}"}}',
        b"\xff" + WORD.encode(),
    ],
)
def test_no_secret_is_in_a_log_or_an_error(
    vault: Any, backend: Callable[..., Any], text: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    put_secret(vault, NAME, text)
    caplog.clear()
    with pytest.raises(SourceDataError, match=NAME) as caught:
        backend().get_connection("oci_default")
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert chain[1:] == [None, None]
    assert WORD not in caplog.text
    assert not any(WORD in f"{error!r}{error}{getattr(error, 'args', '')}" for error in chain)


@pytest.mark.parametrize("text", [" ", "\n"])
def test_an_empty_connection_is_none(vault: Any, backend: Callable[..., Any], text: str) -> None:
    put_secret(vault, NAME, text)
    assert backend().get_connection("oci_default") is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vault_id": ""}, "'vault_id'"),
        ({"vault_id": "ocid1.vaultsecret.oc1..a"}, "'vault_id'"),
        ({"connections_prefix": "airflow/connections"}, "'connections_prefix'"),
        ({"variables_prefix": ""}, "'variables_prefix'"),
        ({"cache_seconds": "soon"}, "'cache_seconds'"),
        ({"cache_seconds": -1}, "'cache_seconds'"),
        ({"auth": "password"}, "'auth'"),
        ({"config_file": None}, "'config_file' is missing"),
    ],
)
def test_a_wrong_argument_stops_airflow_with_the_reason(
    backend: Callable[..., Any], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=f"AIRFLOW__SECRETS__BACKEND_KWARGS: {reason}"):
        backend(**changes)


def test_credentials_that_cannot_be_used_are_named(backend: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing cannot be read"):
        backend(config_file=str(tmp_path / "missing")).get_variable("a")
    incomplete = tmp_path / "config"
    incomplete.write_text("[DEFAULT]\nuser=ocid1.user.oc1..a\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="BACKEND_KWARGS lacks region, tenancy, fingerprint"):
        backend(config_file=str(incomplete)).get_variable("a")
    with pytest.raises(SettingsError, match="no profile 'OTHER'"):
        backend(config_file=str(incomplete), config_profile="OTHER").get_variable("a")


def run_airflow(arguments: list[str], home: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process whose environment names the backend."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW__SECRETS__BACKEND": "recdeploy_ops.vault.backends.OciVaultBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(kwargs),
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=home, capture_output=True, text=True, check=False
    )


@pytest.fixture
def kwargs(emulator: RunningEmulator) -> dict[str, Any]:
    return {"vault_id": VAULT, "config_file": emulator.config_file, "service_endpoint": emulator.url}


def test_airflow_finds_connections_and_variables_in_the_vault(
    vault: Any, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    put_secret(vault, NAME, json.dumps(CONNECTION))
    put_secret(vault, "airflow-variables-limit", "12")
    put_secret(vault, "airflow-config-fernet", "xbXF2ZuZJCbkgaPcRDJL6h8pTr1EmVcvVwYlPDbL5dU=")
    script = """
import json, os, sys
from airflow.configuration import conf
assert "oci" not in sys.modules, "the SDK was imported at the start"
from airflow.models import Connection, Variable
from airflow.sdk import Connection as TaskConnection
os.environ["AIRFLOW__CORE__FERNET_KEY_SECRET"] = "fernet"
found = [
    Connection.get_connection_from_secrets("oci_default").password,
    TaskConnection.get("oci_default").extra_dejson["region"],
    Variable.get_variable_from_secrets("limit"),
    conf.get("core", "fernet_key"),
]
print(json.dumps(found))
"""
    done = run_airflow(["-W", "ignore", "-c", script], tmp_path, **kwargs)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [WORD, "eu-frankfurt-1", "12", "xbXF2ZuZJCbkgaPcRDJL6h8pTr1EmVcvVwYlPDbL5dU="]


def test_the_command_of_airflow_shows_a_connection_of_the_vault(
    vault: Any, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    put_secret(vault, NAME, json.dumps(CONNECTION))
    command = ["-m", "airflow", "connections", "get", "oci_default", "--output", "json"]
    done = run_airflow(command, tmp_path, **kwargs)
    assert '"conn_type": "oci"' in done.stdout, done.stderr
    absent = run_airflow([*command[:4], "other"], tmp_path, **kwargs)
    assert absent.returncode == 1
    assert WORD not in f"{absent.stdout}{absent.stderr}{done.stderr}"


def test_airflow_does_not_start_with_wrong_arguments(tmp_path: Path) -> None:
    done = run_airflow(["-m", "airflow", "version"], tmp_path, vault_id="mine")
    assert done.returncode != 0
    assert "'vault_id' is 'mine', must be the OCID of a vault." in done.stderr
