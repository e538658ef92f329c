"""The phase of the newest release, and the summaries that people read."""

from __future__ import annotations

import json
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from recdeploy_ops.domain.codec import to_plain
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ChampionRestored,
    EventType,
    ReleaseOpened,
    ReleaseOutcome,
    SwitchFailed,
    TestDeployed,
)
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.freezes import Freeze
    from recdeploy_ops.domain.ledger_state import LedgerState, Release

RULE = "=" * 60
FROZEN_MARK = "🧊"
NO_PRODUCTION = "⬜ PRODUCTION: No production deployment"
SERVED = frozenset({Stage.CHAMPION, Stage.RETIRED})
# How far a release has come, by its newest event.
PROGRESS = {
    EventType.RELEASE_OPENED: "has begun",
    EventType.PRODUCTION_BACKED_UP: "has backed up production",
    EventType.BACKUP_FAILED: "could not back up production",
    EventType.DATA_EXTRACTED: "has extracted its data",
    EventType.DATA_CHECKED: "has checked its data",
    EventType.MODEL_TRAINED: "is trained",
    EventType.ARTIFACT_BUILT: "has built its artifact",
    EventType.CANDIDATE_CHECKED: "has passed the gates for candidates",
    EventType.GATE_MODELS_TRAINED: "has trained the models for the gates",
    EventType.CHAMPION_BACKTESTED: "has trained the champion's side of the backtest",
    EventType.CANDIDATE_EVALUATED: "is evaluated",
    EventType.MODEL_REGISTERED: "is in the Model Catalog",
    EventType.TEST_DEPLOYED: "is on its test deployment",
    EventType.TEST_VALIDATED: "is validated on its test deployment",
    EventType.APPROVAL_REQUESTED: "waits for an approval",
    EventType.APPROVAL_ANSWERED: "has its approval answered",
    EventType.BASELINE_MEASURED: "has measured the champion before the switch",
    EventType.SWITCH_STARTED: "is on its way into production",
    EventType.PROMOTED: "is verified in production, and to be closed",
    EventType.SWITCH_FAILED: "did not reach production",
    EventType.PRODUCTION_LOST: "found that production is gone",
    EventType.PRODUCTION_FAILED: "found that production has failed",
    EventType.TAKEOVER_STARTED: "is being closed by the run that takes its lock over",
    EventType.RESTORE_STARTED: "is being withdrawn from production",
    EventType.CHAMPION_RESTORED: "was withdrawn from production",
    EventType.RESIZE_STARTED: "is being resized in production",
    EventType.RESIZED: "is resized in production",
    EventType.BAKE_STARTED: "is in production and being watched",
    EventType.WINDOW_JUDGED: "is in production and being watched",
    EventType.BAKE_ENDED: "has ended its bake, and is to be closed",
    EventType.REHEARSAL_STARTED: "is being tried on a test deployment",
    EventType.ROLLBACK_REHEARSED: "is rehearsed",
    EventType.MODEL_RESTORED: "is in the Model Catalog again",
    EventType.ROLLED_BACK: "is verified, and to be closed",
    EventType.ADOPTED: "has recorded what OCI has",
    EventType.RELEASE_REJECTED: "is rejected, and to be closed",
    EventType.RELEASE_CLOSED: "is closed",
    EventType.PROMOTIONS_FROZEN: "has frozen promotions",
    EventType.PROMOTIONS_RESUMED: "has resumed promotions",
    EventType.VERSION_PINNED: "has pinned a version",
    EventType.VERSION_UNPINNED: "has unpinned a version",
    EventType.HOUSEKEEPING_STARTED: "is deleting what the policy does not keep",
    EventType.CUSTOMER_ERASED: "has erased a customer",
}


class Phase(StrEnum):
    """The phase of the newest release."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    DEGRADED = "degraded"


class Status(NamedTuple):
    """A phase and why."""

    phase: Phase
    message: str


# The ledger cannot know whether Airflow still has the question: its run may have been deleted or marked as failed.
LOST_QUESTION = (
    "Its run is {run}: if Airflow does not show that it waits, nobody can answer, and the next release or "
    "recommender_housekeeping closes it."
)


def judge(state: LedgerState) -> Status:
    """Return the phase of the newest release, and why."""
    serving = f"v{state.production.version} serves" if state.production else "nothing is in production"
    release = state.holding_release
    if release is None:
        newest = list(state.releases.values())[-1:]
        if newest and newest[0].outcome is ReleaseOutcome.FAILED:
            return Status(Phase.DEGRADED, f"The newest release (v{newest[0].version}) failed; {serving}.")
        if newest and newest[0].outcome is ReleaseOutcome.ROLLED_BACK and not newest[0].is_rollback:
            return Status(
                Phase.DEGRADED, f"v{newest[0].version} was degraded and rolled back automatically; {serving}."
            )
        return Status(Phase.HEALTHY, f"No release is in progress; {serving}.")
    if release.get(SwitchFailed) and not release.get(ChampionRestored):
        what = "rollback to" if release.is_rollback else "promotion of"
        return Status(Phase.DEGRADED, f"The {what} v{release.version} failed and the champion is not restored yet.")
    if release.get(ApprovalRequested) and not release.get(ApprovalAnswered):
        unanswerable = "" if release.is_outside_airflow else f" {LOST_QUESTION.format(run=release.run_id)}"
        return Status(Phase.PAUSED, f"{name_release(release)} waits for an approval; {serving}.{unanswerable}")
    return Status(Phase.PROGRESSING, f"{name_release(release)} {describe_progress(release)}; {serving}.")


def describe_progress(release: Release) -> str:
    """Return how far an open release has come, e.g. ``has checked its data``."""
    return PROGRESS[release.newest_event.type]


def name_release(release: Release) -> str:
    """Return what a release is called at the beginning of a sentence: ``v4``, or ``The rollback to v4``."""
    return f"The rollback to v{release.version}" if release.is_rollback else f"v{release.version}"


def title_of(project_name: str) -> str:
    """Return a project's name for people, e.g. ``Product Recommender`` for ``product-recommender``."""
    return project_name.replace("-", " ").title()


