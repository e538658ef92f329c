"""What is going on, in one word and one sentence, and the summaries that people read."""

from __future__ import annotations

import json
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from recdeploy_ops.domain.ledger import ROLLBACK, Kind
from recdeploy_ops.domain.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.ledger import Book, Entry, Facts, Release

RULE = "=" * 60
SERVED = frozenset({Stage.CHAMPION, Stage.RETIRED})
# How far a release has come, by what has happened last.
PROGRESS = {
    Kind.RELEASE_OPENED: "has begun",
    Kind.PRODUCTION_BACKED_UP: "has backed up production",
    Kind.BACKUP_FAILED: "could not back up production",
    Kind.DATA_EXTRACTED: "has extracted its data",
    Kind.DATA_CHECKED: "has checked its data",
    Kind.MODEL_TRAINED: "is trained",
    Kind.ARTIFACT_BUILT: "has built its artifact",
    Kind.CANDIDATE_CHECKED: "has passed the gates for candidates",
    Kind.MODEL_REGISTERED: "is in the Model Catalog",
    Kind.TEST_DEPLOYED: "is on TEST",
    Kind.TEST_VALIDATED: "is validated on TEST",
    Kind.APPROVAL_REQUESTED: "waits for an approval",
    Kind.APPROVAL_ANSWERED: "has its approval answered",
    Kind.PROMOTION_STARTED: "is on its way into production",
    Kind.PROMOTED: "is in production, proved, and to be closed",
    Kind.PROMOTION_FAILED: "did not get into production",
    Kind.PRODUCTION_LOST: "found that production is gone",
    Kind.TAKEOVER_STARTED: "is being closed by the run that takes its lock over",
    Kind.RESTORE_STARTED: "is being taken back from production",
    Kind.CHAMPION_RESTORED: "was taken back from production",
    Kind.RESIZE_STARTED: "is being resized in production",
    Kind.RESIZED: "is resized in production",
    Kind.ROLLBACK_REHEARSED: "is rehearsed",
    Kind.MODEL_RESTORED: "is in the Model Catalog again",
    Kind.ROLLED_BACK: "is done and proved, and to be closed",
    Kind.ADOPTED: "has taken over what OCI has",
    Kind.RELEASE_REJECTED: "is rejected, and to be closed",
    Kind.RELEASE_CLOSED: "is closed",
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


def judge(book: Book) -> Status:
    """Return the phase that the ledger's newest facts add up to."""
    serving = f"v{book.production.version} serves" if book.production else "nothing is in production"
    release = book.releases.get(book.holder or "")
    if release is None:
        closed = [r for r in book.releases.values() if r.outcome == "failed"]
        newest = list(book.releases.values())[-1:]
        if newest and newest[0] in closed:
            return Status(Phase.DEGRADED, f"The newest release (v{newest[0].version}) failed; {serving}.")
        return Status(Phase.HEALTHY, f"No release is under way; {serving}.")
    if release.get(Kind.PROMOTION_FAILED) and not release.get(Kind.CHAMPION_RESTORED):
        what = "rollback to" if release.purpose == ROLLBACK else "promotion of"
        return Status(Phase.DEGRADED, f"The {what} v{release.version} failed and production is not settled.")
    if release.get(Kind.APPROVAL_REQUESTED) and not release.get(Kind.APPROVAL_ANSWERED):
        return Status(Phase.PAUSED, f"{_name(release)} waits for an approval; {serving}.")
    return Status(Phase.PROGRESSING, f"{_name(release)} {describe_progress(release)}; {serving}.")


def describe_progress(release: Release) -> str:
    """Return how far an open release has come, e.g. ``is validated on TEST``."""
    return PROGRESS[list(release.facts)[-1]]


def summarise(book: Book, project_name: str) -> str:
    """Return the guide's deployment summary."""
    title = project_name.replace("-", " ").title()
    lines = [RULE, f"🎯 {title} - Deployment Status", RULE, ""]
    if book.production:
        lines += [
            f"✅ PRODUCTION (v{book.production.version})",
            f"   Model: {book.production.model_id}",
            f"   Endpoint: {book.production.url}",
            f"   Deployed: {book.production.since}",
            "",
        ]
    else:
        lines += ["⬜ PRODUCTION: No production deployment", ""]
    lines += [*_describe_test(book), ""]
    current = f"v{book.production.version}" if book.production else "none"
    served = sum(1 for version in book.versions.values() if version.stage in SERVED)
    status = judge(book)
    lines += [
        f"📊 Current Version: {current}",
        f"📦 Total Deployments: {served}",
        f"🩺 {status.phase}: {status.message}",
    ]
    return "\n".join([*lines, RULE])


def describe_history(entries: Iterable[Entry]) -> str:
    """Return the ledger, one line an entry, whatever stands in it."""
    lines = [
        f"{entry.seq:>6}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<22}  {_show(entry.run_id)}  {_brief(entry.facts)}"
        for entry in entries
    ]
    return "\n".join(lines) or "The ledger is empty: no release has been opened yet."


def dump_history(entries: Iterable[Entry]) -> str:
    """Return the ledger as JSON, all of an entry in one line of ASCII."""
    return "\n".join(json.dumps(json.loads(entry.encode()), sort_keys=True) for entry in entries)


def describe_backups(backups: Iterable[Mapping[str, object]]) -> str:
    """Return the backups, one line each, oldest first."""
    lines = [f"v{backup['version']:<4} {backup['files']:>4} files  {backup['prefix']}" for backup in backups]
    return "\n".join(lines) or "There is no backup yet: the first is made when a second version is released."


def _name(release: Release) -> str:
    return f"The rollback to v{release.version}" if release.purpose == ROLLBACK else f"v{release.version}"


def _describe_test(book: Book) -> list[str]:
    release = book.releases.get(book.holder or "")
    test = release.get(Kind.TEST_DEPLOYED) if release else None
    if release is None or test is None or not test["deployment_id"]:
        return _describe_leftover(book) or ["🧪 TEST: No test deployment"]
    return [f"🧪 TEST (v{release.version})", f"   Deployment: {test['deployment_id']}", f"   Endpoint: {test['url']}"]


def _describe_leftover(book: Book) -> list[str]:
    """Return the TEST deployment of a release that a rollback has pre-empted: its own run deletes it, later."""
    releases = [release for release in book.releases.values() if release.purpose != ROLLBACK][-1:]
    for release in releases:
        test = release.get(Kind.TEST_DEPLOYED)
        if release.outcome == "pre-empted" and test and test["deployment_id"]:
            return [
                f"🧪 TEST (v{release.version}) of a release that was pre-empted: its run, or housekeeping, deletes it",
                f"   Deployment: {test['deployment_id']}",
            ]
    return []


def _brief(facts: Facts) -> str:
    params = facts.get("params")
    reason = {"reason": params["reason"]} if params and params.get("reason") else {}
    plain = {key: value for key, value in facts.items() if isinstance(value, str | int | float) and value != ""}
    return " ".join(f"{_show(key)}={_show(value)}" for key, value in {**plain, **reason}.items())


def _show(value: object) -> str:
    """Return a value as one word: quoted where it has spaces, and with every character that could mislead spelled."""
    text = str(value)
    if not text.isprintable() or any(character in ' ="\\' for character in text):
        text = json.dumps(text, ensure_ascii=False)
    return "".join(_spell(character) for character in text)


def _spell(character: str) -> str:
    """Return a character; spelled as in JSON where it is a control, is invisible or breaks lines."""
    is_plain = unicodedata.category(character)[0] not in "CZ" or character == " "
    return character if is_plain else json.dumps(character).strip('"')
