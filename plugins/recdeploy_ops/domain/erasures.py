"""What erasing a customer changes, what still serves them, and what it cannot reach: decided as a pure function."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import ChampionBacktested, CustomerErased, StoredEvent
from recdeploy_ops.domain.holdings import FolderKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.holdings import StoredFolder
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.versions import Version

BEYOND = (
    "The source database: delete the customer there first, or the next release extracts them again.",
    "OCI's logs of production, and what clients, Airflow's logs and the work folders of running processes have kept.",
)


# Their rows are those of an extract, by position or hashed. They are not needed again: housekeeping trains what a
# release needs, and hashes only stand in for an extract that is gone.
FROM_AN_EXTRACT = frozenset({FolderKind.GATE_MODELS, FolderKind.BACKTESTS, FolderKind.ROW_HASHES})


class Fate(StrEnum):
    """What happens to a folder that names the customer."""

    REWRITE = "is stored again without them"
    REMOVE = "is deleted: nothing reads it again"
    SERVES = "stays until another version is promoted: it is what production serves"
    FOREIGN = "stays: another project made it, and its files are not understood"


@dataclass(frozen=True)
class Trace:
    """Where the customer is.

    Attributes:
        folder: in storage.
        in_artifact: whether its artifact names them; for a backup, that of its artifact.
        in_others: whether another file of it does.
    """

    folder: StoredFolder
    in_artifact: bool = False
    in_others: bool = False


@dataclass(frozen=True)
class Decision:
    """A trace, and what happens to its parts.

    Attributes:
        trace: where the customer is.
        artifact: what happens to its artifact; None if that does not name them.
        others: what happens to its other files; None likewise.
    """

    trace: Trace
    artifact: Fate | None = None
    others: Fate | None = None

    @property
    def is_rewritten(self) -> bool:
        """Return whether the folder is stored again."""
        return Fate.REWRITE in {self.artifact, self.others}

    @property
    def is_removed(self) -> bool:
        """Return whether the folder is deleted without a successor."""
        return self.others is Fate.REMOVE


@dataclass(frozen=True)
class Leftovers:
    """What earlier erasings replaced or removed, and may have left behind when they were killed.

    Attributes:
        prefixes: of folders, and keys of reports.
        digests: of bundles, so also those of artifacts in the catalog.
    """

    prefixes: frozenset[str]
    digests: frozenset[str]


@dataclass(frozen=True)
class ErasurePlan:
    """What erasing a customer does.

    Attributes:
        seq: number of the newest entry of the ledger from which it was made.
        decisions: about each folder.
        reports: keys of reports and pages that are stored again.
        models: OCIDs of catalog models that an earlier erasing has replaced, and that are still there.
        unreached: what names the customer and stays, in sentences.
    """

    seq: int
    decisions: tuple[Decision, ...] = ()
    reports: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    unreached: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to change."""
        has_work = any(decision.is_rewritten or decision.is_removed for decision in self.decisions)
        return not (has_work or self.reports or self.models)


def find_leftovers(entries: Iterable[Entry]) -> Leftovers:
    """Return what earlier erasings have replaced."""
    events = [entry.event for entry in entries if isinstance(entry.event, CustomerErased)]
    replaced = [one for event in events for one in event.rewritten if one.key != one.new_key]
    removed = {prefix for event in events for prefix in event.removed}
    return Leftovers(frozenset({one.key for one in replaced} | removed), frozenset(one.sha256 for one in replaced))


def decide(state: LedgerState, trace: Trace, leftovers: Leftovers) -> Decision:
    """Return what happens to a folder that names the customer."""
    folder = trace.folder
    is_whole = folder.keys[:1] == (f"{folder.prefix}/manifest.json",)
    if not is_whole or folder.prefix in leftovers.prefixes or folder.kind in FROM_AN_EXTRACT:
        return Decision(trace, others=Fate.REMOVE)
    if folder.kind is FolderKind.BACKUP:
        version = state.versions.get(folder.version or 0)
    elif folder.prefix not in _named_prefixes(state):
        return Decision(trace, others=Fate.REMOVE)
    else:
        version = next((one for one in state.versions.values() if one.artifact == folder.prefix), None)
    return Decision(
        trace,
        artifact=_fate_of_artifact(state, version) if trace.in_artifact else None,
        others=Fate.REWRITE if trace.in_others else None,
    )


def _fate_of_artifact(state: LedgerState, version: Version | None) -> Fate:
    if version is not None and state.production and state.production.version == version.number:
        return Fate.SERVES
    return Fate.REWRITE if version is None or version.digest else Fate.FOREIGN


def _named_prefixes(state: LedgerState) -> set[str]:
    """Return the prefixes that the state names: nothing reads any other."""
    named = {prefix for version in state.versions.values() for prefix in (version.artifact, version.results)}
    for release in state.releases.values():
        stored = (event for event in release.events.values() if isinstance(event, StoredEvent))
        named |= {event.prefix for event in stored if not isinstance(event, ChampionBacktested)}
    return named


def describe_erasure(plan: ErasurePlan) -> str:
    """Return the plan as text, without the customer's id."""
    lines = []
    for decision in plan.decisions:
        prefix = decision.trace.folder.prefix
        if decision.artifact is not None and decision.artifact is decision.others:
            lines.append(f"{prefix} {decision.artifact}.")
            continue
        if decision.others is not None:
            lines.append(f"{prefix} {decision.others}.")
        if decision.artifact is not None:
            lines.append(f"The artifact in {prefix} {decision.artifact}.")
    lines += [f"{key} {Fate.REWRITE}." for key in plan.reports]
    lines += [f"The model {model} is deleted: an earlier erasing has replaced it." for model in plan.models]
    if plan.is_empty:
        lines.append("Nothing to do: no other file in storage names this customer." if lines else NOT_FOUND)
    lines += ["Not reached:", *(f"  {line}" for line in (*plan.unreached, *BEYOND))]
    return "\n".join(lines)


NOT_FOUND = "Nothing to do: no file in storage names this customer."