def summarise(state: LedgerState, project_name: str, title: str | None = None, freezes: Iterable[Freeze] = ()) -> str:
    """Return the guide's deployment summary.

    Args:
        state: of the ledger.
        project_name: as in the settings.
        title: of the summary; by default the project's name for people.
        freezes: what freezes promotions now; each adds a line.
    """
    title = title or title_of(project_name)
    lines = [RULE, f"🎯 {title} - Deployment Status", RULE, ""]
    if state.production:
        lines += [
            f"✅ PRODUCTION (v{state.production.version})",
            f"   Model: {state.production.model_id}",
            f"   Endpoint: {state.production.url}",
            f"   Deployed: {state.production.since}",
            "",
        ]
    else:
        lines += [NO_PRODUCTION, ""]
    lines += [*_describe_test(state), ""]
    current = f"v{state.production.version}" if state.production else "none"
    served = sum(1 for version in state.versions.values() if version.stage in SERVED)
    status = judge(state)
    lines += [
        f"📊 Current Version: {current}",
        f"📦 Total Deployments: {served}",
        f"🩺 {status.phase}: {status.message}",
        *(f"{FROZEN_MARK} Promotions are frozen {_printable(str(freeze))}" for freeze in freezes),
    ]
    return "\n".join([*lines, RULE])


def describe_history(entries: Iterable[Entry]) -> str:
    """Return the ledger, one line per entry, whatever characters it has."""
    lines = [
        f"{entry.seq:>6}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.type:<22}  {_show(entry.run_id)}  {_brief(entry.event)}"
        for entry in entries
    ]
    return "\n".join(lines)


def dump_history(entries: Iterable[Entry]) -> str:
    """Return the ledger as JSON, one line of ASCII per entry."""
    return "\n".join(json.dumps(json.loads(entry.encode()), sort_keys=True) for entry in entries)


def describe_backups(backups: Iterable[Mapping[str, object]]) -> str:
    """Return the backups, one line each, in their order, each with its ``note`` if it has one."""
    lines = []
    for backup in backups:
        line = f"v{backup['version']:<4} {backup['files']:>4} files  {_show(backup['prefix'])}"
        lines.append(f"{line}  {backup['note']}" if backup.get("note") else line)
    return "\n".join(lines) or "No backup yet: the first is made when a second version is released."


def _describe_test(state: LedgerState) -> list[str]:
    release = state.holding_release
    test = release.get(TestDeployed) if release else None
    if release is None or test is None or not test.deployment_id:
        return _describe_leftover(state) or ["🧪 TEST: No test deployment"]
    return [f"🧪 TEST (v{release.version})", f"   Deployment: {test.deployment_id}", f"   Endpoint: {test.url}"]


def _describe_leftover(state: LedgerState) -> list[str]:
    """Describe the test deployment of a preempted release, which its own run deletes later."""
    for release in [release for release in state.releases.values() if not release.is_rollback][-1:]:
        test = release.get(TestDeployed)
        if release.outcome is ReleaseOutcome.PREEMPTED and test and test.deployment_id:
            return [
                f"🧪 TEST (v{release.version}) of a preempted release: if it still exists, housekeeping deletes it",
                f"   Deployment: {test.deployment_id}",
            ]
    return []


def _brief(event: Event) -> str:
    reason = getattr(event.params, "reason", None) if isinstance(event, ReleaseOpened) else None
    plain = {key: value for key, value in to_plain(event).items() if isinstance(value, str | int | float)}
    shown = {key: value for key, value in plain.items() if value != ""} | ({"reason": reason} if reason else {})
    return " ".join(f"{_show(key)}={_show(value)}" for key, value in shown.items())


def _show(value: object) -> str:
    """Return a value as one word: quoted if it has spaces, with misleading characters escaped."""
    text = str(value)
    if not text.isprintable() or any(character in ' ="\\' for character in text):
        text = json.dumps(text, ensure_ascii=False)
    return _printable(text)


def _printable(text: str) -> str:
    """Return a text without characters that a terminal would obey or not show."""
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    """Return a character, escaped as in JSON if it is a control character, invisible or a line break."""
    is_plain = unicodedata.category(character)[0] not in "CZ" or character == " "
    return character if is_plain else json.dumps(character).strip('"')
