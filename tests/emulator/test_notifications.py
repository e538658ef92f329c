from pathlib import Path
from typing import Any

import pytest
from oci.ons.models import CreateTopicDetails, MessageDetails

from oci_emulator.testing import running_emulator
from tests.emulator.clouds import Cloud, refusal

LARGEST = 64 * 1024


def topic(cloud: Cloud, name: str = "releases", **details: Any) -> Any:
    values = {"compartment_id": cloud.compartment, "name": name, **details}
    return cloud.topics.create_topic(CreateTopicDetails(**values)).data


def publish(cloud: Cloud, topic_id: str, text: str, **options: Any) -> Any:
    return cloud.publisher.publish_message(topic_id, MessageDetails(title="recdeploy", body=text), **options)


def test_a_topic_is_created_read_and_listed(cloud: Cloud) -> None:
    created = topic(cloud, description="for people", freeform_tags={"team": "shop"})
    topic(cloud, "alarms")
    found = cloud.topics.get_topic(created.topic_id).data
    assert (found.name, found.lifecycle_state, found.description) == ("releases", "ACTIVE", "for people")
    assert (found.api_endpoint, found.freeform_tags) == (cloud.emulator.url, {"team": "shop"})
    listed = [item.name for item in cloud.topics.list_topics(cloud.compartment).data]
    by_name = [item.topic_id for item in cloud.topics.list_topics(cloud.compartment, name="releases").data]
    by_id = [item.name for item in cloud.topics.list_topics(cloud.compartment, id=created.topic_id).data]
    assert (listed, by_name, by_id) == (["alarms", "releases"], [created.topic_id], ["releases"])


def test_published_messages_can_be_read_back_in_order(cloud: Cloud) -> None:
    releases = topic(cloud).topic_id
    answers = [publish(cloud, releases, text) for text in ("approve v4", "v4 promoted")]
    assert [(answer.status, len(answer.data.message_id)) for answer in answers] == [(202, 36), (202, 36)]
    messages = cloud.emulator.messages()
    assert [(item["topicId"], item["title"], item["body"]) for item in messages] == [
        (releases, "recdeploy", "approve v4"),
        (releases, "recdeploy", "v4 promoted"),
    ]
    assert [item["messageId"] for item in messages] == [answer.data.message_id for answer in answers]


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        ("x" * LARGEST, {}, (413, "PayloadTooLarge")),
        ("", {}, (400, "MissingParameter")),
        ('{"default": "x"}', {"message_type": "JSON"}, (501, "NotImplemented")),
    ],
)
def test_an_invalid_message_is_refused(
    cloud: Cloud, text: str, options: dict[str, str], answer: tuple[int, str]
) -> None:
    assert refusal(publish, cloud, topic(cloud).topic_id, text, **options) == answer
    assert cloud.emulator.messages() == []


def test_a_topic_that_is_unknown_or_named_twice_is_refused(cloud: Cloud) -> None:
    topic(cloud)
    assert refusal(topic, cloud) == (409, "Conflict")
    assert refusal(topic, cloud, "other", compartment_id="ocid1.compartment.oc1..no")[0] == 404
    unknown = "ocid1.onstopic.oc1..no"
    assert refusal(publish, cloud, unknown, "x") == (404, "NotAuthorizedOrNotFound")
    assert refusal(cloud.topics.get_topic, unknown) == (404, "NotAuthorizedOrNotFound")


def test_a_message_that_was_refused_or_lost_is_published_once_or_not_at_all(cloud: Cloud) -> None:
    releases = topic(cloud).topic_id
    cloud.emulator.fail_next("PublishMessage", status=429)
    assert refusal(publish, cloud, releases, "x")[0] == 429
    assert cloud.emulator.messages() == []
    cloud.emulator.fail_next("PublishMessage", "status_after", status=503)
    assert refusal(publish, cloud, releases, "x")[0] == 503
    assert len(cloud.emulator.messages()) == 1


def test_messages_survive_a_restart_and_return_with_a_snapshot(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        releases = topic(cloud).topic_id
        publish(cloud, releases, "one")
        emulator.kill()
    with running_emulator(tmp_path) as emulator:
        emulator.snapshot("one")
        publish(Cloud(emulator), releases, "two")
        assert [item["body"] for item in emulator.messages()] == ["one", "two"]
        emulator.restore("one")
        assert [item["body"] for item in emulator.messages()] == ["one"]
