"""What people are told about the entries of the ledger: questions, promotions, rollbacks, rejections and failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from recdeploy_ops.domain.baking import BakeResult
from recdeploy_ops.domain.errors import NEEDS_A_PERSON
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ApprovalRequested,
    BakeEnded,
    BakeStarted,
    ChampionRestored,
    GateEvent,
    HousekeepingStarted,
    ProductionFailed,
    ProductionLost,
    Promoted,
    PromotionsFrozen,
    ReleaseClosed,
    ReleaseOutcome,
    ReleaseRejected,
    RollbackCause,
    RolledBack,
    SwitchFailed,
)
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.messages import (
    MessageKind,
    compose,
    describe_production,
    format_moment,
    quote_person,
    tell_baking,
    tell_expired_leases,
    tell_frozen,
    tell_held_bake,
)
from recdeploy_ops.domain.release_status import name_release
from recdeploy_ops.domain.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.messages import Message, Newsroom

NEWS = timedelta(days=2)  # older entries are not told: a channel that is added now would get the whole history
ADVICE = {
    Verdict.PASS: "every gate passed",
    Verdict.HOLD: "a gate asks for your judgement: read the report first",
    Verdict.FAIL: "a gate failed: it should not be promoted",
}


@dataclass(frozen=True)
class _News:
    """The ledger, and what every message needs to know."""

    entries: Sequence[Entry]
    state: LedgerState
    room: Newsroom


def find_messages(entries: Sequence[Entry], room: Newsroom) -> list[Message]:
    """Return what people should have been told by now, oldest first: about the entries of the last `NEWS`.

    Args:
        entries: the whole ledger, in order.
        room: what every message needs to know.
    """
    news = _News(entries, replay(entries), room)
    told = [_tell(entry, news) for entry in entries if room.now - entry.at <= NEWS]
    return [message for message in (*told, _remind(news)) if message]


def _tell(entry: Entry, news: _News) -> Message | None:
    """Return the message about an entry; None if there is nothing to tell, or its event is void by now."""
    if isinstance(entry.event, PromotionsFrozen):
        return tell_frozen(news.room, entry.event.by, entry.event.reason, key=_key(entry))
    if isinstance(entry.event, HousekeepingStarted):
        leftovers = entry.event.deployments
        return tell_expired_leases(news.room, leftovers, key=_key(entry)) if leftovers else None
    release = news.state.releases.get(entry.run_id)
    teller = TELLERS.get(type(entry.event))
    if teller is None or release is None or release.events.get(entry.type) != entry.event:
        return None
    return teller(entry, release, news)


def _tell_question(entry: Entry, release: Release, news: _News) -> Message | None:
    """Tell that an approval waits, unless it was answered or is asked in a notebook or terminal."""
    if not (release.is_open and release.is_waiting_for_approval) or release.is_outside_airflow:
        return None
    verdict = release.require(ApprovalRequested).verdict
    headline = f"{name_release(release)} waits for an approval" + (f": {verdict}" if verdict else "")
    return compose(
        MessageKind.APPROVAL,
        _first_asking(entry, release, news),
        news.room,
        headline,
        _describe_question(entry, release, news),
    )


def _remind(news: _News) -> Message | None:
    """Tell that the approval that waits times out soon: at the earliest after half of its time."""
    release = news.state.holding_release
    if release is None or not release.is_waiting_for_approval or release.is_outside_airflow:
        return None
    asked = next(
        e for e in reversed(news.entries) if e.run_id == release.run_id and isinstance(e.event, ApprovalRequested)
    )
    deadline, wait = _deadline(asked, release), timedelta(hours=release.params.approval_timeout_hours)
    if not deadline - min(news.room.reminder, wait / 2) <= news.room.now < deadline:
        return None
    return compose(
        MessageKind.REMINDER,
        _key(asked),
        news.room,
        f"{name_release(release)} still waits for an approval, until {format_moment(deadline)}",
        _describe_question(asked, release, news),
    )


def _first_asking(entry: Entry, release: Release, news: _News) -> str:
    """Return the key of a question: that of its first asking, where a task that was killed asks the same again."""
    asked = release.require(ApprovalRequested)

    def is_same(before: Entry) -> bool:
        return isinstance(before.event, ApprovalRequested) and before.event.fingerprint == asked.fingerprint

    earlier = [e for e in news.entries[: entry.seq - 1] if e.run_id == entry.run_id]
    return _key([entry, *takewhile(is_same, reversed(earlier))][-1])


def _describe_question(asked: Entry, release: Release, news: _News) -> list[str]:
    """Return the lines about an approval that waits."""
    verdict, dag_id = release.require(ApprovalRequested).verdict, release.opened.dag_id
    otherwise = "production stays as it is" if release.is_rollback else "it is rejected"
    limit = format_moment(_deadline(asked, release))
    lines = [
        f"{name_release(release)} waits for your answer.",
        *([f"Verdict: {verdict} ({ADVICE[verdict]})."] if verdict else []),
        describe_production(news.state),
        f"Asked at {format_moment(asked.at)}; without an answer until {limit}, {otherwise}.",
        f"Answer, after a login: {news.room.addresses.approval(dag_id, asked.run_id)}",
    ]
    return lines if release.is_rollback else [*lines, f"Report: {news.room.addresses.report(dag_id, asked.run_id)}"]


def _tell_promotion(entry: Entry, release: Release, news: _News) -> Message:
    promoted = release.require(Promoted)
    return compose(
        MessageKind.PROMOTED,
        _key(entry),
        news.room,
        f"v{promoted.version} is in production",
        [
            f"Production serves v{promoted.version}, verified.",
            f"Approved by: {quote_person(promoted.approved_by)}",
            f"URL: {promoted.url}",
            f"Page: {news.room.addresses.page()}",
        ],
    )


def _tell_bake(entry: Entry, release: Release, news: _News) -> Message | None:
    """Tell that a version is watched, while it is."""
    started = release.require(BakeStarted)
    if not release.is_baking:
        return None
    until = started.at + timedelta(minutes=started.windows * started.window_minutes)
    return tell_baking(news.room, started.version, until, key=_key(entry))


def _tell_end_of_bake(entry: Entry, release: Release, news: _News) -> Message | None:
    """Tell that a watch could not be passed; a rollback has a message of its own."""
    if release.require(BakeEnded).result is not BakeResult.HELD:
        return None
    return tell_held_bake(news.room, release.version, key=_key(entry))


def _tell_rollback(entry: Entry, release: Release, news: _News) -> Message:
    done = release.require(RolledBack)
    is_automatic = done.cause is RollbackCause.AUTOMATIC
    by = "nobody: the version before was degraded" if is_automatic else quote_person(release.opened.triggered_by or "")
    return compose(
        MessageKind.ROLLED_BACK,
        _key(entry),
        news.room,
        f"production went back to v{done.version}",
        [
            f"Production serves v{done.version} again, verified.",
            *([] if is_automatic else [f"Reason: {quote_person(done.reason or '')}"]),
            f"Requested by: {by}",
            "Nothing is promoted until a person resumes promotions.",
            f"URL: {done.url}",
            f"Page: {news.room.addresses.page()}",
        ],
    )


def _tell_closing(entry: Entry, release: Release, news: _News) -> Message | None:
    """Tell how a release ended, if it did not change production: a change has a message of its own."""
    if release.outcome is ReleaseOutcome.REJECTED:
        return compose(
            MessageKind.REJECTED,
            _key(entry),
            news.room,
            f"{name_release(release)} was rejected",
            [*_describe_rejection(release), describe_production(news.state), *_links(release, news)],
        )
    if release.outcome in (ReleaseOutcome.FAILED, ReleaseOutcome.INTERRUPTED):
        return compose(
            MessageKind.FAILED,
            _key(entry),
            news.room,
            f"{name_release(release)} {release.outcome.replace('interrupted', 'was interrupted')}",
            [*_describe_failure(release, news), *_links(release, news)],
        )
    return None


def _describe_rejection(release: Release) -> list[str]:
    answer, rejected = release.get(ApprovalAnswered), release.get(ReleaseRejected)
    if answer is None:  # a person's decision without a question
        return [f"Rejected by: {quote_person(rejected.by if rejected else '')}"]
    if answer.timed_out:
        return ["Nobody answered in time."]
    return [f"Rejected by: {quote_person(answer.by)}", f"Comment: {quote_person(answer.comment)}"]


def _describe_failure(release: Release, news: _News) -> list[str]:
    """Return what failed and what production serves, without the words of machines."""
    failed_gates = [
        event for event in release.events.values() if isinstance(event, GateEvent) and event.verdict is Verdict.FAIL
    ]
    if release.get(SwitchFailed):
        why = "The switch of production failed."
    elif failed_gates:
        why = f"The gate of {failed_gates[0].task} said FAIL, so nobody was asked."
    else:
        why = "A task failed before production was changed: its log says why and what to do."
    if release.get(ProductionLost) or release.get(ProductionFailed):
        return [why, f"{NEEDS_A_PERSON}: its deployment was deleted or has failed, and nothing can be restored there."]
    restored = ["The version before was restored and verified."] if release.get(ChampionRestored) else []
    return [why, *restored, describe_production(news.state)]


def _links(release: Release, news: _News) -> list[str]:
    """Return where the run is, if Airflow knows it."""
    if release.is_outside_airflow:
        return [f"It ran in a {release.opened.dag_id}."]
    return [f"Run: {news.room.addresses.run(release.opened.dag_id, release.run_id)}"]


def _deadline(asked: Entry, release: Release) -> datetime:
    return asked.at + timedelta(hours=release.params.approval_timeout_hours)


def _key(entry: Entry) -> str:
    return f"{entry.seq:08d}"


# Of the events of a release.
TELLERS: dict[type, Callable[[Entry, Release, _News], Message | None]] = {
    ApprovalRequested: _tell_question,
    Promoted: _tell_promotion,
    BakeStarted: _tell_bake,
    BakeEnded: _tell_end_of_bake,
    RolledBack: _tell_rollback,
    ReleaseClosed: _tell_closing,
}
