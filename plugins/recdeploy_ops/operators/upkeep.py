"""The steps beside releases as Airflow operators: the watch, adoption, housekeeping and freezes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import LockHeldError, SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.operators.release_steps import ReleaseStepOperator
from recdeploy_ops.operators.releases import has_ended, name_requester

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState, Release


class MonitorOperator(ReleaseStepOperator):
    """Probes production, reads OCI's metrics of it, publishes its own, and keeps the alarms."""

    step = "monitor"


class AdoptProductionOperator(ReleaseStepOperator):
    """Compares the ledger with OCI and, with the param ``apply``, records what OCI has."""

    step = "adopt_production"
    may_change_production = True

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the run's params."""
        return {name: context["params"].get(name) for name in ("deployment_id", "apply", "version")}


class HousekeepingOperator(ReleaseStepOperator):
    """Closes the release of an ended run and deletes orphans."""

    step = "housekeeping"
    may_change_production = True

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Return a function that says whether a run has ended."""

        def is_known_to_have_ended(holder: Release) -> bool:
            try:
                return has_ended(release, context, holder)
            except LockHeldError as err:  # the release stays open; the rest of housekeeping is still done
                self.log.warning("%s", err)
                return False

        return {"has_ended": is_known_to_have_ended}

    def complete(self, summary: dict[str, Any], release: ReleaseContext, context: Context) -> dict[str, Any]:
        """Fail the task if ``ended_run`` does not match a release that could be closed."""
        ended_run = context["params"].get("ended_run")
        if ended_run:
            _require_closed(release.refresh(), ended_run)
        return summary


class FreezePromotionsOperator(ReleaseStepOperator):
    """Freezes promotions, or resumes them, as the person who triggered the run asks."""

    step = "freeze_promotions"

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as its base
        """Return the run's params, who triggered it, and when."""
        run: Any = context["dag_run"]
        chosen = {name: context["params"][name] for name in ("freeze", "reason")}
        return {**chosen, "by": name_requester(run), "asked_at": run.run_after}


def _require_closed(state: LedgerState, ended_run: str) -> None:
    """Fail the task if ``ended_run`` does not match a release that could be closed.

    Raises:
        SettingsError: no such run exists, or it is in progress.
    """
    release = state.releases.get(ended_run)
    if release is None:
        holder = f"the run {state.holder} holds" if state.holder else "no run holds"
        raise SettingsError(
            f"ended_run is {ended_run!r}, which the ledger does not know: {holder} the release lock.",
            Remedy("Name a run that make status shows"),
        )
    if release.is_open:
        raise SettingsError(
            f"ended_run is {ended_run!r}, which is in progress in this Airflow, a notebook or a terminal: its release "
            "stays open.",
            Remedy("Mark that run as failed, or end it in its notebook or terminal"),
        )
