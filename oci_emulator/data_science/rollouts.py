"""Work requests of model deployments, carried out: servers start, take over and stop, and states follow."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oci_emulator.data_science.catalog import DEPLOYMENT
from oci_emulator.data_science.configurations import CONFIGURATION, ENVIRONMENT_PART, MODEL_PART
from oci_emulator.data_science.lifecycles import SERVING, TRANSITIONS
from oci_emulator.data_science.work_requests import KIND as WORK_REQUEST
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.faults import AS_ASKED, OUTCOMES, Outcome
from oci_emulator.serving.proxy import Proxy
from oci_emulator.serving.supervisor import ModelServer, ServerSpec, ServerStartError
from oci_emulator.store import Json, Resource, Store

FAILURE_CODE = "DeploymentFailed"
log = logging.getLogger(__name__)


@dataclass
class Rollouts:
    """Carries out work requests; `artifacts` has the models' files, `folder` gets the unpacked ones."""

    store: Store
    work_requests: WorkRequests
    proxy: Proxy
    artifacts: Path
    folder: Path
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carry_out(self, work_request: str) -> None:
        """Begin with a work request, once the transaction that accepted it is through."""
        self._spawn(lambda: self._run(work_request))

    async def resume(self) -> None:
        """After a start: serve again what was served, and go on with what was in progress."""
        unfinished = {item.private["target"]: item for item in self.work_requests.unfinished()}
        served = []
        for deployment in self.store.all_of(DEPLOYMENT):
            work_request = unfinished.get(deployment.id)
            state = work_request.private["before"] if work_request else deployment.body["lifecycleState"]
            if state in SERVING:
                served.append(self._serve_again(deployment))
        await asyncio.gather(*served)
        for work_request in unfinished.values():
            self.carry_out(work_request.id)

    async def cancel(self) -> None:
        """Stop carrying out anything, and serving anything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.proxy.clear()

    def _spawn(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(job())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, identifier: str) -> None:
        work_request = self.store.find(WORK_REQUEST, identifier)
        if work_request is None:  # the transaction that was to accept it failed
            return
        self.work_requests.start(work_request)
        try:
            await self._change(work_request)
        except ServerStartError as err:
            await _until_due(work_request)
            self._fail(work_request, str(err), err.traceback)
        except Exception as err:  # a mistake in the emulator must not leave the work request open for ever
            log.exception("Work request %s failed", identifier)
            self._fail(work_request, f"The emulator failed: {err!r}", "")

    async def _change(self, work_request: Resource) -> None:
        transition = TRANSITIONS[work_request.private["operation"]]
        deployment = self._deployment(work_request)
        outcome = _outcome(work_request)
        if outcome.fails:
            raise ServerStartError(work_request.private["fault"]["message"])
        server = await self._prepare(deployment, work_request) if outcome.switches_server else None
        if transition.during == "DELETING":
            await self.proxy.remove(deployment.id)
        await _until_due(work_request)
        after = transition.succeeds[work_request.private["before"]]
        if server is not None:
            await self.proxy.switch(deployment.id, server, keep_before=outcome.keeps_old_server)
        elif after not in SERVING:
            await self.proxy.remove(deployment.id)
        self._succeed(work_request, after)

    async def _prepare(self, deployment: Resource, work_request: Resource) -> ModelServer | None:
        """Start the server that the change needs, if it needs one."""
        transition = TRANSITIONS[work_request.private["operation"]]
        if transition.succeeds[work_request.private["before"]] not in SERVING:
            return None
        planned = {**deployment.body, **work_request.private["changes"]}
        if self.proxy.serves(deployment.id) and _served_part(planned) == _served_part(deployment.body):
            return None
        server = await self._start(deployment.id, planned)
        self.work_requests.log(work_request, f"The model is loaded in {server.spec.workers} worker processes.")
        return server

    async def _start(self, deployment: str, body: Json) -> ModelServer:
        configuration = body[CONFIGURATION]
        spec = ServerSpec(
            archive=self.artifacts / configuration[MODEL_PART]["modelId"],
            folder=self.folder / deployment / uuid.uuid4().hex,
            environment=configuration[ENVIRONMENT_PART]["environmentVariables"],
        )
        return await self.proxy.supervisor.start(spec)

    async def _serve_again(self, deployment: Resource) -> None:
        try:
            await self.proxy.switch(deployment.id, await self._start(deployment.id, deployment.body))
        except ServerStartError as err:
            log.warning("Model deployment %s cannot be served again: %s", deployment.id, err)
            if deployment.body["lifecycleState"] in SERVING:
                deployment.body.update(lifecycleState="NEEDS_ATTENTION", lifecycleDetails=str(err))
                self.store.save(deployment)

    def _succeed(self, work_request: Resource, state: str) -> None:
        deployment = self._deployment(work_request)
        changes = work_request.private["changes"] if _outcome(work_request).records_changes else {}
        deployment.body.update(changes, lifecycleState=state)
        deployment.body.pop("lifecycleDetails", None)
        self._settle(deployment)
        with self.store.transaction():
            self.store.save(deployment)
            self.work_requests.succeed(work_request, TRANSITIONS[work_request.private["operation"]].action)

    def _fail(self, work_request: Resource, message: str, traceback: str) -> None:
        deployment = self._deployment(work_request)
        regular = TRANSITIONS[work_request.private["operation"]].fails[work_request.private["before"]]
        state = _outcome(work_request).state_after_failure or regular
        deployment.body.update(lifecycleState=state, lifecycleDetails=message)
        self._settle(deployment)
        with self.store.transaction():
            self.store.save(deployment)
            self.work_requests.fail(work_request, FAILURE_CODE, [text for text in (message, traceback) if text])

    def _settle(self, deployment: Resource) -> None:
        """Note that only the deployment's present model is in use by it."""
        deployment.private["models"] = [deployment.body[CONFIGURATION][MODEL_PART]["modelId"]]

    def _deployment(self, work_request: Resource) -> Resource:
        deployment = self.store.find(DEPLOYMENT, work_request.private["target"])
        if deployment is None:
            raise LookupError(f"Work request {work_request.id} is about an unknown model deployment.")
        return deployment


def _outcome(work_request: Resource) -> Outcome:
    """Return the outcome that was ordered for the change; it is stored, so that a restart does not undo it."""
    fault = work_request.private["fault"]
    return OUTCOMES[fault["kind"]] if fault else AS_ASKED


def _served_part(body: Json) -> tuple[str, Json]:
    """Return what a server depends on: the model and the environment."""
    configuration = body[CONFIGURATION]
    return configuration[MODEL_PART]["modelId"], configuration[ENVIRONMENT_PART]


async def _until_due(work_request: Resource) -> None:
    await asyncio.sleep(max(0.0, work_request.private["due"] - time.time()))
