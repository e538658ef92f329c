"""Wait for a model deployment without occupying a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from recdeploy_ops.domain.errors import RecdeployError, TransientError
from recdeploy_ops.domain.waiting import poll_intervals
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.oci_clients.deployments import ModelDeployments
from recdeploy_ops.rollout.waits import is_finished
from recdeploy_ops.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# Airflow 3.3.2 fails a task whose trigger fires while its worker is still deferring it.
FIRST_LOOK_SECONDS = 5.0


class WorkRequestFinishedTrigger(BaseTrigger):
    """Fires when OCI has finished all changes of a deployment, or the deadline has passed.

    Without a deployment it fires at the deadline.

    The event has no verdict: the resumed step reads the deployment's state itself.

    Args:
        deployment_id: OCID of the model deployment; None to wait for the deadline alone.
        deadline: ISO 8601, UTC.
        poll_seconds: longest pause between two looks; the first pauses are shorter.
        settings_name: name of the settings file with the connection to OCI, for `find_settings`.
    """

    def __init__(
        self, *, deployment_id: str | None, deadline: str, poll_seconds: float, settings_name: str = DEFAULT_NAME
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow does not annotate it
        self.deployment_id = deployment_id
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self.settings_name = settings_name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "recdeploy_ops.triggers.deployments.WorkRequestFinishedTrigger",
            {
                "deployment_id": self.deployment_id,
                "deadline": self.deadline,
                "poll_seconds": self.poll_seconds,
                "settings_name": self.settings_name,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until OCI has finished."""
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        try:
            if self.deployment_id is None:
                await self._wait()
            else:
                await self._watch(self.deployment_id)
        except RecdeployError as err:  # the step decides what it means for the release
            self.log.warning("Leaving the check to the step: %s", err)
        yield TriggerEvent({"deployment_id": self.deployment_id})

    async def _wait(self) -> None:
        """Return once the deadline has passed."""
        left = datetime.fromisoformat(self.deadline) - datetime.now(UTC)
        await asyncio.sleep(max(left.total_seconds(), 0))

    async def _watch(self, deployment_id: str) -> None:
        """Return once OCI has finished, or the deadline has passed."""
        deployments = await asyncio.to_thread(lambda: ModelDeployments(ReleasesHook(self.settings_name).session))
        deadline = datetime.fromisoformat(self.deadline)
        for seconds in poll_intervals(self.poll_seconds):
            if datetime.now(UTC) >= deadline:
                return
            try:
                if await asyncio.to_thread(is_finished, deployments, deployment_id):
                    return
            except TransientError as err:
                self.log.warning("Looking again in %.1f s: %s", seconds, err)
            await asyncio.sleep(seconds)
