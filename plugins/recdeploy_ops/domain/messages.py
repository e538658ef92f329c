"""Messages to people, as plain text: no ids of customers, no secrets, nothing that a gate measured.

The same facts give the same message under the same key, however often they are asked for. Words of people, such as the
reason of a rollback, are quoted; words of machines are not, as an answer of an endpoint may name a user.
`recdeploy_ops.domain.ledger_messages` has those about the ledger's entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import NEEDS_A_PERSON
from recdeploy_ops.domain.events import Promoted, ReleaseOutcome, RolledBack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from recdeploy_ops.domain.addresses import AirflowAddresses
    from recdeploy_ops.domain.ledger_state import LedgerState, Release

LONGEST_QUOTE = 500  # characters of a person's words
TEARDOWN = "close_release"


class MessageKind(StrEnum):
    """What a message is about, as the settings name it."""

    APPROVAL = "approval"
    REMINDER = "reminder"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    BAKING = "baking"
    FROZEN = "frozen"
    LEASE_EXPIRED = "lease_expired"


@dataclass(frozen=True)
class Message:
    """One message to people.

    Attributes:
        kind: what it is about.
        key: the same for the same facts: a channel gets it once.
        subject: one line.
        body: plain text of several lines.
    """

    kind: MessageKind
    key: str
    subject: str
    body: str


@dataclass(frozen=True)
class Newsroom:
    """What every message needs to know.

    Attributes:
        project: name of the project.
        addresses: of Airflow's pages.
        now: UTC.
        reminder: how long before an approval times out people are reminded of it.
    """

    project: str
    addresses: AirflowAddresses
    now: datetime
    reminder: timedelta


def tell_failed_task(
    state: LedgerState | None, room: Newsroom, *, dag_id: str, run_id: str, task_id: str
) -> Message | None:
    """Return the message about a task that has failed for good; None if the teardown of its run will tell.

    Args:
        state: of the ledger; None if it could not be read.
        room: what every message needs to know.
        dag_id: the task's DAG.
        run_id: its run.
        task_id: the task.
    """
    release = state.releases.get(run_id) if state else None
    if release and (release.outcome is ReleaseOutcome.PREEMPTED or _will_be_told(release, task_id)):
        return None
    serves = describe_production(state) if state else "Production: unknown, as the ledger could not be read."
    if release and release.is_open and release.open_switch is not None:
        serves = f"{NEEDS_A_PERSON}: it was being switched, and is neither verified nor restored."
    return compose(
        MessageKind.FAILED,
        f"{dag_id}/{run_id}/{task_id}",
        room,
        f"the task {task_id} failed",
        [
            f"The task {task_id} of {dag_id} failed and is not tried again. Its log says why and what to do.",
            serves,
            f"Run: {room.addresses.run(dag_id, run_id)}",
        ],
    )


def tell_baking(room: Newsroom, version: int, until: datetime, *, key: str) -> Message:
    """Return the message that a promoted version is watched; `key` tells this watch from others."""
    return compose(
        MessageKind.BAKING,
        key,
        room,
        f"v{version} is watched in production",
        [
            f"v{version} serves in production and is watched until {format_moment(until)}. If it degrades, production "
            "goes back to the version before by itself.",
            f"Page: {room.addresses.page()}",
        ],
    )


def tell_held_bake(room: Newsroom, version: int, *, key: str) -> Message:
    """Return the message that a watch could not show a version to be healthy; `key` tells this watch from others."""
    return compose(
        MessageKind.BAKING,
        key,
        room,
        f"whether v{version} is healthy in production is not known",
        [
            f"v{version} stays in production, but its watch could not be passed: a person must look. The log of the "
            "task bake says what was missing.",
            f"Page: {room.addresses.page()}",
        ],
    )


def tell_frozen(room: Newsroom, by: str, reason: str, *, key: str) -> Message:
    """Return the message that nothing is promoted any more; `key` tells this freeze from others."""
    return compose(
        MessageKind.FROZEN,
        key,
        room,
        "nothing is promoted until the freeze is lifted",
        [
            f"Promotions are frozen by {quote_person(by)}. Releases still train and validate; a rollback is possible.",
            f"Reason: {quote_person(reason)}",
            f"Page: {room.addresses.page()}",
        ],
    )


def tell_expired_leases(room: Newsroom, deployments: Sequence[str], *, key: str) -> Message:
    """Return the message that test deployments, by their OCIDs, outlived their lease; `key` tells them from others."""
    count = len(deployments)
    what, them = ("a test deployment", "it") if count == 1 else (f"{count} test deployments", "them")
    return compose(
        MessageKind.LEASE_EXPIRED,
        key,
        room,
        f"{what} outlived the lease",
        [
            f"Housekeeping deletes {them}, as nothing rests on {them}:",
            *deployments,
            f"Page: {room.addresses.page()}",
        ],
    )


def _will_be_told(release: Release, task_id: str) -> bool:
    """Return whether the closing of a release tells that this task has failed."""
    has_changed_production = release.get(Promoted) or release.get(RolledBack)
    return release.is_open and task_id != TEARDOWN and not has_changed_production


def quote_person(text: str) -> str:
    """Return what somebody wrote as a part of one line: no line breaks, no control characters, not too long."""
    return shorten(" ".join("".join(c if c.isprintable() else " " for c in text).split()), LONGEST_QUOTE) or "not given"


def compose(kind: MessageKind, key: str, room: Newsroom, headline: str, lines: Iterable[str]) -> Message:
    """Return a message; `key` tells its facts from those of others of its kind."""
    return Message(kind, f"{key}/{kind}", f"[{room.project}] {headline}", "\n".join(lines))


def format_moment(time: datetime) -> str:
    """Return a time, UTC, to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def describe_production(state: LedgerState) -> str:
    """Return what production serves, in one line."""
    serving = state.production
    return f"Production: v{serving.version} at {serving.url}" if serving else "Production: nothing serves."
