"""The params of a run: what a person may choose when triggering it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from recdeploy_ops.domain.codec import FreeText, from_plain
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.records import Autoscaling  # noqa: TC001 - the codec reads annotations while running
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.sizes import SizeRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class RetrainParams:
    """What a run of ``recommender_retrain`` was triggered with.

    Attributes:
        top_k: recommendations per user.
        seed: of all random numbers in training.
        instance_shape: OCI's shape of the test deployment, and of production once promoted. None leaves production as
            it is; so it does in the next three.
        ocpus: per instance, for flexible shapes.
        memory_gb: GB per instance, for flexible shapes.
        instance_count: number of instances.
        skip_test_deployment: whether the test deployment is left out.
        approval_timeout_hours: how long a person may take to answer.
        session: the notebook's session; None for a run of Airflow.
        autoscaling: how OCI is to choose the number of instances, if `instance_count` is None.
        accept_change: why data and lists differ from the champion's on purpose; None if they should not.
    """

    top_k: int
    seed: int
    instance_shape: str | None
    ocpus: float | None
    memory_gb: float | None
    instance_count: int | None
    skip_test_deployment: bool
    approval_timeout_hours: float
    session: str | None = None
    autoscaling: Autoscaling | None = None
    accept_change: FreeText | None = None

    @property
    def size(self) -> SizeRequest:
        """Return the size that the run requests."""
        autoscaling = self.autoscaling if self.instance_count is None else None
        return SizeRequest(self.instance_shape, self.ocpus, self.memory_gb, self.instance_count, autoscaling)


@dataclass(frozen=True)
class RollbackParams:
    """What a run of ``recommender_rollback`` was triggered with.

    Attributes:
        version: a version number, or ``previous``.
        reason: why; shown in the history.
        require_approval: whether a person is asked before production changes.
        approval_timeout_hours: how long that person may take to answer.
        session: the notebook's session; None for a run of Airflow.
    """

    version: int | str
    reason: FreeText | None
    require_approval: bool
    approval_timeout_hours: float
    session: str | None = None


Params = RetrainParams | RollbackParams
P = TypeVar("P", bound=Params)


def read_params(kind: type[P], values: Mapping[str, Any]) -> P:
    """Return the params of a run, without those that `kind` does not declare.

    Raises:
        SettingsError: one is missing or of another type; names it.
    """
    declared = {field.name for field in fields(kind)}
    try:
        return from_plain(kind, {name: value for name, value in values.items() if name in declared})
    except (TypeError, ValueError) as err:
        raise SettingsError(
            f"The params of this run cannot be used: {err}.", Remedy("Trigger it again from the form")
        ) from err
