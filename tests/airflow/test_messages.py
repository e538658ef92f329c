"""Messages through Airflow's notifiers: a real mail server, the emulator's topics, and the tasks' callbacks."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import oci
import pytest
from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import TaskAwaitingInput
from events import START, asked, chain, complete, of, opened, registered, rolled_back, validated
from mail_servers import running_mail_server

from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.notifications import releases
from recdeploy_ops.notifications.releases import ReleaseNotifier
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import MESSAGES, entry_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mail_servers import MailServer

    from oci_emulator.testing import RunningEmulator
    from recdeploy_ops.domain.entries import Entry

QUESTION = (opened(2, champion=1), registered(2), validated(), asked(2, verdict=Verdict.HOLD))
AIRFLOW = "https://airflow.example"


@pytest.fixture
def mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with running_mail_server() as server:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "retry_limit": 1}
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        yield server


@pytest.fixture
def topic(emulator: RunningEmulator, surroundings: Any) -> str:
    client = oci.ons.NotificationControlPlaneClient(emulator.config, service_endpoint=emulator.url)
    details = oci.ons.models.CreateTopicDetails(name="releases", compartment_id=emulator.compartment_id)
    return str(client.create_topic(details).data.topic_id)


@pytest.fixture
def world(surroundings: Any, topic: str, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A storage with a ledger that a test fills, a clock, and two channels."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", AIRFLOW)
    surroundings.settings["messages"]["channels"] = {
        "mail": {"notifier": "smtp", "arguments": {"to": ["team@example.com", "boss@example.com"]}},
        "topic": {"notifier": "oci", "arguments": {"topic_id": topic}, "kinds": ["approval", "failed"]},
    }
    surroundings.apply()
    surroundings.clock = START + timedelta(hours=1)
    opened_context = ReleasesHook.context
    monkeypatch.setattr(
        ReleasesHook, "context", lambda *given: with_clock(opened_context(*given), lambda: surroundings.clock)
    )
    return surroundings


def with_clock(release: Any, now: Callable[[], datetime]) -> Any:
    from dataclasses import replace

    return replace(release, now=now)


def fill_ledger(world: Any, entries: Sequence[Entry]) -> DirectoryStore:
    store = DirectoryStore(world.storage.as_uri())
    for entry in entries:
        store.create(entry_key(entry.seq), entry.encode())
    return store


def context_of(task_id: str = "extract", run_id: str = "run-2") -> Any:
    instance = SimpleNamespace(dag_id="recommender_retrain", run_id=run_id, task_id=task_id)
    return {"run_id": run_id, "ti": instance}


def text_of(mail: Any) -> str:
    return str(mail.get_body().get_content())


def test_each_channel_gets_its_kinds_once(world: Any, mail_server: MailServer, emulator: RunningEmulator) -> None:
    store = fill_ledger(world, chain(*complete(1), *of("run-2", *QUESTION)))

    for _ in range(2):
        ReleaseNotifier()(context_of())

    subjects = ["[product-recommender] v1 is in production", "[product-recommender] v2 waits for an approval: HOLD"]
    assert [mail["Subject"] for mail in mail_server.mails] == subjects
    assert mail_server.mails[1]["To"] == "team@example.com, boss@example.com"
    [message] = emulator.messages()
    assert message["title"] == subjects[1]
    link = f"{AIRFLOW}/dags/recommender_retrain/runs/run-2/tasks/request_approval/required_actions"
    assert f"Answer, after a login: {link}" in message["body"]
    assert message["body"] in text_of(mail_server.mails[1])
    assert [stored.key for stored in store.list(MESSAGES)] == [
        "messages/00000005/promoted/mail.json",
        "messages/00000010/approval/mail.json",
        "messages/00000010/approval/topic.json",
    ]


def test_a_channel_that_fails_is_logged_and_gets_its_message_from_a_later_task(
    world: Any, mail_server: MailServer, emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    fill_ledger(world, chain(*of("run-2", *QUESTION)))
    mail_server.refuses = True

    ReleaseNotifier()(context_of())

    assert "The channel mail of the setting messages did not take" in caplog.text
    assert (len(mail_server.mails), len(emulator.messages())) == (0, 1)

    mail_server.refuses = False
    ReleaseNotifier()(context_of("housekeeping", "another"))
    assert (len(mail_server.mails), len(emulator.messages())) == (1, 1)


def test_what_people_wrote_is_text_in_every_channel(world: Any, mail_server: MailServer) -> None:
    """Airflow's notifiers render their arguments as templates, and mail is HTML."""
    reason = "<b>P-1</b> {{ var.value.secret }} {% raw %}\r\nBcc: eve@example.com"
    back = (opened(1, dag_id="recommender_rollback"), registered(1), validated(), rolled_back(1, reason=reason))
    fill_ledger(world, chain(*complete(1), *of("back", *back)))

    ReleaseNotifier()(context_of(run_id="back"))

    mail = mail_server.mails[-1]
    assert "Reason: &lt;b&gt;P-1&lt;/b&gt; {{ var.value.secret }} {% raw %} Bcc: eve@example.com" in text_of(mail)
    assert mail["Bcc"] is None


