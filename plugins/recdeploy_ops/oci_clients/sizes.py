"""Translate the size of a model deployment between OCI's objects and our record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.records import Autoscaling, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_COOL_DOWN_SECONDS = 300


def read_shape(model: Any) -> Shape:
    """Return the size in a deployment's model configuration; OCI may leave out any part of it."""
    instance, policy = model.instance_configuration, model.scaling_policy
    size = getattr(instance, "model_deployment_instance_shape_config_details", None)
    return Shape(
        instance_shape=getattr(instance, "instance_shape_name", None) or "",
        ocpus=size.ocpus if size else None,
        memory_gb=size.memory_in_gbs if size else None,
        instance_count=getattr(policy, "instance_count", None),
        autoscaling=_read_autoscaling(policy),
    )


def instance_configuration(shape: Shape) -> Any:
    """Return the instance configuration of a new deployment."""
    import oci.data_science.models as sdk

    return _resized_instance(sdk.InstanceConfiguration(), shape)


def compute_update(current: Shape, target: Shape, instance: Any) -> Mapping[str, Any]:
    """Return the parts of the size that differ, by the names of the SDK's update details.

    Args:
        current: the deployment's current size.
        target: its intended size.
        instance: its instance configuration as OCI has it.
    """
    update = {}
    if (current.instance_shape, current.ocpus, current.memory_gb) != (
        target.instance_shape,
        target.ocpus,
        target.memory_gb,
    ):
        update["instance_configuration"] = _resized_instance(instance, target)
    if (current.instance_count, current.autoscaling) != (target.instance_count, target.autoscaling):
        update["scaling_policy"] = scaling_policy(target)
    return update


def _resized_instance(instance: Any, shape: Shape) -> Any:
    """Set shape, OCPUs and memory of an instance configuration and return it; its network and other parts stay."""
    import oci.data_science.models as sdk

    instance.instance_shape_name = shape.instance_shape
    size = instance.model_deployment_instance_shape_config_details
    if shape.ocpus is None:
        size = None
    else:
        size = size or sdk.ModelDeploymentInstanceShapeConfigDetails()
        size.ocpus, size.memory_in_gbs = shape.ocpus, shape.memory_gb
    instance.model_deployment_instance_shape_config_details = size
    return instance


def scaling_policy(shape: Shape) -> Any:
    """Return the scaling policy of a size."""
    import oci.data_science.models as sdk

    scaling = shape.autoscaling
    if scaling is None:
        return sdk.FixedSizeScalingPolicy(instance_count=shape.instance_count)
    bound = sdk.PredefinedExpressionThresholdScalingConfiguration
    rule = sdk.PredefinedMetricExpressionRule(
        metric_type=scaling.metric,
        scale_in_configuration=bound(threshold=scaling.scale_in),
        scale_out_configuration=bound(threshold=scaling.scale_out),
    )
    policy = sdk.ThresholdBasedAutoScalingPolicyDetails(
        minimum_instance_count=scaling.minimum,
        maximum_instance_count=scaling.maximum,
        initial_instance_count=scaling.initial,
        rules=[rule],
    )
    return sdk.AutoScalingPolicy(
        cool_down_in_seconds=scaling.cool_down_seconds,
        is_enabled=scaling.is_enabled,
        auto_scaling_policies=[policy],
    )


def _read_autoscaling(policy: Any) -> Autoscaling | None:
    import oci.data_science.models as sdk

    policies = policy.auto_scaling_policies if isinstance(policy, sdk.AutoScalingPolicy) else None
    if not policies or not isinstance(policies[0], sdk.ThresholdBasedAutoScalingPolicyDetails):
        return None
    rules = [rule for part in policies for rule in getattr(part, "rules", None) or []]
    rule = rules[0] if len(rules) == 1 and isinstance(rules[0], sdk.PredefinedMetricExpressionRule) else None
    return Autoscaling(
        minimum=policies[0].minimum_instance_count,
        maximum=policies[0].maximum_instance_count,
        initial=policies[0].initial_instance_count,
        metric=rule.metric_type if rule else None,
        scale_in=_read_threshold(rule, "scale_in_configuration"),
        scale_out=_read_threshold(rule, "scale_out_configuration"),
        cool_down_seconds=policy.cool_down_in_seconds or DEFAULT_COOL_DOWN_SECONDS,
        is_enabled=policy.is_enabled is not False,
    )


def _read_threshold(rule: Any, name: str) -> int | None:
    """Return a bound of a rule; None without such a rule or bound, or if it is of another kind."""
    return getattr(getattr(rule, name, None), "threshold", None)
