"""Rollback, step 1: choose the version, take the release lock, even from a release that only waits for an approval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.ledger import ROLLBACK, Kind
from recdeploy_ops.domain.release_plan import choose_target
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
    """Open a rollback.

    Args:
        releases: what the steps work with.
        run_id: the run.
        dag_id: the DAG of the run.
        params: ``version`` (a number or ``previous``), ``reason``, ``require_approval``.
        triggered_by: name of the person who triggered the run; None when nobody did.
        has_ended: says of a DAG id and a run id whether that run has ended.

    Raises:
        SettingsError: there is no such version.
        IllegalTransitionError: that version never served, or serves now.
        LockHeldError: a live run is past its approval.
    """
    releases.store.check_writable()
    releases.catalog.check_access()
    known = releases.ledger.book().releases.get(run_id)
    target = releases.ledger.book().versions[known.version] if known else None
    target = target or choose_target(releases.ledger.book(), _wanted(params["version"]))
    waiting = locks.advance_takeover(releases, run_id, has_ended=has_ended, preempting=True)
    if waiting:
        return waiting
    book = releases.ledger.book()
    serving = book.production.version if book.production else None
    if known is None or not known.is_open:
        facts = {
            "purpose": ROLLBACK,
            "version": target.number,
            "dag_id": dag_id,
            "params": dict(params),
            "champion": serving,
            "settings": releases.keep_settings(run_id),
            "triggered_by": triggered_by,
            "opening": known.facts[Kind.RELEASE_OPENED]["opening"] + 1 if known else 1,
        }
        locks.take(releases, run_id, facts)
    log.info("Production goes from v%s back to v%s: %s", serving, target.number, params["reason"] or "no reason given")
    return {"version": target.number, "from": serving}


def _wanted(version: int | str) -> int | str:
    """Return the param as a number where it is one: Airflow's form gives text."""
    return int(version) if isinstance(version, str) and version.isdecimal() else version
