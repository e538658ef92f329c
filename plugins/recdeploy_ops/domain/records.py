"""Frozen records of OCI's resources, instead of SDK objects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from recdeploy_ops.domain.deployment_states import DeploymentState


class Role(StrEnum):
    """What a model deployment is for; the value of the tag ``recdeploy-role``."""

    TEST = "test"
    PRODUCTION = "production"


class Decision(StrEnum):
    """What a person may answer, about a promotion or a rollback."""

    PROMOTE = "Promote"
    REJECT = "Reject"
    ROLL_BACK = "Roll back"
    KEEP = "Keep production"


PROMOTION_DECISIONS = (str(Decision.PROMOTE), str(Decision.REJECT))
ROLLBACK_DECISIONS = (str(Decision.ROLL_BACK), str(Decision.KEEP))
CHANGING_DECISIONS = frozenset({Decision.PROMOTE, Decision.ROLL_BACK})  # production would serve another version


@dataclass(frozen=True)
class CatalogModel:
    """A model in OCI's Model Catalog.

    Attributes:
        model_id: OCID.
        name: display name.
        lifecycle_state: OCI's word: ACTIVE, INACTIVE, FAILED, DELETED.
        tags: free-form tags.
        metadata: custom metadata; empty in lists, where OCI leaves it out.
        created_at: UTC.
        is_archived: whether a retention policy has moved its artifact away; False in lists, where OCI leaves it out.
    """

    model_id: str
    name: str
    lifecycle_state: str
    tags: Mapping[str, str]
    metadata: Mapping[str, str]
    created_at: datetime
    is_archived: bool = False

    @property
    def is_deleted(self) -> bool:
        """Return whether only its record is left."""
        return self.lifecycle_state == "DELETED"

    @property
    def is_inactive(self) -> bool:
        """Return whether a person has deactivated it: OCI deploys it only once it is active again."""
        return self.lifecycle_state == "INACTIVE"

    @property
    def can_be_used(self) -> bool:
        """Return whether OCI deploys it, given an artifact, now or once it is active again."""
        return self.is_usable or (self.is_inactive and not self.is_archived)

    @property
    def is_usable(self) -> bool:
        """Return whether OCI deploys it, given an artifact."""
        return self.lifecycle_state == "ACTIVE" and not self.is_archived


@dataclass(frozen=True)
class Autoscaling:
    """How OCI changes the number of instances of a model deployment.

    Attributes:
        minimum: the fewest instances.
        maximum: the most instances.
        initial: the number of instances at the start.
        metric: ``CPU_UTILIZATION`` or ``MEMORY_UTILIZATION``; None, like both bounds, unless OCI has exactly one rule
            over one of these.
        scale_in: percent of the metric below which an instance is removed.
        scale_out: percent of the metric above which an instance is added.
        cool_down_seconds: the shortest time between two changes; None if OCI does not say.
        is_enabled: whether OCI acts on it.
    """

    minimum: int
    maximum: int
    initial: int
    metric: str | None
    scale_in: int | None
    scale_out: int | None
    cool_down_seconds: int | None
    is_enabled: bool = True


@dataclass(frozen=True)
class Shape:
    """Size of a model deployment.

    Attributes:
        instance_shape: OCI's shape name.
        ocpus: OCPUs per instance; None for a fixed shape.
        memory_gb: GB per instance; None for a fixed shape.
        instance_count: number of instances; None if OCI chooses it.
        autoscaling: how OCI chooses it; None if the number is fixed.
    """

    instance_shape: str
    ocpus: float | None
    memory_gb: float | None
    instance_count: int | None
    autoscaling: Autoscaling | None = None


@dataclass(frozen=True)
class Deployment:
    """A model deployment of OCI Data Science.

    Attributes:
        deployment_id: OCID.
        name: display name.
        lifecycle_state: OCI's word, with its meaning.
        details: OCI's lifecycle details, empty when there are none.
        model_id: OCID of the model that it is configured to serve.
        url: where it answers, without ``/predict``.
        shape: its size.
        tags: free-form tags.
        etag: changes with every change; for ``if-match``.
        created_at: UTC.
    """

    deployment_id: str
    name: str
    lifecycle_state: DeploymentState
    details: str
    model_id: str
    url: str
    shape: Shape
    tags: Mapping[str, str]
    etag: str | None
    created_at: datetime


@dataclass(frozen=True)
class WorkRequest:
    """An asynchronous operation of OCI Data Science.

    Attributes:
        work_request_id: OCID.
        operation: OCI's word, e.g. MODEL_DEPLOYMENT_UPDATE.
        status: OCI's word: ACCEPTED, IN_PROGRESS, SUCCEEDED, FAILED, CANCELING, CANCELED.
        accepted_at: UTC.
    """

    work_request_id: str
    operation: str
    status: str
    accepted_at: datetime


LONGEST_SHOWN = 1_000  # characters of an answer, in a message
NO_ANSWER = 0  # in place of an HTTP status: no connection, or no answer in time


@dataclass(frozen=True)
class Reply:
    """The answer to a predict request.

    Attributes:
        status: HTTP status, or `NO_ANSWER`.
        body: the parsed JSON; None when there was none.
        seconds: from the request that was answered to the last byte.
        lost: statuses of the requests before it that did not reach the model.
    """

    status: int
    body: object
    seconds: float
    lost: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it for a message: an answer can have any length."""
        return shorten(repr(self), LONGEST_SHOWN)
