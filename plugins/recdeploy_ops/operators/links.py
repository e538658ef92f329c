"""The buttons *Deployment in the OCI console* and *Page* on a task's page in Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink, conf

from recdeploy_ops.domain.addresses import AirflowAddresses, console_address
from recdeploy_ops.domain.events import TestDeployed
from recdeploy_ops.domain.records import Role

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from recdeploy_ops.domain.ledger_state import LedgerState


class PageLink(BaseOperatorLink):
    """Opens the page *Recommender*."""

    name = "Page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's form
        """Return the address of the page; relative where Airflow does not know its own (``api.base_url``)."""
        return AirflowAddresses(conf.get("api", "base_url", fallback="")).page()


class ConsoleLink(BaseOperatorLink):
    """Opens the model deployment that a task works on in the OCI console, as the ledger knew it when the task ended.

    Airflow stores the address when a process of the task ends, also when it fails.
    """

    name = "Deployment in the OCI console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address in the console; an empty text, without a button, if there is none."""
        task: Any = operator
        state = task.release.ledger.last_known if task.release else None
        deployment_id = _find_deployment(state, ti_key.run_id, task.role) if state else None
        if deployment_id is None:
            return ""
        profile = task.hook.session.profile
        return "" if profile.service_endpoint else console_address(deployment_id, profile.region)


def _find_deployment(state: LedgerState, run_id: str, role: Role) -> str | None:
    if role is Role.PRODUCTION:
        return state.production.deployment_id if state.production else None
    release = state.releases.get(run_id)
    test = release.get(TestDeployed) if release else None
    return test.deployment_id if test else None
