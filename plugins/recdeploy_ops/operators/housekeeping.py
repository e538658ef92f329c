"""Tidying up after runs that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import LockHeldError, SettingsError
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.operators.releases import has_ended

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.ledger import Book
    from recdeploy_ops.domain.waiting import Outcome


class HousekeepingOperator(ReleaseStepOperator):
    """Closes what a dead run left open, and deletes TEST deployments that nobody needs."""

    def advance(self, context: Context) -> Outcome:
        """Tidy up."""
        from recdeploy_ops.steps import housekeeping

        releases = self.hook.releases

        def is_dead(dag_id: str, run_id: str) -> bool:
            try:
                return has_ended(releases, context, dag_id, run_id)
            except LockHeldError as err:  # nothing to be done about it here: all else is tidied up
                self.log.warning("%s", err)
                return False

        outcome = housekeeping.advance(releases, has_ended=is_dead)
        ended_run = context["params"].get("ended_run")
        if ended_run and not isinstance(outcome, Waiting):
            _require_closed(releases.ledger.book(), ended_run)
        return outcome


def _require_closed(book: Book, ended_run: str) -> None:
    """Refuse to end well where a person has named a run in vain, and believes that its lock is freed.

    Raises:
        SettingsError: there is no such run, or it is under way.
    """
    release = book.releases.get(ended_run)
    if release is None:
        holder = f"the run {book.holder} holds" if book.holder else "no run holds"
        raise SettingsError(
            f"ended_run is {ended_run!r}, of which the ledger knows nothing: {holder} the release lock. Name a run as "
            "make status does."
        )
    if release.is_open:
        raise SettingsError(
            f"ended_run is {ended_run!r}, which this Airflow or a notebook knows as under way: its release stays open. "
            "Mark that run as failed, or end it in its notebook."
        )
