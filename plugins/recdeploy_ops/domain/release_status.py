"""What is going on, in one word and one sentence, and the summaries that people read."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from recdeploy_ops.domain.ledger import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.ledger import Book, Entry, Facts

RULE = "=" * 60


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
        return Status(Phase.DEGRADED, f"The promotion of v{release.version} failed and production is not settled.")
    if release.get(Kind.APPROVAL_REQUESTED) and not release.get(Kind.APPROVAL_ANSWERED):
        return Status(Phase.PAUSED, f"v{release.version} waits for an approval; {serving}.")
    at = list(release.facts)[-1]
    return Status(Phase.PROGRESSING, f"v{release.version} is past {at}; {serving}.")


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
        lines += ["✅ PRODUCTION: No production deployment", ""]
    lines += [*_describe_test(book), ""]
    current = f"v{book.production.version}" if book.production else "none"
    promoted = sum(1 for release in book.releases.values() if release.get(Kind.PROMOTED))
    status = judge(book)
    lines += [
        f"📊 Current Version: {current}",
        f"📦 Total Deployments: {promoted}",
        f"🩺 {status.phase}: {status.message}",
    ]
    return "\n".join([*lines, RULE])


def describe_history(entries: Iterable[Entry]) -> str:
    """Return the ledger, one line an entry."""
    lines = [
        f"{entry.seq:>6}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<22}  {entry.run_id}  {_brief(entry.facts)}"
        for entry in entries
    ]
    return "\n".join(lines) or "The ledger is empty: no release has been opened yet."


def describe_backups(backups: Iterable[Mapping[str, object]]) -> str:
    """Return the backups, one line each, oldest first."""
    lines = [f"v{backup['version']:<4} {backup['files']:>4} files  {backup['prefix']}" for backup in backups]
    return "\n".join(lines) or "There is no backup yet: the first is made when a second version is released."


def _describe_test(book: Book) -> list[str]:
    release = book.releases.get(book.holder or "")
    test = release.get(Kind.TEST_DEPLOYED) if release else None
    if release is None or test is None or not test["deployment_id"]:
        return ["🧪 TEST: No test deployment"]
    return [f"🧪 TEST (v{release.version})", f"   Deployment: {test['deployment_id']}", f"   Endpoint: {test['url']}"]


def _brief(facts: Facts) -> str:
    plain = {key: value for key, value in facts.items() if isinstance(value, str | int | float) and value != ""}
    return " ".join(f"{key}={str(value)[:60]!s}" for key, value in plain.items())
