"""The base of all release operators: advance a step, wait first in the worker and then in the triggerer, repeat."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from recdeploy_ops.domain.errors import RecdeployError, TransientError
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.hooks.releases import ReleasesHook
from recdeploy_ops.operators.assets import production_outlet, update_asset
from recdeploy_ops.operators.links import PageLink
from recdeploy_ops.rollout.waits import advance_patiently
from recdeploy_ops.settings import DEFAULT_NAME
from recdeploy_ops.triggers.deployments import WorkRequestFinishedTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from airflow.sdk import BaseOperatorLink
    from airflow.sdk.definitions.context import Context

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome

# Deferring and resuming a task takes about as long: shorter waits stay in the worker.
PATIENCE_SECONDS = 10.0


class ReleaseStepOperator(BaseOperator):
    """Runs one step of a release; see `recdeploy_ops.steps` for what each step does and raises.

    A step may be run again at any time, so retries are safe. Only transient errors are retried.

    Args:
        settings_name: name of the settings file, for `find_settings`; a DAG gives it to all of its tasks.

    Attributes:
        step: the module of `recdeploy_ops.steps` to run. Only a running task imports it: Airflow parses DAG files
            continuously, and steps import pyarrow and more.
        afterwards: who continues with production if the last try fails during a switch.
        may_change_production: whether Airflow's asset of production is updated after the step.
        release: what the step works with, once it has begun.
    """

    step: ClassVar[str]
    afterwards: ClassVar[str] = "recommender_housekeeping tries again, every day at 05:30 UTC"
    may_change_production: ClassVar[bool] = False
    release: ReleaseContext | None = None
    operator_extra_links: Collection[BaseOperatorLink] = (PageLink(),)
    ui_color = "#f0ede4"

    def __init__(self, *, settings_name: str = DEFAULT_NAME, **kwargs: Any) -> None:
        outlets = {"outlets": [production_outlet(settings_name)]} if self.may_change_production else {}
        super().__init__(**{**outlets, **kwargs})
        self.settings_name = settings_name

    @cached_property
    def hook(self) -> ReleasesHook:
        """Return the hook that opens storage, ledger and OCI."""
        return ReleasesHook(self.settings_name)

    def arguments(self, release: ReleaseContext, context: Context) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the step's further arguments, besides the release's context."""
        return {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; defer if OCI needs longer than `PATIENCE_SECONDS`."""
        with failing_for_good():
            self.release = release = self.hook.context(context["run_id"], self._tries(context))
            outcome = advance_patiently(release, self._bind(release, context), patience=PATIENCE_SECONDS)
            if not isinstance(outcome, Waiting):
                done = self.complete(dict(outcome), release, context)
                self._update_asset(release, context)
                return done
        self._defer(outcome, release.settings.release.poll_seconds)
        return {}  # never reached: deferring raises

    def complete(
        self,
        summary: dict[str, Any],
        release: ReleaseContext,  # noqa: ARG002 - for subclasses
        context: Context,  # noqa: ARG002 - for subclasses
    ) -> dict[str, Any]:
        """Return the task's result after the step is done."""
        return summary

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Continue after waiting: the step reads the deployment's state itself."""
        self.log.info("OCI has finished with %s, or the deadline has passed.", event["deployment_id"] or "nothing")
        return self.execute(context)

    def _tries(self, context: Context) -> Tries:
        instance = context["ti"]
        return Tries(
            number=instance.try_number,
            limit=(instance.max_tries or 0) + 1,
            delay=self.retry_delay,
            afterwards=self.afterwards,
        )

    def _update_asset(self, release: ReleaseContext, context: Context) -> None:
        serving = release.state.production if self.may_change_production else None
        if serving:
            update_asset(production_outlet(self.settings_name), release.project, serving, context)

    def _bind(self, release: ReleaseContext, context: Context) -> Callable[[], Outcome]:
        module = import_module(f"recdeploy_ops.steps.{self.step}")
        return partial(module.advance, release, **self.arguments(release, context))

    def _defer(self, waiting: Waiting, poll_seconds: float) -> None:
        self.log.info("Waiting until %s UTC at the latest: %s", f"{waiting.deadline:%Y-%m-%d %H:%M}", waiting.reason)
        self.defer(
            trigger=WorkRequestFinishedTrigger(
                deployment_id=waiting.deployment_id,
                deadline=waiting.deadline.isoformat(),
                poll_seconds=poll_seconds,
                settings_name=self.settings_name,
            ),
            method_name="resume",
        )


@contextmanager
def failing_for_good(besides: type[RecdeployError] = TransientError) -> Iterator[None]:
    """Raise non-transient errors as the exception that Airflow does not retry.

    Args:
        besides: an error that the caller handles itself.
    """
    try:
        yield
    except (TransientError, besides):
        raise
    except RecdeployError as err:
        raise AirflowFailException(str(err)) from err
