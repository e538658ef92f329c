"""The size of production: what a release requests, and what that changes.

A setting requests a size only if it differs from what a release last applied; a param of a run also if it differs from
the setting. So a size that was set by hand stays until a person requests another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from recdeploy_ops.domain.records import Autoscaling, Shape

RESIZE_PART = "size of production"  # name of the part that an approval covers
DEFAULT_SHAPE = Shape("VM.Standard.E4.Flex", ocpus=1.0, memory_gb=16.0, instance_count=1)

V = TypeVar("V")


@dataclass(frozen=True)
class SizeRequest:
    """A requested size of a deployment; None requests nothing.

    Attributes:
        instance_shape: OCI's shape name.
        ocpus: OCPUs per instance, for flexible shapes.
        memory_gb: GB per instance, for flexible shapes.
        instance_count: a fixed number of instances; overrides autoscaling.
        autoscaling: how OCI is to choose their number.
    """

    instance_shape: str | None = None
    ocpus: float | None = None
    memory_gb: float | None = None
    instance_count: int | None = None
    autoscaling: Autoscaling | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is requested."""
        return self == NO_REQUEST

    def beyond(self, applied: SizeRequest, usual: SizeRequest) -> SizeRequest:
        """Return only the values that a person has requested.

        Args:
            applied: what releases last applied: a setting that differs from it was changed since.
            usual: what the settings say: a value that differs from it was given for this run.
        """

        def requested(wanted: V | None, *known: V | None) -> V | None:
            return None if all(value == wanted for value in known) else wanted

        return SizeRequest(
            instance_shape=requested(self.instance_shape, applied.instance_shape, usual.instance_shape),
            ocpus=requested(self.ocpus, applied.ocpus, usual.ocpus),
            memory_gb=requested(self.memory_gb, applied.memory_gb, usual.memory_gb),
            instance_count=requested(self.instance_count, applied.instance_count, usual.instance_count),
            autoscaling=requested(self.autoscaling, applied.autoscaling, usual.autoscaling),
        )

    def after(self, applied: SizeRequest) -> SizeRequest:
        """Return the applied size after this request: an instance count replaces autoscaling, and the reverse."""
        scaling = self if self._is_scaling else applied
        return SizeRequest(
            instance_shape=self.instance_shape or applied.instance_shape,
            ocpus=self.ocpus or applied.ocpus,
            memory_gb=self.memory_gb or applied.memory_gb,
            instance_count=scaling.instance_count,
            autoscaling=scaling.autoscaling,
        )

    def apply_to(self, shape: Shape) -> Shape:
        """Return a size changed as requested; OCPUs and memory apply to flexible shapes only."""
        name = self.instance_shape or shape.instance_shape
        sized = replace(shape, instance_shape=name)
        if name.endswith(".Flex"):
            sized = replace(
                sized,
                ocpus=self.ocpus or shape.ocpus or DEFAULT_SHAPE.ocpus,
                memory_gb=self.memory_gb or shape.memory_gb or DEFAULT_SHAPE.memory_gb,
            )
        elif name != shape.instance_shape:
            sized = replace(sized, ocpus=None, memory_gb=None)
        if not self._is_scaling:
            return sized
        return replace(sized, instance_count=self.instance_count, autoscaling=self.autoscaling)

    @property
    def _is_scaling(self) -> bool:
        return self.instance_count is not None or self.autoscaling is not None


NO_REQUEST = SizeRequest()


def amount_of_limit(limit: str, shape: Shape) -> float | None:
    """Return how much of a service limit a deployment of this size takes; None if the size does not say.

    Like the names of OCI's compute limits, this one says what it counts: OCPUs (``core``, ``ocpu``), GB (``memory``),
    or else instances.

    Args:
        limit: its name.
        shape: of the deployment.
    """
    instances = shape.autoscaling.initial if shape.autoscaling else shape.instance_count
    each: float | None = 1.0
    if "core" in limit or "ocpu" in limit:
        each = shape.ocpus
    elif "memory" in limit:
        each = shape.memory_gb
    return None if instances is None or each is None else instances * each


def describe_change(current: Shape, target: Shape) -> str:
    """Return a change of size in words, e.g. ``from 4 x A (1 OCPU, 16 GB) to 1 x B``."""
    return f"from {describe_shape(current)} to {describe_shape(target)}"


def describe_shape(shape: Shape) -> str:
    """Return a size in words, with everything that a resize can change."""
    rules: list[str] = []
    if shape.autoscaling:
        count, rules = _describe_autoscaling(shape.autoscaling)
    else:
        count = "an unknown number" if shape.instance_count is None else str(shape.instance_count)
    numbers = ((shape.ocpus, "OCPU"), (shape.memory_gb, "GB"))
    details = ", ".join([f"{number:g} {unit}" for number, unit in numbers if number is not None] + rules)
    return f"{count} x {shape.instance_shape}" + (f" ({details})" if details else "")


def _describe_autoscaling(scaling: Autoscaling) -> tuple[str, list[str]]:
    rule = "by other rules"
    if scaling.metric is not None:
        rule = f"{scaling.metric} {scaling.scale_in} to {scaling.scale_out} %"
    rules = [f"initially {scaling.initial}", rule]
    if scaling.cool_down_seconds is not None:
        rules.append(f"cool-down {scaling.cool_down_seconds} s")
    state = "" if scaling.is_enabled else "disabled "
    return f"{state}autoscaling {scaling.minimum} to {scaling.maximum}", rules
