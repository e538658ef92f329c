"""Production is watched: its answers are published as metrics, OCI's counts are read, and alarms are kept."""

from datetime import UTC, datetime, timedelta

import pytest
from oci.monitoring.models import SummarizeMetricsDataDetails, UpdateAlarmDetails
from steps.bakes import serve_secretly
from steps.factories import damage, reopen

from recdeploy_ops.domain.errors import CloudRefusedError, StateMismatchError
from recdeploy_ops.oci_clients.monitoring import DEPLOYMENTS, NAMESPACE
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.steps import monitor, promote

TOPIC = "ocid1.onstopic.oc1..alarms"
PUBLISHED = {
    "Version",
    "Probes",
    "ErrorRate",
    "FallbackRate",
    "WrongAnswerRate",
    "LatencyP95",
    "CustomerErrorRate",
    "CustomerLatencyP95",
}


@pytest.fixture
def watched(context, released):
    """A production with v1, and settings with a topic."""
    released()
    watch = context.settings.watch.model_copy(update={"topic_id": TOPIC, "monitor_requests": 20})
    return reopen(context, "monitor", watch=watch)


def published(context, name):
    """Return the newest value of a metric."""
    now = datetime.now(UTC)
    query = f'{name}[5m]{{project = "{context.project}"}}.last()'
    details = SummarizeMetricsDataDetails(
        namespace=NAMESPACE, query=query, start_time=now, end_time=now + timedelta(minutes=2), resolution="1m"
    )
    client, compartment = context.monitoring._client, context.monitoring._compartment
    streams = client.summarize_metrics_data(compartment, details).data
    return [point.value for stream in streams for point in stream.aggregated_datapoints][-1]


def alarms(context):
    client, compartment = context.monitoring._client, context.monitoring._compartment
    return {alarm.display_name: client.get_alarm(alarm.id).data for alarm in client.list_alarms(compartment).data}


def test_version_latency_errors_and_fallbacks_are_published(watched):
    done = monitor.advance(watched)
    assert {name: done[name] for name in ("version", "Version", "Probes", "ErrorRate", "FallbackRate")} == {
        "version": 1,
        "Version": 1,
        "Probes": 20,
        "ErrorRate": 0,
        "FallbackRate": 0,
    }
    assert set(done) - {"version", "alarms"} <= PUBLISHED
    assert published(watched, "Version") == 1
    assert published(watched, "LatencyP95") == pytest.approx(done["LatencyP95"])
    assert published(watched, "LatencyP95") > 0


def test_what_oci_has_counted_of_customers_is_published_too(watched, emulator):
    ask = watched.deployments.sender(watched.refresh().production.url, timeout_seconds=10)
    emulator.fail_next("Predict", "status", status=500, times=5)
    for _ in range(5):
        ask({"user_id": "a customer"})
    done = monitor.advance(watched)
    start, end = watched.now() - timedelta(minutes=15), watched.now()
    counts = watched.monitoring.count_answers(watched.state.production.deployment_id, start, end)
    assert counts.errors == 5
    assert counts.requests > 20, "the release's own probes, the customer's and the monitor's"
    assert done["CustomerErrorRate"] == pytest.approx(5 / counts.requests)
    assert done["CustomerLatencyP95"] > 0


def test_a_minute_that_is_over_is_counted_once(watched, emulator):
    deployment_id = watched.refresh().production.deployment_id
    ask = watched.deployments.sender(watched.state.production.url, timeout_seconds=10)
    start = watched.now()
    for _ in range(7):
        ask({"user_id": "a customer"})
    middle = watched.now()
    for _ in range(5):
        ask({"user_id": "a customer"})
    count = watched.monitoring.count_answers
    assert count(deployment_id, start, middle + timedelta(milliseconds=1)).requests >= 7
    assert count(deployment_id, middle, watched.now()).requests == 5
    assert count(deployment_id, start, watched.now()).requests == 12


def test_nothing_in_production_is_nothing_to_watch(context):
    assert monitor.advance(context) == {"version": None}


