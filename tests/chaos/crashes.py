"""Crash a release at any call to OCI, let it be tried again, and compare the result with an undisturbed release.

Run as a program it is one worker of `test_crash_matrix`: it has an emulator of its own, takes every WORKERS-th case
and writes JSON lines: first the recorded calls, then one line for each case.

A try is a child process, as in Airflow: it is forked with everything imported, so that it starts quickly.
"""

import argparse
import itertools
import json
import logging
import os
import pickle
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oci
import oci.retry.retry
import yaml
from chaos.disks import PREFIX, Disk
from chaos.scenarios import (
    BACK,
    BACK_FROM_TERMINAL,
    BAKE,
    BAKE_BACK,
    BETWEEN,
    CRASHES,
    FIRST,
    FIRST_WITHOUT_TEST,
    HOUSEKEEPING,
    PROMOTION,
    REJECTION,
    SCENARIOS,
    SWITCH_OF_PROMOTIONS,
    TAKE,
    Case,
    Crash,
    Scenario,
)
from neighbours import OURS, add_neighbours
from steps.bakes import serve_secretly
from steps.factories import USERS, Run, create_bucket, create_project, extra_of

from oci_emulator.testing import RunningEmulator, running_emulator
from recdeploy_ops.context import ReleaseContext, open_context
from recdeploy_ops.domain import baking as bakes
from recdeploy_ops.domain.errors import RecdeployError, TransientError
from recdeploy_ops.domain.events import ReleaseClosed, ReleaseOutcome
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients import sessions
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.oci_clients.tags import (
    DIGEST_TAG,
    LEASE_TAG,
    LEDGER_TAG,
    PROJECT_TAG,
    ROLE_TAG,
    SERVED_TAG,
    VERSION_TAG,
)
from recdeploy_ops.rollbacks import terminal
from recdeploy_ops.rollout import waits
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.settings import Settings, load_settings
from recdeploy_ops.storage.roots import open_store

INCLUDE = Path(__file__).parents[2] / "include"
TRIES = 6  # the first, and five more
CHILD_SECONDS = 300  # the last resort: a try takes a second, and many where the machine is busy
CLIENT_SECONDS = 0.4  # a client's patience at the call that is slow
PATIENT_SECONDS = 10
LEAST_PROBES = 6  # that count, in place of 200
FIGURE = re.compile(r"\b\d+ of \d+\b|\b\d+\.\d+%")


@dataclass(frozen=True)
class Outcome:
    """How a child ended: `done`, `again` when a retry may help, `final` when not."""

    how: str
    why: str = ""


