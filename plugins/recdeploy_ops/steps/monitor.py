"""The step of recommender_monitor: probe production, publish what it answers, and keep its alarms."""

from __future__ import annotations

import logging
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, StateMismatchError
from recdeploy_ops.domain.remedies import GrantPolicy, Remedy
from recdeploy_ops.evaluation.probes import Expectation
from recdeploy_ops.evaluation.served_lists import UNKNOWN_LISTS, expect_served
from recdeploy_ops.evaluation.watching import count_probes, measure, plan_watch, probe_production
from recdeploy_ops.oci_clients.monitoring import DEPLOYMENTS, NAMESPACE, Alarm

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.baking import Measurements
    from recdeploy_ops.domain.versions import Serving
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.evaluation.watching import Answers
    from recdeploy_ops.oci_clients.monitoring import Counts

log = logging.getLogger(__name__)

COUNTED = timedelta(minutes=15)  # OCI's counts of this long are read: they come with a delay of minutes
POST_POLICY = GrantPolicy(
    "Allow the user of the OCI connection to read and use metrics and to manage alarms in the compartment "
    "(read metrics, use metrics where target.metrics.namespace = 'recdeploy', manage alarms)"
)


def advance(context: ReleaseContext) -> Outcome:
    """Watch production once; nothing is recorded in the ledger, and the release lock is not needed.

    While a release switches production, its answers are published, but a wrong version is not an error.

    Raises:
        StateMismatchError: production answers with another version, digest or list than it should.
        CloudRefusedError: the metrics may not be read or posted, or the alarms may not be changed.
        CloudUnavailableError: OCI does not answer.
    """
    serving = context.refresh().production
    if serving is None:
        log.info("Nothing is in production: there is nothing to watch.")
        return {"version": None}
    was_switching = context.state.is_switching
    answers, is_compared = _probe(context, serving)
    measured = measure(answers)
    try:
        counts = context.monitoring.count_answers(serving.deployment_id, context.now() - COUNTED, context.now())
        values = _values(serving, measured, counts)
        dimensions = {"project": context.project, "resourceId": serving.deployment_id}
        context.monitoring.post(values, dimensions, context.now())
        alarms = _keep_alarms(context, serving)
    except CloudRefusedError as err:
        remedy = POST_POLICY if err.status == HTTPStatus.NOT_FOUND else err.remedy
        raise CloudRefusedError(err.message, remedy, status=err.status, code=err.code) from err
    log.info("Published: %s", ", ".join(f"{name} {value:g}" for name, value in values.items()))
    state = context.refresh()
    if is_compared and not was_switching and not state.is_switching and state.production == serving:
        _require_right(serving, answers)
    return {"version": serving.version, "alarms": alarms, **values}


def _probe(context: ReleaseContext, serving: Serving) -> tuple[Answers, bool]:
    """Return what production answers, and whether that could be compared with the artifact's lists."""
    probes, seed = context.settings.watch.monitor_requests, int(context.now().timestamp())
    known, unknown, _ = count_probes(probes)
    is_compared = True
    try:
        version = context.state.versions[serving.version]
        expected = expect_served(context, version, known=known, unknown=unknown, seed=seed)
    except UNKNOWN_LISTS as err:
        log.warning("The lists of production are not compared: %s", err.message)
        is_compared = False
        ids = tuple(f"recdeploy-nobody-{seed}-{number}" for number in range(unknown))
        expected = Expectation(serving.version, serving.digest, 1, {}, ids, ())
    url = context.deployments.get(serving.deployment_id).url or serving.url
    send = context.deployments.sender(url, timeout_seconds=context.settings.probes.timeout_seconds)
    return probe_production(send, plan_watch(expected, probes, seed=seed), expected), is_compared


def _values(serving: Serving, measured: Measurements, counts: Counts) -> dict[str, float]:
    """Return the metrics to publish; what was not measured is left out, so that its absence can be seen."""
    values: dict[str, float | None] = {
        "Version": float(serving.version),
        "Probes": float(measured.requests),
        "ErrorRate": _share(measured.errors.count, measured.errors.of),
        "FallbackRate": _share(measured.fallbacks.count, measured.fallbacks.of),
        "WrongAnswerRate": _share(
            max(measured.wrong_release.count, measured.wrong_lists.count), measured.wrong_release.of
        ),
        "LatencyP95": None if measured.latency.seconds is None else measured.latency.seconds * 1000,
        "CustomerErrorRate": _share(counts.errors, counts.requests),
        "CustomerLatencyP95": counts.p95_ms,
    }
    return {name: value for name, value in values.items() if value is not None}


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _keep_alarms(context: ReleaseContext, serving: Serving) -> dict[str, str]:
    """Create or update the alarms; return what was done with each, by name."""
    topic = context.settings.watch.topic_id
    if topic is None:
        log.info("The setting watch.topic_id is empty: no alarms are kept.")
        return {}
    return {
        alarm.name: context.monitoring.keep_alarm(alarm, project=context.project, topic_id=topic)
        for alarm in _alarms(context, serving)
    }


def _alarms(context: ReleaseContext, serving: Serving) -> list[Alarm]:
    watch, where = context.settings.watch, f'{{resourceId = "{serving.deployment_id}"}}'
    name = f"{context.project} production"
    own = f'{{project = "{context.project}"}}'
    return [
        Alarm(
            f"{name}: response time",
            DEPLOYMENTS,
            f"PredictLatency[5m]{where}.grouping().percentile(0.95) > {watch.alarm_p95_ms:g}",
            "WARNING",
            f"The 95th percentile of the response time of {serving.url} is above {watch.alarm_p95_ms:g} ms.",
        ),
        Alarm(
            f"{name}: error rate",
            NAMESPACE,
            f"CustomerErrorRate[5m]{own}.grouping().max() > {watch.alarm_error_rate:g}",
            "CRITICAL",
            f"More than {watch.alarm_error_rate:.1%} of the requests to {serving.url} end in a server error.",
        ),
        Alarm(
            f"{name}: no data",
            NAMESPACE,
            f"Probes[15m]{own}.grouping().absent()",
            "CRITICAL",
            f"Nothing has probed {serving.url} for 15 minutes: look at the DAG recommender_monitor.",
        ),
    ]


def _require_right(serving: Serving, answers: Answers) -> None:
    """Fail the task if production answered wrongly."""
    if not answers.wrong_release and not answers.wrong_lists:
        return
    raise StateMismatchError(
        f"Production does not answer as v{serving.version}, which the ledger says it serves: of {answers.served} "
        f"answers {answers.wrong_release} named another version or digest, and {answers.wrong_lists} of "
        f"{answers.known} known users got another list, {answers.fallbacks} of them that for new users. First: "
        f"{'; '.join(answers.problems)}.",
        Remedy("Look at production in the OCI console; recommender_rollback takes it to an earlier version"),
    )