def test_three_alarms_are_created_once_and_kept(watched):
    done = monitor.advance(watched)
    assert set(done["alarms"].values()) == {"created"}
    found = alarms(watched)
    name = f"{watched.project} production"
    assert set(found) == {f"{name}: response time", f"{name}: error rate", f"{name}: no data"}
    assert all(alarm.destinations == [TOPIC] and alarm.is_enabled for alarm in found.values())
    assert found[f"{name}: response time"].namespace == DEPLOYMENTS
    assert set(monitor.advance(watched)["alarms"].values()) == {"kept"}
    assert len(alarms(watched)) == 3


def test_an_alarm_follows_the_settings_and_stays_switched_off(watched):
    monitor.advance(watched)
    name = f"{watched.project} production: response time"
    off = alarms(watched)[name]
    watched.monitoring._client.update_alarm(off.id, UpdateAlarmDetails(is_enabled=False))
    watch = watched.settings.watch.model_copy(update={"alarm_p95_ms": 250})
    done = monitor.advance(reopen(watched, "monitor", watch=watch))
    assert done["alarms"][name] == "updated"
    changed = alarms(watched)[name]
    assert changed.id == off.id
    assert changed.query.endswith("percentile(0.95) > 250")
    assert changed.is_enabled is False


def test_an_alarm_that_somebody_deleted_comes_back(watched):
    monitor.advance(watched)
    name = f"{watched.project} production: no data"
    watched.monitoring._client.delete_alarm(alarms(watched)[name].id)
    assert monitor.advance(watched)["alarms"][name] == "created"
    assert name in alarms(watched)


def test_without_a_topic_there_are_no_alarms(context, released):
    released()
    assert monitor.advance(context)["alarms"] == {}
    assert alarms(context) == {}


def test_a_production_that_answers_as_another_version_fails_the_task(context, two_versions, emulator):
    serve_secretly(context, emulator, 1)
    with pytest.raises(StateMismatchError, match=r"does not answer as v2, .* 57 named another version or digest"):
        monitor.advance(context)
    assert published(context, "WrongAnswerRate") == 1, "what is wrong is published nevertheless"


def test_while_production_is_switched_another_version_is_no_error(switching):
    assert switching.context.refresh().production.version == 1
    assert monitor.advance(switching.context)["WrongAnswerRate"] == 1
    promote.advance(switching.context)


def test_a_switch_that_is_undone_while_production_is_probed_is_no_error(switching, monkeypatch):
    probe = monitor.probe_production

    def probe_and_restore(*arguments, **options):
        answers = probe(*arguments, **options)
        switching.close()
        return answers

    monkeypatch.setattr(monitor, "probe_production", probe_and_restore)
    before = switching.context.refresh().production
    assert monitor.advance(switching.context.of_run("monitor"))["WrongAnswerRate"] == 1
    assert switching.context.refresh().production == before
    assert switching.context.state.holder is None


def test_monitoring_that_is_refused_says_which_policy_is_missing(watched, emulator):
    emulator.fail_next("PostMetricData", "status", status=404, code="NotAuthorizedOrNotFound")
    with pytest.raises(CloudRefusedError, match=r"post the metrics Version.*manage alarms in the compartment"):
        monitor.advance(watched)


def test_a_damaged_artifact_leaves_the_answers_without_comparison(watched, caplog):
    version = watched.refresh().versions[1]
    damage(watched.store, f"{version.artifact}/recommendations.sqlite")
    done = monitor.advance(watched)
    assert done["Version"] == 1
    assert "FallbackRate" not in done
    assert "The lists of production are not compared" in caplog.text


def test_metrics_go_to_the_endpoint_that_takes_them(context):
    session = context.catalog._session
    profile = session.profile
    plain = OciSession(OciProfile(**{**vars(profile), "service_endpoint": None, "region": "eu-frankfurt-1"}))
    assert plain.monitoring(posts=True).base_client.endpoint == (
        "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com/20180401"
    )
    assert "//telemetry.eu-frankfurt-1." in plain.monitoring(posts=False).base_client.endpoint
