import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from oci.monitoring.models import (
    Datapoint,
    MetricDataDetails,
    PostMetricDataDetails,
    SummarizeMetricsDataDetails,
)

from oci_emulator.testing import running_emulator
from tests.emulator.clouds import Cloud, artifact, refusal

INVALID = (400, "InvalidParameter")
NOT_EMULATED = (501, "NotImplemented")
DEPLOYMENTS = "oci_datascience_modeldeploy"
FAILING = "def load_model():\n    return 1\n\n\ndef predict(data, model=None):\n    raise ValueError\n"


def metric(cloud: Cloud, *points: tuple[datetime, float], **details: Any) -> Any:
    values = {
        "namespace": "recdeploy",
        "compartment_id": cloud.compartment,
        "name": "coverage",
        "dimensions": {"slot": "production"},
        "datapoints": [Datapoint(timestamp=moment, value=value) for moment, value in points],
        **details,
    }
    return MetricDataDetails(**values)


def post(cloud: Cloud, *metrics: Any, **options: Any) -> Any:
    details = PostMetricDataDetails(metric_data=list(metrics), **options)
    return cloud.monitoring.post_metric_data(details).data


def summarize(cloud: Cloud, query: str, namespace: str = "recdeploy", **options: Any) -> list[Any]:
    now = datetime.now(UTC)
    window = {"start_time": now - timedelta(hours=1), "end_time": now + timedelta(minutes=61), "resolution": "1h"}
    details = SummarizeMetricsDataDetails(namespace=namespace, query=query, **{**window, **options})
    return list(cloud.monitoring.summarize_metrics_data(cloud.compartment, details).data)


def values(cloud: Cloud, query: str, **options: Any) -> list[float]:
    """Return the value of each stream in the only window with data."""
    return [point.value for stream in summarize(cloud, query, **options) for point in stream.aggregated_datapoints]


@pytest.fixture
def four(cloud: Cloud) -> Cloud:
    moment = datetime.now(UTC) - timedelta(minutes=1)
    points = [(moment + timedelta(seconds=second), value) for second, value in enumerate((4.0, 1.0, 2.0, 3.0))]
    post(cloud, metric(cloud, *points))
    return cloud


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("sum()", 10),
        ("count()", 4),
        ("mean()", 2.5),
        ("avg()", 2.5),
        ("min()", 1),
        ("max()", 4),
        ("first()", 4),
        ("last()", 3),
        ("percentile(0.5)", 2),
        ("percentile(0.95)", 4),
    ],
)
def test_a_statistic_is_of_the_points_in_its_window(four: Cloud, statistic: str, value: float) -> None:
    assert values(four, f"coverage[1h].{statistic}") == [value]


def test_a_point_has_the_time_at_which_its_window_ends(cloud: Cloud) -> None:
    start = (datetime.now(UTC) - timedelta(minutes=10)).replace(second=0, microsecond=0)
    minutes = [(start + timedelta(minutes=number), float(number)) for number in range(5)]
    post(cloud, metric(cloud, *minutes, (start + timedelta(seconds=30), 10.0)))
    window = {"start_time": start, "end_time": start + timedelta(minutes=5), "resolution": "1m"}
    [stream] = summarize(cloud, "coverage[1m].sum()", **window)
    shown = [(point.timestamp, point.value) for point in stream.aggregated_datapoints]
    assert shown == [(start, 0), (start + timedelta(minutes=1), 11), *minutes[2:]]
    [stream] = summarize(cloud, "coverage[2m].sum()", **window)
    assert [point.value for point in stream.aggregated_datapoints] == [0, 11, 13, 5, 7]


