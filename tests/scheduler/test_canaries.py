"""Nothing secret is left by a release under Airflow: logs, database, storage, OCI, and what its tasks start."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import oci
import psutil
import pytest
from canaries import Canaries, environment_of
from cryptography.hazmat.primitives import serialization
from services import started
from vaults import put_secret

from demo import services
from oci_emulator.credentials import VAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from services import Installation

PASS_PHRASE = "canary-Pass-Phrase-7f3a91"
PASSWORD = "canary-Database-Password-b20c55"
CHILDREN = ("run_operator.py", "run_gate_models.py", " -I -S ", "git -C")
# Where the secrets themselves are stored, or begin: relative to the demo's folder.
PLANTED = ("oci/credentials", "airflow/jwt_secret", "airflow/passwords.json", "airflow/airflow.cfg", "run")


def encrypted(pem: bytes) -> str:
    key = serialization.load_pem_private_key(pem, None)
    encryption = serialization.BestAvailableEncryption(PASS_PHRASE.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Canaries]:
    """Move the connection to OCI into its vault, with its key, and plant a database's password."""
    planted: dict[str, Canaries] = {}
    original = services.airflow_environment

    def with_canaries(home: Any, *, port: int, oci: Mapping[str, str]) -> dict[str, str]:
        environment = original(home, port=port, oci=oci)
        if "key_file" not in oci:  # the emulator's own environment
            return environment
        folder = home.emulator / "credentials"
        pem = (folder / "key.pem").read_bytes()
        content = encrypted(pem)
        extra = {**oci, "key_content": content, "pass_phrase": PASS_PHRASE, "key_file": None}
        secret = json.dumps({"conn_type": "oci", "extra": extra})
        put_secret(vaults(folder, oci), "airflow-connections-oci_default", secret)
        del environment["AIRFLOW_CONN_OCI_DEFAULT"]
        environment["AIRFLOW__SECRETS__BACKEND"] = "recdeploy_ops.vault.backends.OciVaultBackend"
        endpoint = oci["service_endpoint"]
        backend = {"vault_id": VAULT, "config_file": str(folder / "config"), "service_endpoint": endpoint}
        environment["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps(backend)
        # Beside the shop's own: SQLite takes no password.
        other = {"conn_type": "oracle", "login": "ADMIN", "password": PASSWORD}
        environment["AIRFLOW_CONN_OTHER_DB"] = json.dumps(other)
        token, jwt = (folder / "token").read_text(), environment["AIRFLOW__API_AUTH__JWT_SECRET"]
        planted["anywhere"] = Canaries.of(key=pem.decode(), password=PASSWORD, token=token, jwt=jwt)
        planted["outside the vault"] = Canaries.of(encrypted_key=content, pass_phrase=PASS_PHRASE)
        return environment

    monkeypatch.setattr(services, "airflow_environment", with_canaries)
    return planted


def vaults(folder: Path, extra: Mapping[str, str]) -> Any:
    config = oci.config.from_file(str(folder / "config"))
    return oci.vault.VaultsClient(config, service_endpoint=extra["service_endpoint"])


@contextmanager
def watched_children(installation: Installation) -> Iterator[dict[str, bytes]]:
    """Read the environments of the programs that tasks start, by their command lines, while the block lasts."""
    seen: dict[str, bytes] = {}
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.05):
            for process in installation.airflow_processes():
                try:
                    command = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if any(part in command for part in CHILDREN) and (environment := environment_of(process.pid)):
                    seen[command] = environment

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stopped.set()
        thread.join()


@pytest.mark.more
def test_a_whole_release_under_airflow_leaves_no_secret_anywhere(canaries: dict[str, Canaries], tmp_path: Path) -> None:
    with started(tmp_path) as installation:
        with watched_children(installation) as children:
            run_id = installation.trigger("canaries")
            outcome = installation.follow(run_id, "promote", "ship it")
        assert outcome.state == "success", outcome

    assert any("run_operator.py" in command for command in children)
    left_out = [tmp_path / name for name in PLANTED]
    vault = [path for path in (tmp_path / "oci").iterdir() if path.is_file()]  # its database, and what it appends
    for name, without in (("anywhere", left_out), ("outside the vault", [*left_out, *vault])):
        leaking = {command for command, environment in children.items() if canaries[name].found_in(environment)}
        assert leaking == set()
        assert canaries[name].found_below(tmp_path, without=without) == {}
    logs = [path.read_text(errors="replace") for path in (tmp_path / "logs" / "tasks").rglob("*.log")]
    assert any("is in production" in text for text in logs)
