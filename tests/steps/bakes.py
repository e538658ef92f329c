"""Bakes in tests: a clock that jumps over every wait, and production that serves another version than OCI says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from steps.factories import Run

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.rollout import waits
from recdeploy_ops.rollout.production import find_production

REQUESTS = 48  # in a window; three times as many before the switch are enough for a 95th percentile
LEAST = 40  # that count, in place of 200, which would take long


class Clock:
    """The time, UTC, and how far it was moved."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return utc_now() + self.ahead

    def reach(self, moment):
        self.ahead += max(moment - self(), timedelta())


def baking(context, *, minutes=15, requests=REQUESTS, **watch):
    """Return the context of a run that bakes, with a clock that no wait of a bake needs."""
    settings = context.settings
    release = settings.release.model_copy(update={"bake_minutes": minutes})
    watched = settings.watch.model_copy(update={"window_minutes": 5, "requests": requests, **watch})
    settings = settings.model_copy(update={"release": release, "watch": watched})
    clock = Clock()
    ledger = type(context.ledger)(context.store, settings.project_name, clock)
    return replace(context, settings=settings, ledger=ledger, now=clock)


def finish_at_once(context, advance):
    """Advance a step until it is done: wait for OCI, and jump to the moment where only time is awaited."""
    while isinstance(outcome := advance(), Waiting):
        if outcome.deployment_id is None:
            context.now.reach(outcome.deadline)
        else:
            waits._watch(context, outcome, 60)
    return outcome


def baking_run(context, run_id, folder, *, shift=0, **how):
    """Return a run whose waits take no time, and which is watched after its promotion."""
    return Run(baking(context.of_run(run_id), **how), run_id, folder, shift=shift, finish=finish_at_once)


def serve_secretly(context, emulator, version):
    """Let production serve another version than the one that OCI says it is configured for."""
    production = find_production(context)
    configured = production.model_id
    context.deployments.switch_model(production, context.refresh().versions[version].model_id)
    emulator.wait_until_idle()
    emulator.fail_next("UpdateModelDeployment", "old_still_serves")
    context.deployments.switch_model(find_production(context), configured)
    emulator.wait_until_idle()
    assert find_production(context).model_id == configured
