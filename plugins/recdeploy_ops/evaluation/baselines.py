"""How the champion behaves right before production is switched to another version."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from recdeploy_ops.evaluation.served_lists import expect_served
from recdeploy_ops.evaluation.watching import count_probes, measure_baseline, plan_watch, probe_production

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.baking import Baseline
    from recdeploy_ops.domain.versions import Serving, Version

log = logging.getLogger(__name__)

BASELINE_WINDOWS = 3  # as many probes as so many windows of a bake: docs/watching.md


def measure_champion(context: ReleaseContext, champion: Serving, approved: Version) -> Baseline:
    """Probe the champion with users of the version that replaces it, as the bake will.

    A probe that is lost is not an error: with too few answers the bake has nothing to compare with, and holds.

    Args:
        context: of the run that promotes.
        champion: what production serves.
        approved: the version that replaces it.

    Raises:
        IntegrityError: the approved artifact is damaged.
        MissingInputError: it is gone.
    """
    watch = context.settings.watch
    probes = BASELINE_WINDOWS * watch.requests
    known, unknown, _ = count_probes(probes)
    seed = context.release.retrain_params.seed
    expected = expect_served(context, approved, known=known, unknown=unknown, seed=seed)
    send = context.deployments.sender(champion.url, timeout_seconds=context.settings.probes.timeout_seconds)
    ends = context.now() + timedelta(minutes=BASELINE_WINDOWS * watch.window_minutes)
    planned = plan_watch(expected, probes, seed=seed)
    answers = probe_production(send, planned, expected, is_over=lambda: context.now() >= ends)
    log.info("v%s was probed before the switch: %s answers, %s lost.", champion.version, answers.answered, answers.lost)
    return measure_baseline(answers)
