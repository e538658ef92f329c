"""Probes of production are counted, and their rates and latency have intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, quantile_test

from recdeploy_ops.domain.records import NO_ANSWER, Reply
from recdeploy_ops.evaluation.endpoints import NEW_USER
from recdeploy_ops.evaluation.intervals import measure_p95, measure_rate
from recdeploy_ops.evaluation.probes import Expectation
from recdeploy_ops.evaluation.watching import (
    count_probes,
    measure,
    measure_baseline,
    plan_watch,
    probe_production,
)

LIST, FALLBACK = (("p-1", 4.5), ("p-2", 3.5)), (("p-9", 1.0),)
EXPECTED = Expectation(2, "digest", 2, {f"u{n}": LIST for n in range(4)}, ("nobody-1", "nobody-2"), FALLBACK)


def answer(request, *, version=2, digest="digest", ranking=None, is_known=None):
    user = request.get("user_id") if isinstance(request, dict) else None
    if not isinstance(user, str) or (
        "top_k" in request and request["top_k"] is not True and request["top_k"] in (0, -1, 2.5)
    ):
        return Reply(200, {"error": {"code": "MalformedRequest", "message": "no"}}, 0.1)
    known = user in EXPECTED.known if is_known is None else is_known
    rows = ranking or (LIST if known else FALLBACK)
    length = request.get("top_k") or EXPECTED.top_k
    rows = rows[: length if isinstance(length, int) else 2]
    body = {
        "user_id": user,
        "recommendations": [{"product_id": item, "rating": rating} for item, rating in rows],
        "count": len(rows),
        "message": "Recommendations for known user" if known else NEW_USER,
        "model_version": version,
        "digest": digest,
    }
    return Reply(200, body, 0.1)


def watch(ask, probes=100):
    return probe_production(ask, plan_watch(EXPECTED, probes, seed=1), EXPECTED)


def test_a_window_has_users_of_each_kind_in_random_order() -> None:
    assert count_probes(100) == (80, 15, 5)
    probes = plan_watch(EXPECTED, 100, seed=1)
    known = [probe.user_id in EXPECTED.known for probe in probes]
    assert (len(probes), sum(known)) == (100, 80)
    assert known != sorted(known, reverse=True)
    assert probes == plan_watch(EXPECTED, 100, seed=1)
    assert probes != plan_watch(EXPECTED, 100, seed=2)


def test_right_answers_have_no_fault() -> None:
    found = watch(answer)
    assert (found.answered, found.lost, found.errors, found.problems) == (100, 0, 0, ())
    assert (found.served, found.wrong_release) == (95, 0)
    assert (found.known, found.wrong_lists, found.fallbacks, len(found.seconds)) == (80, 0, 0, 95)


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        (lambda request: answer(request, version=1), {"wrong_release": 95}),
        (lambda request: answer(request, digest="other"), {"wrong_release": 95}),
        (
            lambda request: answer(request, ranking=FALLBACK, is_known=False),
            {"wrong_lists": 80, "fallbacks": 80},
        ),
        (lambda request: Reply(500, None, 0.1), {"errors": 100, "served": 0, "known": 0, "seconds": ()}),
        (lambda request: Reply(503, None, 0.1), {"errors": 100, "answered": 100}),
    ],
    ids=["version", "digest", "fallback", "500", "503"],
)
def test_each_fault_is_counted(fault, counted) -> None:
    found = watch(fault)
    assert {name: getattr(found, name) for name in counted} == counted


@pytest.mark.parametrize("status", [NO_ANSWER, 401, 404, 429])
def test_a_request_that_reached_no_replica_is_no_evidence(status) -> None:
    found = watch(lambda request: Reply(status, None, 0.1))
    assert (found.answered, found.lost, found.errors) == (0, 100, 0)
    assert measure(found).requests == 0


def test_probing_ends_when_the_window_does() -> None:
    left = iter([False] * 30 + [True])
    found = probe_production(answer, plan_watch(EXPECTED, 100, seed=1), EXPECTED, is_over=lambda: next(left))
    assert found.answered == 30


def test_requests_of_customers_count_beside_the_probes() -> None:
    found = measure(watch(answer), others=300, errors_of_others=6)
    assert (found.requests, found.errors.count, found.errors.of) == (400, 6, 400)
    assert found.wrong_lists.of == 80


def test_the_previous_champions_lists_are_not_compared() -> None:
    baseline = measure_baseline(watch(lambda request: answer(request, version=1)))
    assert (baseline.requests, baseline.errors.count, baseline.is_measured) == (100, 0, False)
    assert measure_baseline(watch(answer, 400)).is_measured


@pytest.mark.parametrize(("count", "of"), [(0, 200), (2, 200), (20, 1000), (200, 200)])
def test_a_rate_has_wilsons_interval(count, of) -> None:
    interval = binomtest(count, of).proportion_ci(0.95, method="wilson")
    rate = measure_rate(count, of)
    assert (rate.count, rate.of, rate.low, rate.high) == (count, of, interval.low, interval.high)


def test_without_answers_a_rate_has_no_interval() -> None:
    assert measure_rate(0, 0) == measure_rate(0, 0)
    assert (measure_rate(0, 0).low, measure_rate(0, 0).high) == (None, None)


@pytest.mark.parametrize("count", [90, 200, 333, 1000])
def test_a_95th_percentile_has_the_interval_of_quantile_test(count) -> None:
    seconds = np.random.default_rng(count).lognormal(size=count)
    interval = quantile_test(seconds, p=0.95).confidence_interval(0.98)
    found = measure_p95(seconds.tolist())
    assert (found.low, found.high) == (interval.low, interval.high)
    assert found.low <= found.seconds <= found.high


@pytest.mark.parametrize(("count", "known"), [(0, (False, False)), (1, (False, False)), (89, (True, False))])
def test_few_answers_leave_bounds_unknown(count, known) -> None:
    found = measure_p95([0.1] * count)
    assert (found.low is not None, found.high is not None) == known


def test_the_interval_of_the_percentile_holds_the_true_one_in_49_of_50_cases() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        found = measure_p95(rng.random(200).tolist())
        held += found.low <= 0.95 <= found.high
    assert held >= 382
