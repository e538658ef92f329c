"""The trigger that waits without a worker: its stored arguments, when it fires, and which errors it survives."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, SettingsError
from recdeploy_ops.triggers import deployments
from recdeploy_ops.triggers.deployments import WorkRequestFinishedTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable

ARGUMENTS = {"deployment_id": "ocid1.x", "deadline": "2026-11-23T01:02:03+00:00", "poll_seconds": 0.001}
ARGUMENTS |= {"settings_name": "basket"}
LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The deployments that the trigger looked at; `answer` sets the answers to its looks."""
    seen: list[str] = []
    monkeypatch.setattr(deployments, "FIRST_LOOK_SECONDS", 0)
    monkeypatch.setattr(deployments, "ReleasesHook", lambda name: SimpleNamespace(session=f"the session of {name}"))
    monkeypatch.setattr(deployments, "ModelDeployments", lambda session: f"the deployments of {session}")
    return seen


def answer(monkeypatch: pytest.MonkeyPatch, looks: list[str], answers: Iterable[bool | Exception]) -> None:
    remaining = iter(answers)

    def look(deployments: object, deployment_id: str) -> bool:
        looks.append(deployment_id)
        found = next(remaining)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(deployments, "is_finished", look)


async def events(deadline: str = LATER) -> list[dict[str, Any]]:
    trigger = WorkRequestFinishedTrigger(**{**ARGUMENTS, "deadline": deadline})
    return [event.payload async for event in trigger.run()]


def test_its_arguments_survive_the_database() -> None:
    path, arguments = WorkRequestFinishedTrigger(**ARGUMENTS).serialize()

    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))

    assert type(again) is WorkRequestFinishedTrigger
    assert again.serialize() == (path, ARGUMENTS)


def test_it_gives_the_worker_time_to_park_the_task() -> None:
    assert deployments.FIRST_LOOK_SECONDS >= 5


LOOKS = {
    "once OCI has finished": [False, False, True],
    "though a look fails for a moment": [CloudUnavailableError("429"), True],
    "after a refusal, which the step reports": [CloudRefusedError("404", status=404, code="NotAuthorizedOrNotFound")],
}


@pytest.mark.parametrize("answers", LOOKS.values(), ids=LOOKS)
async def test_it_fires(monkeypatch: pytest.MonkeyPatch, looks: list[str], answers: list[bool | Exception]) -> None:
    answer(monkeypatch, looks, answers)

    assert await events() == [{"deployment_id": "ocid1.x"}]
    assert looks == ["ocid1.x"] * len(answers)


async def test_it_fires_at_its_deadline_which_the_step_judges(
    monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    answer(monkeypatch, looks, [])

    assert await events(deadline=datetime.now(UTC).isoformat()) == [{"deployment_id": "ocid1.x"}]
    assert looks == []


async def test_without_a_deployment_it_fires_at_the_moment_and_never_asks_oci(
    monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(deployments.asyncio, "sleep", sleep)
    moment = datetime.now(UTC) + timedelta(hours=1)
    trigger = WorkRequestFinishedTrigger(**{**ARGUMENTS, "deployment_id": None, "deadline": moment.isoformat()})

    assert [event.payload async for event in trigger.run()] == [{"deployment_id": None}]
    assert looks == []
    left = (moment - datetime.now(UTC)).total_seconds()
    assert left <= slept[-1] <= 3600


async def test_it_fires_without_a_connection_which_the_step_reports(
    monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    def connect(name: str) -> None:
        raise SettingsError("The connection 'oci_default' is not there.")

    monkeypatch.setattr(deployments, "ReleasesHook", connect)

    assert await events() == [{"deployment_id": "ocid1.x"}]
    assert looks == []
