"""Requests, failures and latency of production, as OCI's Monitoring has them."""

from datetime import timedelta

import pytest
from steps.factories import answer_of

from recdeploy_ops.domain.errors import CloudUnavailableError
from recdeploy_ops.oci_clients.page_sessions import PageSession
from recdeploy_ops.oci_clients.production_metrics import MeasuredHour, read_production_metrics
from recdeploy_ops.rollout.production import find_production


@pytest.fixture
def session(context):
    return PageSession(context.catalog._session.profile)


def read(session, context, **later):
    return read_production_metrics(session, find_production(context).deployment_id, context.now() + timedelta(**later))


def test_an_hour_has_its_requests_failures_and_latency(session, context, released, emulator):
    released()
    for _ in range(3):
        answer_of(context)
    [before] = read(session, context)
    emulator.fail_next("Predict", status=500, times=2)
    for _ in range(2):
        context.deployments.asker(find_production(context).url, timeout_seconds=10)({"user_id": "x"})

    [hour] = read(session, context)

    assert before.requests >= 3
    assert before.failures == 0
    assert (hour.requests, hour.failures) == (before.requests + 2, 2)
    assert 0 < hour.p50 <= hour.p95


def test_what_was_not_measured_is_left_out(session, context, released):
    released()

    assert read(session, context, days=3) == []


def test_a_measure_without_data_is_none():
    assert MeasuredHour("2026-11-29T12:00:00+00:00") == MeasuredHour(
        "2026-11-29T12:00:00+00:00", None, None, None, None
    )


def test_a_monitoring_that_does_not_answer_is_an_error(session, context, no_retries, released, emulator):
    released()
    emulator.fail_next("SummarizeMetricsData", status=503, times=9)

    with pytest.raises(CloudUnavailableError):
        read(session, context)
