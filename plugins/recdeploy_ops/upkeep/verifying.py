"""Verify the ledger from a terminal: its own entries first, then what the tags in OCI say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import RecdeployError
from recdeploy_ops.domain.events import Adopted, Promoted, RolledBack
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.ledger.audits import audit, find_misdated
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.storage.keys import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.ledger.ledger import Ledger
    from recdeploy_ops.storage.stores import Store

WHOLE, FAULTY, NOT_COMPARED = 0, 1, 2
DAMAGED = "The ledger is damaged. Run the DAG recommender_adopt to rebuild it from OCI."
ELSEWHERE = (
    "Production has a ledger that is not in this storage. Correct the setting storage; only if that ledger is lost, "
    "run the DAG recommender_adopt to rebuild it from OCI."
)
UNNOTICED = "Entries cut off together with the snapshot would not be noticed."
NO_TAG = (
    "The ledger says that a version went into production, but no deployment in OCI has a tag that names an entry: "
    "nothing was compared. Either production was deleted, or somebody has removed its tags, and the ledger may have "
    "been rewritten. Find out which in OCI's audit log; the DAG recommender_adopt shows what OCI has."
)
"""There should be a tag, and there is none."""


def verify(
    store: Store, ledger: Ledger, open_tenancy: Callable[[], ReleaseContext], say: Callable[[str], None], nothing: str
) -> int:
    """Verify the ledger, say what was found, and return the exit code.

    Args:
        store: the storage root.
        ledger: in it.
        open_tenancy: opens what reads OCI's tags; its errors are said.
        say: shows a line to the person.
        nothing: what to say without a ledger.

    Returns:
        0: whole and compared with a tag, or nothing was in production yet, so that no tag exists; 1: damaged or
        missing, or an entry has a wrong date; 2: the entries are whole, but were not compared with a tag.
    """
    faults = audit(store, tagged_heads={}, seal=ledger.seal)
    count = sum(1 for stored in store.list(LEDGER) if stored.key.endswith(".json"))
    misdated = [] if faults else find_misdated(ledger.entries())
    for line in faults or misdated or [_describe_whole(ledger) if count else nothing]:
        say(line)
    try:
        heads = find_tagged_heads(open_tenancy())
    except RecdeployError as err:
        err.audience = Audience.TERMINAL
        say(f"The tags could not be compared: {err}\n{UNNOTICED}")
        return FAULTY if faults or misdated or not count else NOT_COMPARED
    more_faults = [fault for fault in audit(store, tagged_heads=heads, seal=ledger.seal) if fault not in faults]
    for fault in more_faults:
        say(fault)
    if faults or more_faults:
        say(DAMAGED if count else ELSEWHERE)
        return FAULTY
    code, line = _judge_tags(ledger, list(heads))
    say(line)
    return FAULTY if misdated or not count else code


def _judge_tags(ledger: Ledger, tagged: list[str]) -> tuple[int, str]:
    """Return the exit code of a ledger without a fault, and a line on what it was compared with.

    Args:
        ledger: whole or empty.
        tagged: the resources in OCI whose tags agree with it.
    """
    if tagged:
        return WHOLE, f"It agrees with the tags of {' and '.join(tagged)}."
    if any(isinstance(entry.event, Promoted | RolledBack | Adopted) for entry in ledger.entries()):
        return NOT_COMPARED, f"{NO_TAG}\n{UNNOTICED}"
    return WHOLE, "No version went into production yet, so there is no tag to compare."


def _describe_whole(ledger: Ledger) -> str:
    """Return a sentence on the entries, which have no fault, and on their signatures."""
    entries = ledger.entries()
    signed = sum(entry.signature is not None for entry in entries)
    whole = f"The ledger's {len(entries)} entries are whole"
    if ledger.seal is None and signed:
        return f"{whole}. {signed} of them are signed, but the signatures were not checked: the settings name no key."
    if ledger.seal is None:
        return f"{whole}. They are not signed: anyone who can write to the storage can append one (docs/security.md)."
    return f"{whole}, and {signed} of them have a valid signature."