@dataclass
class Worker:
    """An emulator with every scenario's start, and the tries of the steps."""

    emulator: RunningEmulator
    folder: Path
    recorded: dict[str, list[list[str]]] = field(default_factory=dict)
    expected: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # after each step
    before: dict[str, list[str]] = field(default_factory=dict)  # deployments at the start

    @cached_property
    def profile(self) -> OciProfile:
        """Return the profile of a project of the emulator."""
        project_id = create_project(self.emulator)
        add_neighbours(self.emulator, project_id)
        profile = OciProfile.from_fields(extra_of(self.emulator, project_id), source="the test")
        create_bucket(self.emulator, OciSession(profile))
        return profile

    @cached_property
    def settings(self) -> Settings:
        """Return settings with storage in the emulator and few probes."""
        values = yaml.safe_load((INCLUDE / "recommender.yaml").read_text())
        values["storage"] = f"oci://shop@{self.emulator.namespace}/{PREFIX}"
        values["release"] |= {"poll_seconds": 0.02, "bake_minutes": 0}
        values["probes"] |= {"known_users": 6, "unknown_users": 2, "malformed_requests": 2, "latency_requests": 2}
        values["probes"] |= {"consecutive_answers": 2, "repeat_seconds": 0.01}
        values["retention"] |= {"versions": 1, "days": 0, "customer_days": 0}
        values["source"]["sql_folder"] = str(INCLUDE / "sql")
        path = self.folder / "recommender.yaml"
        path.write_text(yaml.safe_dump(values))
        return load_settings(path)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return the parsed key: parsing takes longer than ten calls."""
        return OciSession(self.profile)._identity

    def session(self) -> OciSession:
        """Return a session with connections of its own."""
        session = OciSession(self.profile)
        session.__dict__["_identity"] = self.identity
        return session

    def context(self, run_id: str = "none") -> ReleaseContext:
        """Return what the steps of a run work with, opened from nothing."""
        session = self.session()
        return open_context(self.settings, open_store(self.settings.storage, session), session, run_id)

    def record(self) -> None:
        """Bring every scenario to its start, take its steps undisturbed, and keep their calls and their results."""
        self.emulator.set_timings(create=0, update=0, delete=0)
        bakes.LEAST_REQUESTS = LEAST_PROBES
        context = self.context()
        self.emulator.snapshot("empty")
        first = Run(context, "run-1", self.folder, skip_test_deployment=True)
        first.validate()
        first.answer(Decision.PROMOTE)
        self._record(FIRST_WITHOUT_TEST)
        self.emulator.restore("empty")
        self._record(FIRST)
        second = Run(self.context(), "run-2", self.folder, shift=1, ocpus=2, memory_gb=32)
        second.validate()
        second.ask()
        self.emulator.snapshot("asked")
        second.record_answer(Decision.REJECT)
        self._record(REJECTION)
        self.emulator.restore("asked")
        Run(self.context(), "run-2", self.folder).record_answer(Decision.PROMOTE)
        self.emulator.snapshot("promotable")
        self._record(PROMOTION)
        if "run-2: resized" not in self.expected[PROMOTION.name][-1]["events"]:
            raise AssertionError("The promotion with a new size did not resize production.")
        self.emulator.snapshot("promoted")
        self.emulator.restore("promotable")
        Run(self.context("run-2"), "run-2", self.folder, ocpus=2, memory_gb=32).promote()
        self.emulator.wait_until_idle()
        self.emulator.snapshot("to-bake")
        self._record(BAKE)
        self.emulator.restore("to-bake")
        serve_secretly(self.context(), self.emulator, 1)
        self._record(BAKE_BACK)
        self.emulator.restore("promoted")
        self._record(BACK)
        self._record(BACK_FROM_TERMINAL)
        if len(self.expected[BACK_FROM_TERMINAL.name][-1]["state"]["freezes"]) != len((BACK, BACK_FROM_TERMINAL)):
            raise AssertionError("The rollbacks do not hold promotions.")
        self._record(SWITCH_OF_PROMOTIONS)
        self.emulator.restore("asked")
        self._leave_a_test_deployment()
        self._record(HOUSEKEEPING)

    def _leave_a_test_deployment(self) -> None:
        """Release v2 and v3, and let v4 end as if its teardown had not deleted its test deployment."""
        second = Run(self.context(), "run-2", self.folder)
        second.record_answer(Decision.PROMOTE)
        second.promote()
        second.close()
        Run(self.context(), "run-3", self.folder, shift=2).release_fully()
        fourth = Run(self.context(), "run-4", self.folder, shift=3)
        fourth.validate()
        fourth.context.record(ReleaseClosed(ReleaseOutcome.FAILED, 4, None, None))

    def _record(self, scenario: Scenario) -> None:
        calls = self.recorded[scenario.name] = []
        expected = self.expected[scenario.name] = []
        self.before[scenario.name] = [found.deployment_id for found in self.context().deployments.all()]
        for number, step in enumerate(scenario.steps):
            self.emulator.snapshot(_start(scenario, number))
            self.emulator.clear_calls()
            outcome = self.attempt(scenario, step)
            if outcome.how != "done":
                raise AssertionError(f"{scenario.name}, {step}, undisturbed: {outcome}")
            recorded = [] if step in BETWEEN else self.emulator.calls()
            calls.append([str(call["operation"]) for call in recorded])
            self.emulator.wait_until_idle()
            expected.append(self.look(scenario))
        if wrong := broken_rules(expected[-1], scenario):
            raise AssertionError(f"{scenario.name}, undisturbed: {wrong}")

    def cases(self) -> Iterator[Case]:
        """Yield every crash at every recorded call."""
        for scenario in SCENARIOS:
            for number, calls in enumerate(self.recorded[scenario.name]):
                crashes = scenario.crashes or CRASHES
                for (nth, operation), crash in itertools.product(enumerate(calls, start=1), crashes):
                    yield Case(scenario.name, number, nth, operation, crash)

    def run(self, case: Case) -> str:
        """Crash, try again until it is done, and return what is wrong then: an empty text when nothing is.

        Where a step has the same result as the undisturbed one, the steps after it are not repeated.
        """
        scenario = next(scenario for scenario in SCENARIOS if scenario.name == case.scenario)
        crash = replace(CRASHES[case.crash], nth=case.nth)
        self.emulator.restore(_start(scenario, case.step))
        self.emulator.fail_at(case.nth, crash.kind, **crash.details)
        found: dict[str, Any] = {}
        for number in range(case.step, len(scenario.steps)):
            first = number == case.step
            if failure := self._try_until_done(scenario, scenario.steps[number], crash if first else None):
                return failure
            self._wait_for_answers()
            if first and (failure := self._find_miss(case)):
                return failure
            self.emulator.wait_until_idle()
            found = self.look(scenario)
            if found == self.expected[scenario.name][number]:
                return ""
        wrong = broken_rules(found, scenario)
        for what, value in self.expected[scenario.name][-1].items():
            if found[what] != value:
                wrong.append(f"{what}: {found[what]!r} instead of {value!r}")
        return "; ".join(wrong)

    def _find_miss(self, case: Case) -> str:
        """Return an empty text when the fault met the recorded call, else what it met."""
        calls = [str(call["operation"]) for call in self.emulator.calls()]
        if self.emulator.faults():
            return f"the fault was never met: of {case.nth} calls, {len(calls)} came, the last {calls[-3:]}"
        met = calls[case.nth - 1]
        return "" if met == case.operation else f"the fault met {met}, recorded is {case.operation}"

    def _try_until_done(self, scenario: Scenario, step: str, crash: Crash | None) -> str:
        outcome = Outcome("never tried")
        for _ in range(TRIES):
            outcome = self.attempt(scenario, step, crash)
            if outcome.how == "done":
                return ""
            if outcome.how == "final":
                return f"{step} ended for good: {outcome.why}"
            crash = None
        return f"{step} did not succeed in {TRIES} tries: {outcome.why}"

    def attempt(self, scenario: Scenario, step: str, crash: Crash | None = None) -> Outcome:
        """Take a step in a child process, whose clients are as patient as `crash` says."""
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            signal.alarm(CHILD_SECONDS)
            os.write(writable, pickle.dumps(self._take(scenario, step, crash)))
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable, "rb") as stream:
            pickled = stream.read()
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            killed = os.WTERMSIG(status) == signal.SIGKILL
            return Outcome("again", "killed") if killed else Outcome("final", f"hung for {CHILD_SECONDS} seconds")
        outcome: Outcome = pickle.loads(pickled)  # noqa: S301 - written by our own child
        return outcome

    def _take(self, scenario: Scenario, step: str, crash: Crash | None) -> Outcome:
        """Take a step as an operator does, and return how that ended."""
        try:
            self._prepare(crash or Crash("none", attempts=sessions.ATTEMPTS))
            terminal.finish = self._finish  # type: ignore[attr-defined]  # imported there, and not exported
            TAKE[step](Run(self.context(scenario.run_id), scenario.run_id, self.folder, finish=self._finish))
        except TransientError as err:
            return Outcome("again", repr(err))
        except RecdeployError as err:
            return Outcome("final", repr(err))
        except Exception:  # noqa: BLE001 - any other error is reported too
            return Outcome("final", traceback.format_exc(limit=-4))
        return Outcome("done")

    def _finish(self, context: ReleaseContext, advance: Callable[[], Any]) -> Any:
        """Advance a step until it is done, with the same number of looks on a busy machine as on an idle one."""
        while isinstance(outcome := advance(), Waiting):
            if outcome.deployment_id is None:
                context.now.reach(outcome.deadline)
                continue
            self.emulator.wait_until_idle()
            while not waits._look(context.deployments, outcome.deployment_id):
                time.sleep(self.settings.release.poll_seconds)
        return outcome

    def _prepare(self, crash: Crash) -> None:
        """Let the SDK retry without sleeping, name this process in every request, and be impatient at the slow call.

        At all other calls it is patient: on a machine that is busy for a moment the fault must not meet another call.
        """
        oci.retry.retry.time = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
        make, numbers = OciSession._client, itertools.count(1)

        def named(self: OciSession, *arguments: Any, **options: Any) -> Any:
            client = make(self, *arguments, **options)
            session = client.base_client.session
            session.headers["x-recdeploy-test-pid"] = str(os.getpid())
            send = session.request

            def impatient(*parts: Any, **how: Any) -> Any:
                if next(numbers) == crash.nth and crash.kind == "slow":
                    how["timeout"] = (PATIENT_SECONDS, CLIENT_SECONDS)
                return send(*parts, **how)

            session.request = impatient
            return client

        OciSession._client = named  # type: ignore[method-assign]
        sessions.ATTEMPTS = crash.attempts
        if crash.attempts == 1:
            sessions.retry_strategy = oci.retry.NoneRetryStrategy

    def _wait_for_answers(self) -> None:
        """Wait until the emulator has answered the requests whose client has gone."""
        while any(call["status"] is None and not call["dropped"] for call in self.emulator.calls()):
            time.sleep(0.02)

    def look(self, scenario: Scenario) -> dict[str, Any]:
        """Return the state of cloud, ledger, storage and answers, without times.

        A deployment that the scenario makes has another OCID each time: it is called new. The name of a backup keeps
        only its version, and the report of TEST loses its hash, because it holds the latency.
        """
        disk: Any = Disk(self.emulator.data_dir)
        context = open_context(self.settings, disk, self.session(), "none")
        state = context.ledger.read()
        living = [found for found in context.deployments.all() if found.lifecycle_state != "DELETED"]
        production = [found for found in living if found.tags.get(ROLE_TAG) == "production"]
        seen = {
            "deployments": [
                {
                    "name": found.name,
                    "id": found.deployment_id,
                    "state": found.lifecycle_state,
                    "model": found.model_id,
                    "shape": asdict(found.shape),
                    "tags": _timeless(found.tags),
                }
                for found in living
            ],
            "answers": [self._ask(context, found) for found in production],
            "models": sorted(
                [m.tags[VERSION_TAG], m.tags[DIGEST_TAG], m.name, m.lifecycle_state, str(SERVED_TAG in m.tags)]
                for m in list_models(context)
            ),
            "events": [f"{entry.run_id}: {entry.type}" for entry in context.ledger.entries()],
            "state": {
                "production": _serving(state.production),
                "previous champion": _serving(state.previous_champion),
                "stages": {number: str(version.stage) for number, version in state.versions.items()},
                "highest version": state.highest_version,
                # A probe that was lost is not counted in the figures of the reason.
                "freezes": [[freeze.cause, FIGURE.sub("N", freeze.reason), freeze.by] for freeze in state.freezes],
                "holder": state.holder,
                "outcomes": {run_id: release.outcome for run_id, release in state.releases.items()},
            },
            "current": read_current(context.store),
            "objects": [found.key for found in context.store.list("")],
            "audit": audit(context.store, tagged_heads=find_tagged_heads(context)),
        }
        text = re.sub(r"(backups/v\d+)_\d{8}_\d{6}/", r"\1/", json.dumps(seen))
        text = re.sub(r"(reports/test_validated)-\w+", r"\1", text)
        for deployment in living:
            if deployment.deployment_id not in self.before[scenario.name]:
                text = text.replace(deployment.deployment_id, "new")
        named: dict[str, Any] = json.loads(text)
        return named

    def _ask(self, context: ReleaseContext, deployment: Any) -> list[list[Any]]:
        ask = context.deployments.asker(deployment.url, timeout_seconds=10)
        bodies: list[Any] = [ask({"user_id": user}).body for user in USERS[:3]]
        return [[body["model_version"], body["digest"]] for body in bodies]


def broken_rules(found: Mapping[str, Any], scenario: Scenario) -> list[str]:
    """Return the rules that the result breaks; they hold for an undisturbed run too."""
    wrong = []
    tags = [deployment["tags"] for deployment in found["deployments"]]
    roles = [tagged.get(ROLE_TAG) for tagged in tags if tagged.get(PROJECT_TAG) == OURS]
    if roles != ["production"]:
        wrong.append(f"the deployments are {roles} instead of one production")
    versions = {version for answers in found["answers"] for version, _ in answers}
    if versions != {scenario.version}:
        wrong.append(f"production answers with {versions} instead of v{scenario.version}")
    numbers = [model[0] for model in found["models"]]
    if numbers != [str(n) for n in range(1, len(numbers) + len(scenario.pruned) + 1) if n not in scenario.pruned]:
        wrong.append(f"the catalog's versions are {numbers}")
    if found["audit"]:
        wrong.append(f"the ledger is not whole: {found['audit']}")
    return wrong


def _timeless(tags: Mapping[str, str]) -> dict[str, str]:
    head = tags.get(LEDGER_TAG, "none").partition(":")[0]
    return {**tags, LEDGER_TAG: head, LEASE_TAG: str(LEASE_TAG in tags)}


def _serving(serving: Any) -> Any:
    return {**asdict(serving), "since": None} if serving else None


def _start(scenario: Scenario, number: int) -> str:
    name = re.sub(r"\W+", "-", scenario.name)
    return f"{name}-{number}"


def main() -> None:
    """Run one worker's share of the cases."""
    parser = argparse.ArgumentParser()
    for name in ("--worker", "--workers", "--every"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with running_emulator(asked.folder / "emulator") as emulator:
        worker = Worker(emulator, asked.folder)
        worker.record()
        _report(recorded=worker.recorded)
        chosen = [case for case in itertools.islice(worker.cases(), 0, None, asked.every) if asked.only in str(case)]
        random.Random(0).shuffle(chosen)  # so that a worker's share takes as long as another's
        for case in chosen[asked.worker :: asked.workers]:
            started = time.monotonic()
            failure = worker.run(case)
            _report(case=asdict(case), failure=failure, seconds=time.monotonic() - started)


def _report(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
