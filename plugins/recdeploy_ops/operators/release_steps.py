"""What all operators of a release share: advance a step, wait a little and then without a worker, advance it again."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from recdeploy_ops.domain.errors import RecdeployError, TransientError
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.rollout.waits import advance_patiently
from recdeploy_ops.triggers.deployments import DeploymentSettledTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.domain.waiting import Outcome


# Parking a task and starting it again takes about as long: what OCI does sooner is awaited where the task is.
PATIENCE_SECONDS = 10.0


class ReleaseStepOperator(BaseOperator):
    """Runs one step of a release; see `recdeploy_ops.steps` for what each of them does and raises.

    A step may be run again at any time, so retries are safe. Only errors that may pass are retried.
    """

    ui_color = "#f0ede4"

    @cached_property
    def hook(self) -> ReleasesHook:
        """Return what opens storage, ledger and OCI."""
        return ReleasesHook()

    @abstractmethod
    def advance(self, context: Context) -> Outcome:
        """Take the step one move further.

        Steps are imported here and not at the top: Airflow parses a DAG file all the time, and they need
        pyarrow and more.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Advance the step; wait in the triggerer while OCI is at work, unless that is soon over."""
        with failing_for_good():
            outcome = advance_patiently(self.hook.releases, lambda: self.advance(context), patience=PATIENCE_SECONDS)
            if not isinstance(outcome, Waiting):
                return dict(outcome)
            poll_seconds = self.hook.settings.release.poll_seconds
        self.log.info("Waiting until %s UTC at the latest: %s", f"{outcome.deadline:%Y-%m-%d %H:%M}", outcome.reason)
        self.defer(
            trigger=DeploymentSettledTrigger(
                deployment_id=outcome.deployment_id,
                deadline=outcome.deadline.isoformat(),
                poll_seconds=poll_seconds,
            ),
            method_name="resume",
        )
        return None

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after waiting: the step looks for itself at what has become of the deployment."""
        self.log.info("%s is settled, or its deadline has passed.", event["deployment_id"])
        return self.execute(context)


@contextmanager
def failing_for_good(besides: type[RecdeployError] = TransientError) -> Iterator[None]:
    """Turn errors that no retry can mend into the one that Airflow does not retry.

    Args:
        besides: an error that the caller answers itself.
    """
    try:
        yield
    except (TransientError, besides):
        raise
    except RecdeployError as err:
        raise AirflowFailException(str(err)) from err
