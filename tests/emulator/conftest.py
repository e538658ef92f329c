from collections.abc import Iterator
from typing import Any

import pytest

from oci_emulator.testing import RunningEmulator, running_emulator
from tests.emulator.clouds import Cloud


@pytest.fixture(scope="session")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: RunningEmulator) -> RunningEmulator:
    """A running emulator without any state, and with quick transitions."""
    shared_emulator.reset()
    shared_emulator.set_timings(create=0, update=0, delete=0, activate=0, deactivate=0)
    return shared_emulator


@pytest.fixture(scope="session")
def clients() -> dict[Any, Any]:
    return {}


@pytest.fixture
def cloud(emulator: RunningEmulator, clients: dict[Any, Any]) -> Cloud:
    return Cloud(emulator, clients)
