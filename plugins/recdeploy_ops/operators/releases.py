"""Opening, backing up and closing a release."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from recdeploy_ops.domain.ledger import NOTEBOOK
from recdeploy_ops.operators.release_steps import ReleaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.rollout.locks import Opening

ENDED = frozenset({"success", "failed"})
log = logging.getLogger(__name__)


def has_ended(releases: Releases, context: Context, dag_id: str, run_id: str) -> bool:
    """Return whether a run has ended: as Airflow says, or as its lease does where it is a notebook's.

    A run that this Airflow does not know may be under way in another one on the same storage: it has ended with its
    lease, or when a person says so (param ``ended_run`` of recommender_housekeeping). Airflow not answering proves
    nothing: that is raised.

    Raises:
        LockHeldError: this Airflow does not know the run, and nothing proves that it has ended.
    """
    from recdeploy_ops.rollout import locks

    if dag_id == NOTEBOOK:
        return locks.has_notebook_ended(releases, dag_id, run_id)
    task_instance: Any = context["ti"]
    try:
        return task_instance.get_dagrun_state(dag_id, run_id) in ENDED
    except AirflowRuntimeError as err:
        if (err.error.detail or {}).get("status_code") != HTTPStatus.NOT_FOUND:
            raise
    said = context["params"].get("ended_run") == run_id
    if not said:
        locks.require_lease_over(releases, run_id)
    log.warning(
        "This Airflow does not know the run %s of %s: it counts as ended, as %s.",
        run_id,
        dag_id,
        "whoever triggered this run says" if said else "its lease is over",
    )
    return True


def opening_of(releases: Releases, context: Context) -> Opening:
    """Return who triggered this run, with which params."""
    from recdeploy_ops.rollout.locks import Opening

    run: Any = context["dag_run"]
    return Opening(
        dag_id=run.dag_id,
        params=dict(context["params"]),
        triggered_by=getattr(run, "triggering_user_name", None),
        has_ended=lambda dag_id, run_id: has_ended(releases, context, dag_id, run_id),
    )


class PlanReleaseOperator(ReleaseStepOperator):
    """Allocates the version, takes the release lock and compares the ledger with OCI."""

    def advance(self, context: Context) -> Outcome:
        """Open this run's release, or open it again."""
        from recdeploy_ops.steps import plan_release

        releases = self.hook.releases
        return plan_release.advance(releases, context["run_id"], opening_of(releases, context))


class BackupProductionOperator(ReleaseStepOperator):
    """Copies what production serves to ``backups/``."""

    def advance(self, context: Context) -> Outcome:
        """Back up the champion."""
        from recdeploy_ops.steps import backup_production

        return backup_production.advance(self.hook.releases, context["run_id"])


class CloseReleaseOperator(ReleaseStepOperator):
    """Leaves nothing of the run behind and frees the release lock."""

    def advance(self, context: Context) -> Outcome:
        """Close this run's release."""
        from recdeploy_ops.steps import close_release

        return close_release.advance(self.hook.releases, context["run_id"])
