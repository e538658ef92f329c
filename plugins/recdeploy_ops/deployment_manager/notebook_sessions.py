"""The release of a notebook session: its run id, and the lock from the first cell to the decision.

The ledger records the session of each release, so that a second manager in the same kernel continues it. A notebook
cannot look up whether an Airflow run has ended: a run that holds the lock counts as in progress. Whether another
notebook's kernel is alive is not known: its release counts as ended when its lease is over.
"""

from __future__ import annotations

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

SESSION = uuid.uuid4().hex[:12]  # of this kernel


class NotebookSession:
    """Opens, finds and advances the releases of one kernel.

    Args:
        context: of the steps; each run replaces its run id.
        caller: name of the person who runs the cells, for the ledger.
        session: identifies the kernel, which continues its own release.
    """

    def __init__(self, context: ReleaseContext, caller: str, session: str = SESSION) -> None:
        self._context = context
        self.caller = caller
        self.session = session

    def context(self, run_id: str) -> ReleaseContext:
        """Return the context of a run's steps."""
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
        """Return the open release of any notebook with this test deployment, or None."""
        release = self._read().holding_release
        tested = release.get(TestDeployed) if release and release.is_from_notebook else None
        return release if deployment_id and tested and tested.deployment_id == deployment_id else None

    def require(self, message: str) -> Release:
        """Return this session's open release.

        Raises:
            CellOrderError: there is none; the text begins with ``message``.
        """
        release = self.own()
        if release is None:
            raise CellOrderError(f"{message}: {self._why_none()}")
        return release

    def require_undecided(self, message: str) -> Release:
        """Return this session's open release if it may still be changed.

        Raises:
            CellOrderError: there is none, or its promotion has begun and must end first.
        """
        return _undecided(self.require(message))

    def open(self, params: RetrainParams) -> Release:
        """Return this session's release; if there is none, open one and back up production.

        Raises:
            LockHeldError: another release is in progress; says whose and what to do.
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
        """Open a rollback, or continue this session's if it is the same one, and return its run id.

        Raises:
            CellOrderError: this session has an unfinished rollback to another version or with another reason.
        """
        params = storable(params)
        release = self.own(Purpose.ROLLBACK)
        if release is not None:
            _require_same(release, params)
        run_id = release.run_id if release else self._new_run_id()
        self._plan(plan_rollback.advance, run_id, params)
        return run_id

    def change_params(self, release: Release, **changes: Any) -> Release:
        """Reopen this session's release with other params; what was made so far stays valid."""
        params = replace(release.retrain_params, **changes)
        return release if params == release.params else locks.open_again(self.context(release.run_id), params)

    def resume(self) -> Release:
        """Continue the notebook release of the same user that an ended kernel has left open.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("resume")
        self.session = release.params.session or self.session
        return release

    def abandon(self) -> Release:
        """Close the open notebook release of the same user, whichever kernel it belongs to.

        The takeover first invalidates production's etag, so that OCI refuses a change that the other kernel has
        prepared.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("abandon")
        context = self.context(self._new_run_id())

        def take_over() -> Outcome:
            return takeovers.advance_takeover(context, has_ended=lambda held: held.run_id == release.run_id) or {}

        with self.explaining():
            finish(context, take_over)
        return release

    def confirm_lock(self, context: ReleaseContext) -> Release:
        """Return the release of a run that must hold the lock."""
        with self.explaining():
            return context.confirm_lock()

    def finish(self, advance: Callable[..., Outcome], run_id: str, **arguments: Any) -> Summary:
        """Advance a step until it is done."""
        context = self.context(run_id)
        with self.explaining():
            return finish(context, partial(advance, context, **arguments))

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Render the remedies of errors for a notebook."""
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
        """Return whether a run that holds the lock has ended; an Airflow run counts as in progress."""
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
            return f"run Cells 1 to 10 first, in order. The run {holder.run_id} holds the lock.{self._advice()}"
        return "run Cells 1 to 10 first, in order."

    def _advice(self) -> str:
        holder = self._context.state.holding_release
        if holder is None or not self._is_of_caller(holder):
            return ""
        return (
            f" That release is your own ({self.caller}). If its kernel has ended: manager.resume_release() continues "
            "it here, manager.abandon_release() closes it."
        )

    def _new_run_id(self) -> str:
        user = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.caller.partition(" ")[0])
        return f"notebook-{self._context.now():%Y%m%dT%H%M%S}-{user}-{uuid.uuid4().hex[:4]}"


def has_begun_promotion(release: Release) -> bool:
    """Return whether a release's promotion has begun, or is done."""
    return release.get(SwitchStarted) is not None or release.get(Promoted) is not None


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
