"""The connections of docker-compose's profile emulator, and a user's own, which they must not replace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from demo import connections
from oci_emulator.testing import running_emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN = {"oci_default": {"conn_type": "oci", "extra": {"auth": "instance_principal"}}}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The emulator's ready file."""
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(folder) as emulator:
        file = folder / "ready.json"
        fields = {name: str(getattr(emulator, name)) for name in ("url", "config_file", "compartment_id", "token")}
        file.write_text(json.dumps(fields), encoding="utf-8")
        yield file


@pytest.fixture
def write(ready: Path, tmp_path: Path) -> Callable[[], int]:
    given = ["--ready-file", str(ready), "--store", str(tmp_path / "store.db")]
    return lambda: connections.main([*given, "--output", str(tmp_path / "connections.json")])


def test_connections_are_replaced_and_readable_by_their_owner_only(write: Callable[[], int], tmp_path: Path) -> None:
    file = tmp_path / "connections.json"

    assert write() == 0
    first: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(file.read_text(encoding="utf-8").replace(str(tmp_path), "/elsewhere"), encoding="utf-8")
    assert write() == 0

    assert json.loads(file.read_text(encoding="utf-8")) == first
    assert {name: connection["conn_type"] for name, connection in first.items()} == {
        "oci_default": "oci",
        "recommender_db": "sqlite",
    }
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(OWN),
        json.dumps({**OWN, "recommender_db": {"conn_type": "sqlite", "description": connections.MARK}}),
        json.dumps({"oci_default": "oci://ann@"}),
        "[]",
        "oci_default: {conn_type: oci}",
        "",
    ],
)
def test_a_users_own_file_is_not_changed(
    content: str, write: Callable[[], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "connections.json"
    file.write_text(content, encoding="utf-8")

    assert write() == 1

    assert file.read_text(encoding="utf-8") == content
    message = capsys.readouterr().err
    assert str(file) in message
    assert "RECDEPLOY_CONNECTIONS" in message
    assert not (tmp_path / "store.db").exists()
