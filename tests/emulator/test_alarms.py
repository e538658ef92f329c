from typing import Any

import pytest
from oci.monitoring.models import CreateAlarmDetails, UpdateAlarmDetails

from tests.emulator.clouds import Cloud, refusal

INVALID = (400, "InvalidParameter")
QUERY = 'PredictResponse[5m]{resourceId = "ocid1.x", result = "Failure"}.groupBy(resourceId).count() > 10'


def details(cloud: Cloud, **changes: Any) -> Any:
    values = {
        "display_name": "errors",
        "compartment_id": cloud.compartment,
        "metric_compartment_id": cloud.compartment,
        "namespace": "oci_datascience_modeldeploy",
        "query": QUERY,
        "severity": "CRITICAL",
        "destinations": ["ocid1.onstopic.oc1..a"],
        "is_enabled": True,
        **changes,
    }
    return CreateAlarmDetails(**values)


def create(cloud: Cloud, **changes: Any) -> Any:
    return cloud.monitoring.create_alarm(details(cloud, **changes)).data


def names(cloud: Cloud, **options: Any) -> list[str]:
    return [alarm.display_name for alarm in cloud.monitoring.list_alarms(cloud.compartment, **options).data]


def test_an_alarm_is_created_read_and_listed(cloud: Cloud) -> None:
    created = create(cloud, body="See the runbook.", freeform_tags={"recdeploy-project": "shop"})
    create(cloud, display_name="absent", query="PredictRequestCount[1h].absent(20h)", severity="INFO")
    found = cloud.monitoring.get_alarm(created.id).data
    assert (found.query, found.body, found.pending_duration) == (QUERY, "See the runbook.", "PT1M")
    assert (found.lifecycle_state, found.message_format) == ("ACTIVE", "RAW")
    assert names(cloud) == ["absent", "errors"]
    assert names(cloud, display_name="errors") == ["errors"]
    assert names(cloud, sort_by="severity") == ["errors", "absent"]


def test_an_alarm_is_updated_unless_it_was_changed_meanwhile(cloud: Cloud) -> None:
    alarm = create(cloud)
    etag = cloud.monitoring.get_alarm(alarm.id).headers["etag"]
    change = UpdateAlarmDetails(is_enabled=False, query="PredictLatency[1m].percentile(0.95) >= 250.5")
    updated = cloud.monitoring.update_alarm(alarm.id, change, if_match=etag).data
    assert (updated.is_enabled, updated.display_name) == (False, "errors")
    assert updated.time_updated > updated.time_created
    assert refusal(cloud.monitoring.update_alarm, alarm.id, change, if_match=etag) == (412, "NoEtagMatch")
    wrong = UpdateAlarmDetails(severity="LOUD")
    assert refusal(cloud.monitoring.update_alarm, alarm.id, wrong) == INVALID
    assert cloud.monitoring.get_alarm(alarm.id).data.severity == "CRITICAL"


def test_a_deleted_alarm_is_listed_only_as_deleted(cloud: Cloud) -> None:
    alarm = create(cloud)
    cloud.monitoring.delete_alarm(alarm.id)
    assert names(cloud) == []
    assert names(cloud, lifecycle_state="DELETED") == ["errors"]
    assert refusal(cloud.monitoring.delete_alarm, alarm.id)[0] == 404
    assert refusal(cloud.monitoring.update_alarm, alarm.id, UpdateAlarmDetails(is_enabled=True))[0] == 404


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"query": "PredictLatency[1m].mean()"}, INVALID),
        ({"query": "PredictLatency[1w].mean() > 1"}, INVALID),
        ({"query": "PredictLatency > 1"}, (501, "NotImplemented")),
        ({"severity": "LOUD"}, INVALID),
        ({"pending_duration": "PT2H"}, INVALID),
        ({"destinations": ["ocid1.onstopic.oc1..a", "ocid1.onstopic.oc1..b"]}, INVALID),
        ({"display_name": None}, (400, "MissingParameter")),
        ({"metric_compartment_id": "ocid1.compartment.oc1..no"}, (404, "NotAuthorizedOrNotFound")),
    ],
)
def test_an_invalid_alarm_is_refused(cloud: Cloud, changes: dict[str, Any], answer: tuple[int, str]) -> None:
    assert refusal(create, cloud, **changes) == answer
    assert names(cloud) == []


def test_a_retried_creation_makes_one_alarm(cloud: Cloud) -> None:
    tokens = {"opc_retry_token": "once"}
    first = cloud.monitoring.create_alarm(details(cloud), **tokens).data
    assert cloud.monitoring.create_alarm(details(cloud), **tokens).data.id == first.id
    assert names(cloud) == ["errors"]


def test_an_alarm_returns_with_a_snapshot(cloud: Cloud) -> None:
    alarm = create(cloud)
    cloud.emulator.snapshot("with")
    cloud.monitoring.delete_alarm(alarm.id)
    cloud.emulator.restore("with")
    assert cloud.monitoring.get_alarm(alarm.id).data.lifecycle_state == "ACTIVE"