def test_the_housekeeping_of_the_next_day_reminds_once(world: Any, mail_server: MailServer) -> None:
    fill_ledger(world, chain(*of("run-2", *QUESTION)))
    ReleaseNotifier()(context_of())

    for hours in (20, 30, 40, 60):  # 48 hours to answer
        world.clock = START + timedelta(hours=hours)
        ReleaseNotifier()(context_of("housekeeping", "another"))

    subjects = [mail["Subject"] for mail in mail_server.mails]
    assert subjects == [
        "[product-recommender] v2 waits for an approval: HOLD",
        "[product-recommender] v2 still waits for an approval, until 2026-03-04 03:05 UTC",
    ]


def test_a_task_that_failed_is_told_even_if_the_ledger_cannot_be_read(
    world: Any, emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    fill_ledger(world, chain(*of("run-2", *QUESTION)))
    (world.storage / entry_key(2)).unlink()

    ReleaseNotifier(has_failed=True)(context_of("plan_release"))

    [message] = emulator.messages()
    assert message["title"] == "[product-recommender] the task plan_release failed"
    assert "the ledger could not be read" in message["body"]
    assert "What to tell people cannot be read" in caplog.text


def test_a_task_that_failed_before_its_release_began_is_told_once(world: Any, emulator: RunningEmulator) -> None:
    fill_ledger(world, chain(*complete(1)))
    for _ in range(2):
        ReleaseNotifier(has_failed=True)(context_of("plan_release"))
    assert [message["title"] for message in emulator.messages()] == [
        "[product-recommender] the task plan_release failed"
    ]


def test_without_channels_nothing_is_read(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.settings["messages"]["channels"] = {}
    world.apply()
    monkeypatch.setattr(ReleasesHook, "context", None)
    ReleaseNotifier()(context_of())
    assert not world.storage.exists()


def test_an_invalid_settings_file_does_not_fail_a_task(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world.settings["project_name"] = "!"
    world.apply()
    ReleaseNotifier()(context_of())
    assert "People were not told about run-2" in caplog.text


class Recorder(BaseNotifier):
    """Somebody else's notifier."""

    template_fields = ("text",)
    texts: list[str] = []  # noqa: RUF012 - what all of them got

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        self.texts.append(self.text)


def test_any_notifier_of_airflow_can_be_a_channel(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_ledger(world, chain(*of("run-2", *QUESTION)))
    monkeypatch.setattr(releases, "import_module", lambda name: SimpleNamespace(Recorder=Recorder))
    arguments = {"text": "{{ message.kind }}: {{ message.subject }}"}
    world.settings["messages"]["channels"] = {"chat": {"notifier": "somebody.else.Recorder", "arguments": arguments}}
    world.apply()

    ReleaseNotifier()(context_of())

    assert Recorder.texts == ["approval: [product-recommender] v2 waits for an approval: HOLD"]


@pytest.mark.parametrize(
    "name", ["recommender_retrain", "recommender_rollback", "recommender_housekeeping", "recommender_adopt"]
)
def test_every_task_tells_people_when_it_ends(name: str, load_dag: Callable[..., Any]) -> None:
    for task in load_dag(name).tasks:
        [done], [failed] = task.on_success_callback, task.on_failure_callback
        assert isinstance(done, ReleaseNotifier)
        assert isinstance(failed, ReleaseNotifier)
        assert (done.has_failed, failed.has_failed) == (False, True)
        assert done.settings_name == failed.settings_name == "recommender"


def test_an_approval_is_told_before_the_task_begins_to_wait(
    load_dag: Callable[..., Any], world: Any, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.standard.operators import hitl
    from airflow.sdk.bases.operator import ExecutorSafeguard

    from recdeploy_ops.approvals.questions import Question
    from recdeploy_ops.steps import request_approval

    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    fill_ledger(world, chain(*of("run-2", *QUESTION)))
    monkeypatch.setattr(request_approval, "ask", lambda *_, **__: Question("Promote v2?", "evidence", 2, "d2"))
    task = load_dag().get_task("request_approval")
    instance = SimpleNamespace(
        id="x", try_number=1, dag_id="recommender_retrain", run_id="run-2", task_id="request_approval", map_index=-1
    )
    run = SimpleNamespace(dag_id="recommender_retrain")
    context = {
        **context_of(),
        "ti": instance,
        "task_instance": instance,
        "dag_run": run,
        "params": {"approval_timeout_hours": 1},
    }

    with pytest.raises(TaskAwaitingInput):
        task.execute(context)

    assert [message["title"] for message in emulator.messages()] == [
        "[product-recommender] v2 waits for an approval: HOLD"
    ]
