"""Tell people about releases: after each task, by the notifiers that the settings name.

What is to be told is a function of the ledger and the clock, so that every task may tell what an earlier one could not.
A mark in storage says which message a channel has got: none gets it twice, unless a process is killed between sending
and marking. Nothing here fails a task.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, conf

from recdeploy_ops.domain.addresses import AirflowAddresses
from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.ledger_messages import find_messages
from recdeploy_ops.domain.messages import Newsroom, tell_failed_task
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.settings import DEFAULT_NAME
from recdeploy_ops.storage.keys import message_key

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.messages import Message
    from recdeploy_ops.settings import ChannelSettings, Settings
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

# Airflow's own notifiers render their arguments as templates: the message is a variable of them, never a part.
SUBJECT, BODY = "{{ message.subject }}", "{{ message.body }}"
MAIL = "<pre>{{ message.body | e }}</pre>"  # Airflow sends HTML only


class ReleaseNotifier(BaseNotifier):
    """Tells people what they should know by now: a callback of every task, and a notifier of the approval.

    Args:
        settings_name: name of the settings file, for `find_settings`.
        has_failed: whether the task has failed for good.
    """

    def __init__(self, settings_name: str = DEFAULT_NAME, *, has_failed: bool = False) -> None:
        super().__init__()
        self.settings_name = settings_name
        self.has_failed = has_failed

    def notify(self, context: Context) -> None:
        """Send every message that is due and not sent yet; log what fails."""
        try:
            self._tell(context)
        except Exception:  # a release goes on whatever a ledger, a notifier or a mail server does
            log.exception("People were not told about %s; a later task tries again", context.get("run_id"))

    def _tell(self, context: Context) -> None:
        hook = ReleasesHook(self.settings_name)
        if not hook.settings.messages.channels:
            return
        try:
            release = hook.context(context["run_id"])
            entries = release.ledger.entries()
        except RecdeployError as err:
            self._tell_without_ledger(hook, context, err)
            return
        room = newsroom(hook.settings, release.now())
        messages = find_messages(entries, room)
        if self.has_failed:
            failed = tell_failed_task(replay(entries), room, **_where(context))
            messages = [*messages, failed] if failed else messages
        for message in messages:
            notify(release, message, context)

    def _tell_without_ledger(self, hook: ReleasesHook, context: Context, err: RecdeployError) -> None:
        """Tell that a task failed although nothing can be read: then that is why."""
        from recdeploy_ops.context import utc_now

        log.error("What to tell people cannot be read: %s", err)
        message = tell_failed_task(None, newsroom(hook.settings, utc_now()), **_where(context))
        if self.has_failed and message:
            for name in _channels_for(hook.settings, message):
                _send(hook.settings, name, message, context)


def message_callbacks(settings_name: str) -> dict[str, Any]:
    """Return the default arguments of a DAG's tasks that tell people about its releases."""
    done, failed = ReleaseNotifier(settings_name), ReleaseNotifier(settings_name, has_failed=True)
    return {"on_success_callback": [done], "on_failure_callback": [failed], "notifiers": [done]}


def newsroom(settings: Settings, now: datetime) -> Newsroom:
    """Return what every message needs to know."""
    addresses = AirflowAddresses(conf.get("api", "base_url", fallback=""))
    return Newsroom(settings.project_name, addresses, now, timedelta(hours=settings.messages.reminder_hours))


def notify(release: ReleaseContext, message: Message, context: Context) -> None:
    """Send a message to each channel that wants its kind and has not got it; log what fails, and never raise.

    Args:
        release: of any run; its settings name the channels, and its storage has the marks.
        message: e.g. of `recdeploy_ops.domain.messages.tell_frozen`.
        context: Airflow's, of the running task.
    """
    for name in _channels_for(release.settings, message):
        try:
            if not _is_marked(release.store, message, name) and _send(release.settings, name, message, context):
                release.store.create(message_key(message.key, name), message.subject.encode())
        except RecdeployError as err:
            log.error("Whether the channel %s has %r is not known: %s", name, message.subject, err)


def _channels_for(settings: Settings, message: Message) -> list[str]:
    return [name for name, channel in settings.messages.channels.items() if message.kind in channel.kinds]


def _is_marked(store: Store, message: Message, channel: str) -> bool:
    key = message_key(message.key, channel)
    return any(stored.key == key for stored in store.list(key))


def _send(settings: Settings, name: str, message: Message, context: Context) -> bool:
    """Send a message to a channel, and return whether that succeeded."""
    try:
        notifier = make_notifier(settings.messages.channels[name], settings)
        notifier({**context, "message": message})
    except Exception:  # a notifier may be anybody's
        log.exception("The channel %s of the setting messages did not take %r", name, message.subject)
        return False
    log.info("Told the channel %s: %s", name, message.subject)
    return True


def make_notifier(channel: ChannelSettings, settings: Settings) -> BaseNotifier:
    """Return the notifier of a channel.

    Raises:
        ImportError, AttributeError, TypeError: it does not exist, or does not take these arguments.
    """
    defaults: dict[str, Any] = {}
    path = channel.notifier
    if path == "smtp":
        path = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
        defaults = {"subject": SUBJECT, "html_content": MAIL}
    elif path == "oci":
        path = "recdeploy_ops.notifications.topics.OciNotifier"
        defaults = {"title": SUBJECT, "text": BODY, "oci_conn_id": settings.connections.oci}
    module, _, name = path.rpartition(".")
    notifier: BaseNotifier = getattr(import_module(module), name)(**{**defaults, **channel.arguments})
    return notifier


def _where(context: Context) -> dict[str, str]:
    instance: Any = context["ti"]
    return {"dag_id": instance.dag_id, "run_id": instance.run_id, "task_id": instance.task_id}
