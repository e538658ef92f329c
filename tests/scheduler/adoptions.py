"""The loss of the ledger and its adoption under the scheduler: the steps, and the facts that the tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services import Installation

    from demo.cloud import Endpoint
    from demo.releases import Outcome
    from recdeploy_ops.domain.ledger_state import LedgerState

ADOPTION, TASK = "recommender_adopt", "adopt_production"


@dataclass(frozen=True)
class Adoption:
    """One run of the adoption.

    Attributes:
        outcome: how it ended.
        result: what its task returned.
        log: of its task.
        entries: types of the ledger's events after it.
    """

    outcome: Outcome
    result: dict[str, Any]
    log: str
    entries: list[str]


@dataclass(frozen=True)
class LostLedger:
    """The whole ledger was lost, and adopted from OCI.

    Attributes:
        before: the ledger's state before it was lost.
        shown: the run that only shows the difference.
        applied: the run that writes.
        after: the ledger's state after that run.
        production_before: production when the ledger was lost.
        production_after: production at the end.
        answer: of production at the end.
        faults: of the ledger at the end, as the audit names them.
    """

    before: LedgerState
    shown: Adoption
    applied: Adoption
    after: LedgerState
    production_before: Endpoint
    production_after: Endpoint
    answer: dict[str, Any]
    faults: list[str]


def lose_ledger(installation: Installation) -> None:
    """Move the ledger out of the storage, the snapshot with it."""
    (installation.home.storage / "ledger").rename(installation.home.path / "lost-ledger")


def adopt(installation: Installation, **params: Any) -> Adoption:
    """Run the adoption."""
    adoptions = installation.of(ADOPTION)
    run_id = adoptions.trigger("adopt", **params)
    outcome = adoptions.follow(run_id)
    return Adoption(
        outcome=outcome,
        result=adoptions.admin.xcom(run_id, TASK),
        log=adoptions.admin.log_text(run_id, TASK, outcome.tasks[TASK].attempt),
        entries=[str(entry.type) for entry in installation.releases().ledger.entries()],
    )