def test_streams_are_selected_by_dimension_and_grouped(cloud: Cloud) -> None:
    moment = datetime.now(UTC)
    for slot, region, value in (("production", "a", 1.0), ("production", "b", 2.0), ("test", "a", 4.0)):
        post(cloud, metric(cloud, (moment, value), dimensions={"slot": slot, "region": region}))
    assert sorted(values(cloud, "coverage[1h].sum()")) == [1, 2, 4]
    assert values(cloud, 'coverage[1h]{slot = "production"}.grouping().sum()') == [3]
    assert values(cloud, 'coverage[1h]{slot="production", region="b"}.sum()') == [2]
    grouped = summarize(cloud, "coverage[1h].groupBy(region).sum()")
    sums = {stream.dimensions["region"]: stream.aggregated_datapoints[0].value for stream in grouped}
    assert sums == {"a": 5, "b": 2}
    assert values(cloud, 'coverage[1h]{slot = "other"}.sum()') == []


def test_a_resource_group_and_a_compartment_separate_metrics(cloud: Cloud) -> None:
    moment = datetime.now(UTC)
    post(cloud, metric(cloud, (moment, 1.0)), metric(cloud, (moment, 2.0), resource_group="eu"))
    assert values(cloud, "coverage[1h].sum()") == [1]
    assert values(cloud, "coverage[1h].sum()", resource_group="eu") == [2]
    tenancy = SummarizeMetricsDataDetails(namespace="recdeploy", query="coverage[1h].sum()")
    assert cloud.monitoring.summarize_metrics_data(cloud.emulator.config["tenancy"], tenancy).data == []


def test_a_value_counts_as_often_as_it_occurred(cloud: Cloud) -> None:
    now = datetime.now(UTC)
    points = [Datapoint(timestamp=now, value=1, count=9), Datapoint(timestamp=now, value=5)]
    post(cloud, metric(cloud, datapoints=points))
    assert values(cloud, "coverage[1h].mean()") == [1.4]
    assert values(cloud, "coverage[1h].percentile(0.9)") == [1]


