"""A rollback from a terminal while Airflow is down, with the same steps, lock and events as the DAG.

Airflow cannot tell whether a run that holds the release lock has ended: its lease or the person decides.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import storable
from recdeploy_ops.domain.errors import (
    NEEDS_A_PERSON,
    DeploymentFailedError,
    LockHeldError,
    RecdeployError,
    StateMismatchError,
    TransientError,
)
from recdeploy_ops.domain.events import TERMINAL
from recdeploy_ops.domain.params import RollbackParams
from recdeploy_ops.domain.production_checks import reconcile
from recdeploy_ops.domain.release_plan import describe_command
from recdeploy_ops.domain.remedies import Audience, TryAgain
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.rollbacks.runs import switch_back
from recdeploy_ops.rollout import locks, takeovers
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.production_reports import reporting_production
from recdeploy_ops.rollout.switches import verify_switched
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import close_release, plan_rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.domain.terminal_rollbacks import RollbackPlan, RollbackRequest
    from recdeploy_ops.domain.waiting import Outcome, Summary

log = logging.getLogger(__name__)

TRIES = 3  # of a step with transient errors, like the DAG's tasks
DONE, NOT_DONE, NEEDS_PERSON = 0, 1, 2  # exit codes


class TerminalRollback:
    """One rollback from a terminal.

    Args:
        context: of the steps; its run id is replaced.
        request: what the person requested.
        plan: what the person confirmed.
        caller: the person's name for the ledger.
    """

    def __init__(self, context: ReleaseContext, request: RollbackRequest, plan: RollbackPlan, caller: str) -> None:
        self._request, self._plan, self._caller = request, plan, caller
        # A new run is named after the ledger's head: if it is killed before its first entry, the next try has its id.
        new = f"{TERMINAL}-v{plan.version}-after-{context.state.seq}"
        self._context = context.of_run(plan.begun.run_id if plan.begun else new)

    def run(self) -> dict[str, Any]:
        """Take the remaining steps until production is verified and the release is closed.

        Returns:
            ``version``, ``url`` and ``digest`` of what production serves; ``left``: what could not be done when the
            release was closed, or None.

        Raises:
            LockHeldError: another release is in progress, or may be.
            PromotionFailedError: the switch failed; says what production serves now.
            RecdeployError: as the steps of a rollback.
        """
        begun = self._plan.begun
        with self._explaining(), reporting_production(self._context, of_holder=True):
            if self._plan.is_restored:
                self._retry("takeover", self._take_over)
                return self._verify_done() | {"left": None}
            if self._plan.is_done:
                done = self._verify_done()
                return done | {"left": self._close() if begun else None}
            is_switching = begun is not None and begun.open_switch is not None
            if not is_switching:
                self._take(plan_rollback.advance, opening=self._opening())
            done = switch_back(self._take, rehearse=not is_switching, stays_open=self._stays_open)
            return done | {"left": self._close()}

    def judge(self, err: RecdeployError) -> tuple[int, str]:
        """Return the exit code after an error of `run`, and the message for the person."""
        return (NEEDS_PERSON if err.message.startswith(NEEDS_A_PERSON) else NOT_DONE), str(err)

    def _verify_done(self) -> dict[str, Any]:
        """Verify that production serves what the ledger says."""
        context = self._context
        serving, production = context.state.production, find_production(context)
        if serving is None or production is None:
            raise StateMismatchError("Nothing is in production: there is nothing to roll back.")
        try:
            reconcile(context.state, production)
            verify_switched(context, production, version=serving.version, digest=serving.digest)
        except (StateMismatchError, DeploymentFailedError) as err:
            raise DeploymentFailedError(
                f"{NEEDS_A_PERSON}. The ledger says that v{serving.version} serves already, but: {err.message}",
                err.remedy,
            ) from err
        return {"version": serving.version, "url": serving.url, "digest": serving.digest}

    def _close(self) -> str | None:
        """Close the release of a verified rollback; return what could not be done."""
        try:
            self._take(close_release.advance)
        except RecdeployError as err:
            if err.message.startswith(NEEDS_A_PERSON):
                raise
            return str(_addressed(err))
        return None

    def _take(self, advance: Callable[..., Outcome], **arguments: Any) -> Summary:
        """Advance a step until it is done."""
        return self._retry(advance.__module__.rpartition(".")[2], partial(advance, **arguments))

    def _retry(self, name: str, advance: Callable[[ReleaseContext], Outcome]) -> Summary:
        """Advance a step until it is done; try again after a transient error."""
        log.info("%s ...", name)
        pause = self._context.settings.release.poll_seconds
        for number in range(1, TRIES):
            try:
                return self._try(advance, number, pause)
            except TransientError as err:
                log.warning("%s failed: %s", name, err.message)
                time.sleep(pause)
        return self._try(advance, TRIES, pause)

    def _try(self, advance: Callable[[ReleaseContext], Outcome], number: int, pause: float) -> Summary:
        context = replace(self._context, tries=Tries(number, TRIES, timedelta(seconds=pause)))
        return finish(context, partial(advance, context))

    def _take_over(self, context: ReleaseContext) -> Outcome:
        """Restore the champion by closing the release of the run that was switching production."""
        return takeovers.advance_takeover(context, has_ended=self._has_ended) or {}

    def _stays_open(self, err: RecdeployError) -> bool:
        """Return whether the same command will continue the switch: during an outage, restoring would fail too."""
        release = self._context.state.releases.get(self._context.run_id)
        return isinstance(err, TransientError) and release is not None and release.open_switch is not None

    def _opening(self) -> locks.Opening:
        params = RollbackParams(
            version=self._request.version,
            reason=self._request.reason,
            require_approval=False,
            approval_timeout_hours=self._context.settings.release.approval_timeout_hours,
        )
        return locks.Opening(
            dag_id=TERMINAL, params=storable(params), triggered_by=self._caller, has_ended=self._has_ended
        )

    def _has_ended(self, holder: Release) -> bool:
        return holder.run_id == self._request.ended_run or locks.has_lease_ended(self._context, holder)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Render the remedies of errors for a terminal."""
        try:
            yield
        except LockHeldError as err:
            raise _addressed(self._explain_lock(err)) from err
        except RecdeployError as err:
            _addressed(err)
            raise

    def _explain_lock(self, err: LockHeldError) -> LockHeldError:
        holder = self._context.state.holding_release
        if holder is None or holder.run_id == self._context.run_id:
            return err
        end = locks.lease_end(holder, self._context.settings)
        how = f"Finish it with {describe_command(holder)}" if holder.is_from_terminal else "Wait until it has ended"
        return LockHeldError(
            f"{err.message} It counts as ended at {end:%Y-%m-%d %H:%M} UTC.",
            TryAgain(f"{how}; or, if it has certainly ended, e.g. with its Airflow, add --ended-run {holder.run_id}"),
        )


def _addressed(err: RecdeployError) -> RecdeployError:
    err.audience = Audience.TERMINAL
    return err


def explain_interruption(context: ReleaseContext, served_before: int | None) -> str:
    """Return what an interrupted rollback has left behind, according to the ledger as last read."""
    holder, serving = context.state.holding_release, context.state.production
    if holder is not None and holder.open_switch is not None:
        left = f"the run {holder.run_id} is switching production, and what it serves is not verified"
    elif holder is not None and holder.is_from_terminal:
        left = "this rollback holds the release lock"
    elif serving is not None and serving.version != served_before:
        left = f"v{serving.version} serves, verified; its tags may be missing"
    else:
        return "Interrupted: production was not changed by this command."
    return f"Interrupted: {left}. Run the same command again to continue."
