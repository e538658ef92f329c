"""Secrets that a test plants in an installation, where they may be, and what the programs of its tasks could read."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import oci
from airflow_processes import title_of
from canaries import PASS_PHRASE, PASSWORD, Canaries, encrypted, environment_of
from vaults import put_secret

from demo import services
from oci_emulator.credentials import VAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pytest
    from services import Installation

CHILDREN = ("run_operator.py", "run_gate_models.py", " -I -S ", "git -C")
# Where the secrets themselves are stored, or begin: relative to the demo's folder.
PLANTED = ("oci/credentials", "airflow/jwt_secret", "airflow/passwords.json", "airflow/airflow.cfg", "run")


@dataclass
class PlantedSecrets:
    """Secrets of an installation.

    Attributes:
        anywhere: those that may be found nowhere but in `PLANTED`.
        outside_vault: those that the vault may hold as well.
        children: environments of the programs that tasks started, by their command lines.
    """

    anywhere: Canaries | None = None
    outside_vault: Canaries | None = None
    children: dict[str, bytes] = field(default_factory=dict)

    def leaks(self, folder: Path) -> list[tuple[str, set[str]]]:
        """Return what holds secrets, and their names: files below the demo's folder, and command lines."""
        left_out = [folder / name for name in PLANTED]
        vault = [path for path in (folder / "oci").iterdir() if path.is_file()]  # its database, and what it appends
        return [
            *self._found(self.anywhere, folder, left_out),
            *self._found(self.outside_vault, folder, [*left_out, *vault]),
        ]

    def _found(self, canaries: Canaries | None, folder: Path, left_out: Iterable[Path]) -> list[tuple[str, set[str]]]:
        assert canaries is not None, "no installation was started"
        found = [(command, canaries.found_in(environment)) for command, environment in self.children.items()]
        found += canaries.found_below(folder, without=left_out).items()
        return [(where, names) for where, names in found if names]

    @contextmanager
    def watching(self, installation: Installation) -> Iterator[None]:
        """Read the environments of the programs that tasks start while the block lasts."""
        stopped = threading.Event()

        def watch() -> None:
            while not stopped.wait(0.05):
                for process in installation.processes.all():
                    command = title_of(process)
                    if any(part in command for part in CHILDREN) and (environment := environment_of(process.pid)):
                        self.children[command] = environment

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def plant_secrets(monkeypatch: pytest.MonkeyPatch) -> PlantedSecrets:
    """Let the next installation read its connection to OCI, with its key, from the vault; add a database's password."""
    planted = PlantedSecrets()
    original = services.airflow_environment

    def with_secrets(home: Any, *, port: int, oci: Mapping[str, str]) -> dict[str, str]:
        environment = original(home, port=port, oci=oci)
        if "key_file" not in oci:  # the emulator's own environment
            return environment
        folder = home.emulator / "credentials"
        pem = (folder / "key.pem").read_bytes()
        content = encrypted(pem)
        extra = {**oci, "key_content": content, "pass_phrase": PASS_PHRASE, "key_file": None}
        secret = json.dumps({"conn_type": "oci", "extra": extra})
        put_secret(_vaults(folder, oci), "airflow-connections-oci_default", secret)
        del environment["AIRFLOW_CONN_OCI_DEFAULT"]
        environment["AIRFLOW__SECRETS__BACKEND"] = "recdeploy_ops.vault.backends.OciVaultBackend"
        endpoint = oci["service_endpoint"]
        backend = {"vault_id": VAULT, "config_file": str(folder / "config"), "service_endpoint": endpoint}
        environment["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps(backend)
        # Beside the shop's own: SQLite takes no password.
        other = {"conn_type": "oracle", "login": "ADMIN", "password": PASSWORD}
        environment["AIRFLOW_CONN_OTHER_DB"] = json.dumps(other)
        token, jwt = (folder / "token").read_text(), environment["AIRFLOW__API_AUTH__JWT_SECRET"]
        planted.anywhere = Canaries.of(key=pem.decode(), password=PASSWORD, token=token, jwt=jwt)
        planted.outside_vault = Canaries.of(encrypted_key=content, pass_phrase=PASS_PHRASE)
        return environment

    monkeypatch.setattr(services, "airflow_environment", with_secrets)
    return planted


def _vaults(folder: Path, extra: Mapping[str, str]) -> Any:
    config = oci.config.from_file(str(folder / "config"))
    return oci.vault.VaultsClient(config, service_endpoint=extra["service_endpoint"])