@pytest.mark.parametrize(
    "details",
    [
        {"namespace": "oci_datascience_modeldeploy"},
        {"namespace": "with-hyphen"},
        {"name": "1st"},
        {"dimensions": {}},
        {"dimensions": {"slot": ""}},
        {"dimensions": {"a b": "x"}},
        {"resource_group": "1"},
        {"datapoints": []},
        {"datapoints": [Datapoint(timestamp=datetime.now(UTC) - timedelta(hours=3), value=1)]},
        {"datapoints": [Datapoint(timestamp=datetime.now(UTC) + timedelta(hours=1), value=1)]},
        {"datapoints": [Datapoint(timestamp=datetime.now(UTC), value=1, count=0)]},
    ],
)
def test_an_invalid_metric_is_named_and_the_others_are_stored(cloud: Cloud, details: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    good, bad = (
        metric(cloud, (now, 1.0)),
        metric(cloud, **{"datapoints": [Datapoint(timestamp=now, value=1)], **details}),
    )
    assert refusal(post, cloud, bad) == INVALID
    assert refusal(post, cloud, good, bad, batch_atomicity="ATOMIC") == INVALID
    assert values(cloud, "coverage[1h].sum()") == []
    answer = post(cloud, good, bad)
    assert answer.failed_metrics_count == 1
    assert answer.failed_metrics[0].message
    assert values(cloud, "coverage[1h].sum()") == [1]


@pytest.mark.parametrize(
    ("query", "options", "answer"),
    [
        ("coverage[61m].sum()", {}, INVALID),
        ("coverage[1h].median()", {}, INVALID),
        ("coverage[1h].percentile(95)", {}, INVALID),
        ("coverage[1m].sum()", {"resolution": "5m"}, INVALID),
        ("coverage[1h].sum()", {"end_time": datetime.now(UTC) - timedelta(days=1)}, INVALID),
        ("coverage", {}, NOT_EMULATED),
        ("coverage[1h].rate()", {}, NOT_EMULATED),
        ("coverage[1h].absent()", {}, NOT_EMULATED),
        ("coverage[1h].sum() > 1", {}, NOT_EMULATED),
        ('coverage[1h]{slot =~ "prod*"}.sum()', {}, NOT_EMULATED),
        ("coverage[1h].sum() + other[1h].sum()", {}, NOT_EMULATED),
    ],
)
def test_an_invalid_query_is_refused(
    cloud: Cloud, query: str, options: dict[str, Any], answer: tuple[int, str]
) -> None:
    assert refusal(summarize, cloud, query, **options) == answer


def test_answers_of_a_deployment_are_counted_by_status(cloud: Cloud) -> None:
    good, bad = cloud.deployment(), cloud.deployment(cloud.model(artifact(FAILING)))
    for _ in range(3):
        cloud.predict(good)
    cloud.emulator.fail_next("Predict", status=429)
    assert refusal(cloud.predict, good)[0] == 429
    assert refusal(cloud.predict, bad)[0] == 500
    assert values(cloud, f'PredictRequestCount[1h]{{resourceId = "{good}"}}.sum()', namespace=DEPLOYMENTS) == [4]
    counted = {
        (stream.dimensions["resourceId"], stream.dimensions["statusCode"], stream.dimensions["statusFamily"]): (
            stream.dimensions["result"],
            stream.aggregated_datapoints[0].value,
        )
        for stream in summarize(cloud, "PredictResponse[1h].count()", DEPLOYMENTS)
    }
    assert counted == {
        (good, "200", "2XX"): ("Success", 3),
        (good, "429", "4XX"): ("Failure", 1),
        (bad, "500", "5XX"): ("Failure", 1),
    }


def test_the_latency_of_answers_is_in_milliseconds(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.predict(deployment)
    cloud.emulator.fail_next("Predict", "slow", seconds=0.5)
    start = time.monotonic()
    cloud.predict(deployment)
    took = (time.monotonic() - start) * 1000
    query = f'PredictLatency[1h]{{resourceId = "{deployment}", result = "Success"}}'
    assert values(cloud, f"{query}.count()", namespace=DEPLOYMENTS) == [2]
    [slowest] = values(cloud, f"{query}.max()", namespace=DEPLOYMENTS)
    assert 500 <= slowest <= took
    [stream] = summarize(cloud, f"{query}.percentile(0.5)", DEPLOYMENTS)
    assert stream.metadata == {"unit": "Milliseconds"}
    assert stream.dimensions == {"resourceId": deployment, "result": "Success"}


def test_what_no_client_was_let_through_or_answered_is_not_counted(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.emulator.fail_next("Predict", "drop_before")
    with pytest.raises(Exception, match="onnection"):
        cloud.predict(deployment)
    stranger = cloud.client(type(cloud.endpoint), {**cloud.emulator.config, "user": "ocid1.user.oc1..stranger"})
    assert refusal(stranger.predict, deployment, {})[0] == 401
    assert refusal(cloud.predict, "ocid1.datasciencemodeldeployment.oc1..no")[0] == 404
    assert values(cloud, "PredictRequestCount[1h].sum()", namespace=DEPLOYMENTS) == []


@pytest.mark.parametrize("query", ["PredictResponse[1h].mean()", "PredictRequestCount[1h].count()"])
def test_what_oracle_does_not_document_is_not_answered(cloud: Cloud, query: str) -> None:
    assert refusal(summarize, cloud, query, DEPLOYMENTS) == NOT_EMULATED


def test_metrics_survive_a_restart_and_return_with_a_snapshot(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        deployment = cloud.deployment()
        cloud.predict(deployment)
        post(cloud, metric(cloud, (datetime.now(UTC), 1.0)))
        emulator.kill()
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        emulator.snapshot("one")
        post(cloud, metric(cloud, (datetime.now(UTC), 2.0)))
        cloud.predict(deployment)
        assert values(cloud, "coverage[1h].sum()") == [3]
        assert values(cloud, "PredictRequestCount[1h].sum()", namespace=DEPLOYMENTS) == [2]
        emulator.restore("one")
        assert values(cloud, "coverage[1h].sum()") == [1]
        assert values(cloud, "PredictRequestCount[1h].sum()", namespace=DEPLOYMENTS) == [1]
        emulator.reset()
        assert values(cloud, "coverage[1h].sum()") == []
