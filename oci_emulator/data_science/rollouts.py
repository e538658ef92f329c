"""Carries out the work requests of model deployments: starts, switches and stops servers, and updates states."""

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from oci_emulator.data_science.catalog import DEPLOYMENT
from oci_emulator.data_science.configurations import CONFIGURATION, ENVIRONMENT_PART, MODEL_PART
from oci_emulator.data_science.lifecycles import SERVING, TRANSITIONS
from oci_emulator.data_science.work_requests import KIND as WORK_REQUEST
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.faults import AS_REQUESTED, OUTCOMES, Faults, Outcome
from oci_emulator.serving.proxy import Proxy
from oci_emulator.serving.supervisor import ModelServer, ServerSpec, ServerStartError
from oci_emulator.store import Json, Resource, Store

FAILURE_CODE = "DeploymentFailed"
log = logging.getLogger(__name__)


@dataclass
class Rollouts:
    """Carries out work requests; artifacts are read from `artifacts` and unpacked into `folder`."""

    store: Store
    work_requests: WorkRequests
    proxy: Proxy
    artifacts: Path
    folder: Path
    faults: Faults
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carry_out(self, work_request: str) -> None:
        """Start to carry out a work request after its transaction is committed."""
        task = asyncio.create_task(self._run(work_request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def resume(self) -> None:
        """After a restart: serve the deployments again, and continue the unfinished work requests."""
        await asyncio.gather(*(self._serve_again(deployment) for deployment in self.store.all_of(DEPLOYMENT)))
        for work_request in self.work_requests.unfinished():
            self.carry_out(work_request.id)

    async def until_idle(self) -> None:
        """Wait until every work request has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel all work requests, and stop all servers."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.proxy.clear()

    async def _run(self, identifier: str) -> None:
        work_request = self.store.find(WORK_REQUEST, identifier)
        if work_request is None:  # its transaction was rolled back
            return
        self.work_requests.start(work_request)
        try:
            await self._change(work_request)
        except ServerStartError as err:
            await _until_due(work_request)
            self._fail(work_request, str(err), err.traceback)
        except Exception as err:  # a mistake in the emulator must not leave the work request open forever
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
        """Start, keep or stop the servers as the change requires."""
        deployment = self._deployment(work_request)
        transition = TRANSITIONS[work_request.private["operation"]]
        if transition.succeeds[work_request.private["before"]] not in SERVING:
            if transition.during != "DELETING":
                await _until_due(work_request)
            await self.proxy.remove(deployment.id)
            self._save_served(deployment.id, None)
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
        replica = {"stale": before["now"], "probability": probability} if before and stale else {}
        self._save_served(deployment.id, after | replica)
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
        """Return what is served: a fault can make it differ from the deployment's configuration."""
        served: Json | None = self.store.setting(f"served/{deployment}")
        return served

    def _save_served(self, deployment: str, served: Json | None) -> None:
        self.store.save_setting(f"served/{deployment}", served)

    def _succeed(self, work_request: Resource, outcome: Outcome) -> None:
        deployment = self._deployment(work_request)
        transition, before = TRANSITIONS[work_request.private["operation"]], work_request.private["before"]
        if outcome.records:
            deployment.body.update(work_request.private["changes"])
        deployment.body["lifecycleState"] = transition.succeeds[before] if outcome.records else before
        deployment.body.pop("lifecycleDetails", None)
        if outcome.invents_state:
            deployment.private["invented_state"] = work_request.private["fault"]["state"]
        self._release_other_models(deployment)
        with self.store.transaction():
            self.store.save(deployment)
            self.work_requests.succeed(work_request, transition.action)

    def _fail(self, work_request: Resource, message: str, traceback: str) -> None:
        deployment = self._deployment(work_request)
        regular = TRANSITIONS[work_request.private["operation"]].fails[work_request.private["before"]]
        state = _outcome(work_request).state_after_failure or regular
        deployment.body.update(lifecycleState=state, lifecycleDetails=message)
        self._release_other_models(deployment)
        with self.store.transaction():
            self.store.save(deployment)
            self.work_requests.fail(work_request, FAILURE_CODE, [text for text in (message, traceback) if text])

    def _release_other_models(self, deployment: Resource) -> None:
        """Record that the deployment uses only its present model."""
        deployment.private["models"] = [deployment.body[CONFIGURATION][MODEL_PART]["modelId"]]

    def _deployment(self, work_request: Resource) -> Resource:
        deployment = self.store.find(DEPLOYMENT, work_request.private["target"])
        if deployment is None:
            raise LookupError(f"Work request {work_request.id} has an unknown model deployment.")
        return deployment


def _outcome(work_request: Resource) -> Outcome:
    """Return the outcome ordered for the change; it is stored and survives a restart."""
    fault = work_request.private["fault"]
    return OUTCOMES[fault["kind"]] if fault else AS_REQUESTED


def _served_part(body: Json) -> Json:
    """Return the parts of the configuration that determine a server: model and environment."""
    configuration = body[CONFIGURATION]
    return {
        "modelId": configuration[MODEL_PART]["modelId"],
        "environmentVariables": configuration[ENVIRONMENT_PART]["environmentVariables"],
    }


async def _until_due(work_request: Resource) -> None:
    await asyncio.sleep(max(0.0, work_request.private["due"] - time.time()))
