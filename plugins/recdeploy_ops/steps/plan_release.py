"""Step 1: allocate the version, take the release lock, compare the ledger with OCI, print the plan."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.ledger import RETRAIN, Kind
from recdeploy_ops.domain.release_plan import plan
from recdeploy_ops.steps import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome

log = logging.getLogger(__name__)


def advance(
    releases: Releases,
    run_id: str,
    *,
    dag_id: str,
    params: Mapping[str, Any],
    triggered_by: str | None,
    has_ended: Callable[[str, str], bool],
) -> Outcome:
    """Open the release of a run, or open it again.

    Storage and OCI are tried before the lock is taken, so that a wrong setting leaves nothing behind.

    Args:
        releases: what the steps work with.
        run_id: the run.
        dag_id: the DAG of the run.
        params: the run's params, kept in the ledger.
        triggered_by: name of the person who triggered the run; None for the schedule.
        has_ended: says of a DAG id and a run id whether that run has ended.

    Raises:
        LockHeldError: a live run holds the lock.
        StateMismatchError: OCI's production is not what the ledger says.
    """
    releases.store.check_writable()
    releases.catalog.check_access()
    waiting = locks.advance_takeover(releases, run_id, has_ended=has_ended)
    if waiting:
        return waiting
    book = releases.ledger.book()
    found = plan(
        book,
        run_id,
        highest_in_catalog=releases.highest_version_in_catalog(),
        production=releases.production(),
    )
    if found.record:
        before = book.releases.get(run_id)
        opening = before.facts[Kind.RELEASE_OPENED]["opening"] + 1 if before else 1
        facts = {
            "purpose": RETRAIN,
            "version": found.version,
            "dag_id": dag_id,
            "params": dict(params),
            "champion": book.production.version if book.production else None,
            "settings": releases.keep_settings(run_id),
            "triggered_by": triggered_by,
            "opening": opening,
        }
        locks.take(releases, run_id, facts)
    for line in found.summary:
        log.info("%s", line)
    return {"version": found.version, "plan": list(found.summary)}
