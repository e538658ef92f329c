"""Step 7: the offline gates check training, the lists of all users, and the artifact's answers in a clean process."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import CandidateChecked, ModelTrained
from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.endpoint import judge_endpoint
from recdeploy_ops.domain.gates.lists import judge_lists
from recdeploy_ops.domain.gates.training import explained_variance, judge_training
from recdeploy_ops.domain.gates.verdicts import GateReport
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.candidates import fetch_candidate
from recdeploy_ops.evaluation.champions import Champion, Unknown, find_champion
from recdeploy_ops.evaluation.endpoints import probe_artifact
from recdeploy_ops.evaluation.gate_runs import record_report
from recdeploy_ops.evaluation.lists import measure_lists

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.gates.verdicts import Finding
    from recdeploy_ops.domain.waiting import Outcome

HELD_OUT_SHARE = 0.2  # of the interactions, by ADS


def advance(context: ReleaseContext) -> Outcome:
    """Judge the candidate before anything is registered.

    Raises:
        GateFailedError: a list is wrong, too many users have none, or ``score.py`` gives a wrong answer.
    """
    release = context.confirm_lock()
    with fetch_candidate(context) as candidate:
        lists = measure_lists(
            candidate.results,
            candidate.extract,
            settings=context.settings,
            top_k=release.retrain_params.top_k,
            fallback=candidate.fallback,
        )
        answers = probe_artifact(
            candidate.artifact,
            expected=candidate.expected,
            malformed=context.settings.probes.malformed_requests,
        )
    list_report = judge_lists(lists, min_user_coverage=context.settings.gates.min_user_coverage)
    answer_report = judge_endpoint(answers)
    training = _judge_training(context)
    report = GateReport((training, *list_report.findings, *answer_report.findings))
    report = leave_out(report, recipe_of(release.require(ModelTrained).inputs.get("model", {})))
    details = {"digest": candidate.digest, "lists": asdict(lists)}
    return record_report(context, CandidateChecked, report, details)


def _judge_training(context: ReleaseContext) -> Finding:
    metrics, champion = context.release.require(ModelTrained).metrics, find_champion(context)
    theirs = explained_variance(champion.metrics) if isinstance(champion, Champion) else None
    held_out = math.ceil(HELD_OUT_SHARE * metrics.get("interactions", 0))
    why = champion.why if isinstance(champion, Unknown) else "its training did not report it"
    return judge_training(explained_variance(metrics), theirs, held_out, context.settings.gates.training, why=why)
