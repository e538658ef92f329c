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
from oci_emulator.faults import AS_ASKED, OUTCOMES, Faults, Outcome
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
    faults: Faults
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carry_out(self, work_request: str) -> None:
        """Begin with a work request, once the transaction that accepted it is through."""
        self._spawn(lambda: self._run(work_request))

    async def resume(self) -> None:
        """After a start: serve again what was served, and go on with what was in progress."""
        await asyncio.gather(*(self._serve_again(deployment) for deployment in self.store.all_of(DEPLOYMENT)))
        for work_request in self.work_requests.unfinished():
            self.carry_out(work_request.id)

    async def until_idle(self) -> None:
        """Wait until every work request has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

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
        outcome = _outcome(work_request)
        if outcome.waits:
            await self.faults.until_cleared(work_request.private["fault"]["id"])
        if outcome.switches:
            await self._switch(work_request, outcome)
        if outcome.fails:
            raise ServerStartError(work_request.private["fault"]["message"])
        await _until_due(work_request)
        self._succeed(work_request, outcome)

    async def _switch(self, work_request: Resource, outcome: Outcome) -> None:
        """Make the servers what the change asks for: none, the same, or new ones."""
        deployment = self._deployment(work_request)
        transition = TRANSITIONS[work_request.private["operation"]]
        if transition.succeeds[work_request.private["before"]] not in SERVING:
            if transition.during != "DELETING":
                await _until_due(work_request)
            await self.proxy.remove(deployment.id)
            self._keep_served(deployment.id, None)
            return
        planned = {**deployment.body, **work_request.private["changes"]}
        before, after = self._served(deployment.id), {"now": _served_part(planned)}
        if before == after:
            return
        server = await self._start(deployment.id, after["now"])
        self.work_requests.log(work_request, f"The model is loaded in {server.spec.workers} worker processes.")
        await _until_due(work_request)
        stale = self.proxy.server_of(deployment.id) if outcome.leaves_stale else None
        probability = work_request.private["fault"]["probability"] if outcome.random else None
        kept = {"stale": before["now"], "probability": probability} if before and stale else {}
        self._keep_served(deployment.id, after | kept)
        await self.proxy.switch(deployment.id, server, stale=stale, probability=probability)

    async def _start(self, deployment: str, part: Json) -> ModelServer:
        spec = ServerSpec(
            archive=self.artifacts / part["modelId"],
            folder=self.folder / deployment / uuid.uuid4().hex,
            environment=part["environmentVariables"],
        )
        return await self.proxy.supervisor.start(spec)

    async def _serve_again(self, deployment: Resource) -> None:
        served = self._served(deployment.id)
        if served is None:
            return
        try:
            server = await self._start(deployment.id, served["now"])
            stale = await self._start(deployment.id, served["stale"]) if "stale" in served else None
            await self.proxy.switch(deployment.id, server, stale=stale, probability=served.get("probability"))
        except ServerStartError as err:
            log.warning("Model deployment %s cannot be served again: %s", deployment.id, err)
            if deployment.body["lifecycleState"] in SERVING:
                deployment.body.update(lifecycleState="NEEDS_ATTENTION", lifecycleDetails=str(err))
                self.store.save(deployment)

    def _served(self, deployment: str) -> Json | None:
        """Return what is served: not always what the deployment says, for an ordered fault can part them."""
        served: Json | None = self.store.setting(f"served/{deployment}")
        return served

    def _keep_served(self, deployment: str, served: Json | None) -> None:
        self.store.keep_setting(f"served/{deployment}", served)

    def _succeed(self, work_request: Resource, outcome: Outcome) -> None:
        deployment = self._deployment(work_request)
        transition, before = TRANSITIONS[work_request.private["operation"]], work_request.private["before"]
        if outcome.records:
            deployment.body.update(work_request.private["changes"])
        deployment.body["lifecycleState"] = transition.succeeds[before] if outcome.records else before
        deployment.body.pop("lifecycleDetails", None)
        if outcome.invents_state:
            deployment.private["invented_state"] = work_request.private["fault"]["state"]
        self._settle(deployment)
        with self.store.transaction():
            self.store.save(deployment)
            self.work_requests.succeed(work_request, transition.action)

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


def _served_part(body: Json) -> Json:
    """Return what a server depends on: the model and the environment."""
    configuration = body[CONFIGURATION]
    return {
        "modelId": configuration[MODEL_PART]["modelId"],
        "environmentVariables": configuration[ENVIRONMENT_PART]["environmentVariables"],
    }


async def _until_due(work_request: Resource) -> None:
    await asyncio.sleep(max(0.0, work_request.private["due"] - time.time()))
