"""A notebook session as a release: a run id of its own, the lock from the first cell to the decision.

The ledger says which release belongs to which session, so that a second manager in the same kernel goes on with
it. Airflow cannot be asked from here whether a run that holds the lock has ended: it counts as in progress. Nobody
knows whether a notebook's kernel lives: its release ends with its lease.
"""

from __future__ import annotations

import logging
import re
import uuid
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import storable
from recdeploy_ops.domain.errors import CellOrderError, LockHeldError, MissingInputError, RecdeployError
from recdeploy_ops.domain.events import (
    NOTEBOOK,
    ProductionBackedUp,
    Promoted,
    Purpose,
    SwitchStarted,
    TestDeployed,
)
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.rollout import locks, takeovers
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import backup_production, plan_release, plan_rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.params import Params, RetrainParams, RollbackParams
    from recdeploy_ops.domain.waiting import Outcome, Summary

log = logging.getLogger(__name__)

SESSION = uuid.uuid4().hex[:12]  # of this kernel: gone when it ends


class NotebookSession:
    """What one kernel does to the releases.

    Args:
        context: of no run: what the steps of each run work with, besides its id.
        caller: who runs the cells, as the ledger is to name them.
        session: tells kernels apart; the same one goes on with its release.
    """

    def __init__(self, context: ReleaseContext, caller: str, session: str = SESSION) -> None:
        self._context = context
        self.caller = caller
        self.session = session

    def context(self, run_id: str) -> ReleaseContext:
        """Return what the steps of a run work with."""
        return self._context.of_run(run_id)

    def own(self, purpose: Purpose = Purpose.RETRAIN) -> Release | None:
        """Return this session's open release, or None."""
        release = self._read().holding_release
        is_own = release is not None and self._is_own(release) and release.purpose is purpose
        return release if is_own else None

    def newest(self) -> Release | None:
        """Return this session's newest release, open or closed, or None."""
        own = [r for r in self._read().releases.values() if self._is_own(r) and not r.is_rollback]
        return own[-1] if own else None

    def find_tested(self, deployment_id: str | None) -> Release | None:
        """Return the open release of any notebook whose test deployment this is, or None."""
        release = self._read().holding_release
        tested = release.get(TestDeployed) if release and release.is_from_notebook else None
        return release if deployment_id and tested and tested.deployment_id == deployment_id else None

    def require(self, message: str) -> Release:
        """Return this session's open release.

        Raises:
            CellOrderError: there is none; begins with ``message``.
        """
        release = self.own()
        if release is None:
            raise CellOrderError(f"{message}: {self._why_none()}")
        return release

    def require_undecided(self, message: str) -> Release:
        """Return this session's open release while it may still be changed.

        Raises:
            CellOrderError: there is none, or its promotion has begun: to go back would lose what it has to put right.
        """
        return _undecided(self.require(message))

    def open(self, params: RetrainParams) -> Release:
        """Return this session's release, opened and backed up when there is none yet.

        Raises:
            LockHeldError: somebody else's release is in progress; says whose and what to do.
        """
        release = self.own()
        if release is not None:
            _undecided(release)
        run_id = release.run_id if release else self._new_run_id()
        if release is None:
            self._plan(plan_release.advance, run_id, params)
        if release is None or release.get(ProductionBackedUp) is None:
            self.finish(backup_production.advance, run_id)
        return self.context(run_id).confirm_lock()

    def open_rollback(self, params: RollbackParams) -> str:
        """Open a rollback, or go on with this session's when it is the same one, and return its run id.

        Raises:
            CellOrderError: this session's unfinished rollback goes elsewhere, or has another reason.
        """
        params = storable(params)
        release = self.own(Purpose.ROLLBACK)
        if release is not None:
            _require_same(release, params)
        run_id = release.run_id if release else self._new_run_id()
        self._plan(plan_rollback.advance, run_id, params)
        return run_id

    def change_params(self, release: Release, **changes: Any) -> Release:
        """Open this session's release again with other params; what was made so far stays valid."""
        params = replace(release.retrain_params, **changes)
        return release if params == release.params else locks.open_again(self.context(release.run_id), params)

    def resume(self) -> Release:
        """Go on with the notebook release of the same user that an ended kernel has left open.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("resume")
        self.session = release.params.session or self.session
        return release

    def abandon(self) -> Release:
        """Close the open notebook release of the same user, whichever kernel it belongs to.

        The takeover first invalidates production's etag, so that a change which the other kernel has prepared is
        refused.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("abandon")
        context = self.context(self._new_run_id())

        def take_over() -> Outcome:
            ended = partial(_is_run, release.run_id)
            return takeovers.advance_takeover(context, has_ended=ended) or {}

        finish(context, take_over)
        return release

    def finish(self, advance: Callable[..., Outcome], run_id: str, **arguments: Any) -> Summary:
        """Advance a step until it is done."""
        context = self.context(run_id)
        with self.explaining():
            return finish(context, partial(advance, context, **arguments))

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Let an error tell its remedy to a person who reads it in a notebook."""
        try:
            yield
        except MissingInputError as err:
            raise self._addressed(CellOrderError(err.message, err.remedy)) from err
        except LockHeldError as err:
            raise self._addressed(LockHeldError(err.message + self._advice(), err.remedy)) from err
        except RecdeployError as err:
            self._addressed(err)
            raise

    def _addressed(self, err: RecdeployError) -> RecdeployError:
        err.audience = Audience.NOTEBOOK
        return err

    def _plan(self, advance: Callable[..., Outcome], run_id: str, params: Params) -> None:
        opening = locks.Opening(
            dag_id=NOTEBOOK,
            params=replace(params, session=self.session),
            triggered_by=self.caller,
            has_ended=self._has_ended,
        )
        self.finish(advance, run_id, opening=opening)

    def _has_ended(self, holder: Release) -> bool:
        """Return whether a run that holds the lock has ended; one of Airflow counts as in progress."""
        return holder.is_outside_airflow and locks.has_lease_ended(self._context, holder)

    def _read(self) -> LedgerState:
        return self._context.refresh()

    def _is_own(self, release: Release) -> bool:
        return release.params.session == self.session

    def _open_one_of_caller(self, verb: str) -> Release:
        release = self._read().holding_release
        if release is None:
            raise CellOrderError(f"There is nothing to {verb}: no release is in progress.")
        if not self._is_of_caller(release):
            raise CellOrderError(
                f"The release v{release.version} (run {release.run_id}) is not yours to {verb}: it was opened by "
                f"{release.opened.triggered_by or 'a schedule'} in {release.opened.dag_id}. End it there."
            )
        return release

    def _is_of_caller(self, release: Release) -> bool:
        return release.is_from_notebook and release.opened.triggered_by == self.caller

    def _why_none(self) -> str:
        last, holder = self.newest(), self._context.state.holding_release
        if last is not None and not last.is_open:
            return f"the release v{last.version} of this session is closed ({last.outcome}). Begin again with Cell 1."
        if holder is not None:
            held = f"The lock is taken: {holder.run_id} holds it.{self._advice()}"
            return f"run Cells 1 to 10 first, in order. {held}"
        return "run Cells 1 to 10 first, in order."

    def _advice(self) -> str:
        holder = self._context.state.holding_release
        if holder is None or not self._is_of_caller(holder):
            return ""
        return (
            f" That release is your own ({self.caller}). If its kernel has ended: manager.resume_release() goes on "
            "with it here, manager.abandon_release() closes it."
        )

    def _new_run_id(self) -> str:
        user = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.caller.partition(" ")[0])
        return f"notebook-{self._context.now():%Y%m%dT%H%M%S}-{user}-{uuid.uuid4().hex[:4]}"


def has_begun_promotion(release: Release) -> bool:
    """Return whether a release's promotion has begun, or is done."""
    return release.get(SwitchStarted) is not None or release.get(Promoted) is not None


def _is_run(run_id: str, release: Release) -> bool:
    return release.run_id == run_id


def _undecided(release: Release) -> Release:
    if has_begun_promotion(release):
        raise CellOrderError(
            f"The promotion of v{release.version} is in progress and must end first: run Cell 12 again."
        )
    return release


def _require_same(release: Release, params: RollbackParams) -> None:
    begun = release.rollback_params
    if str(params.version) in {str(begun.version), str(release.version)} and params.reason == begun.reason:
        return
    raise CellOrderError(
        f"The rollback to v{release.version} ({begun.reason!r}) is not finished: call manager.roll_back_production("
        f"{begun.version!r}, {begun.reason!r}) again to finish it, or manager.abandon_release() to give it up. Only "
        f"then can production go to {params.version!r} ({params.reason!r})."
    )
