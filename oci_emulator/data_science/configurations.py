"""The configuration of a model deployment: its valid values, and the options that may change together."""

import re
from collections.abc import Mapping
from typing import Any

from oci_emulator.data_science.catalog import require, require_object
from oci_emulator.data_science.shapes import check_instance
from oci_emulator.errors import InvalidParameterError, NotImplementedByEmulatorError
from oci_emulator.store import Json

CONFIGURATION = "modelDeploymentConfigurationDetails"
MODEL_PART = "modelConfigurationDetails"
ENVIRONMENT_PART = "environmentConfigurationDetails"

DEFAULT_BANDWIDTH = 10
_MAX_ENVIRONMENT_BYTES = 2048
_MIN_COOL_DOWN_SECONDS = 600
_VARIABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,29}[A-Za-z0-9]")

# While a deployment serves, an update may change only one of these groups. Tags may change with any of them.
# Source: https://docs.oracle.com/en-us/iaas/data-science/using/model-dep-edit.htm
OPTION_GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "name and description": (("displayName",), ("description",)),
    "model": ((CONFIGURATION, MODEL_PART, "modelId"),),
    "compute": (
        (CONFIGURATION, MODEL_PART, "instanceConfiguration"),
        (CONFIGURATION, MODEL_PART, "scalingPolicy"),
    ),
    "load balancer": (
        (CONFIGURATION, MODEL_PART, "bandwidthMbps"),
        (CONFIGURATION, MODEL_PART, "maximumBandwidthMbps"),
    ),
    "environment": ((CONFIGURATION, ENVIRONMENT_PART),),
    "logging": (("categoryLogDetails",),),
}
# Replaced as a whole; all other objects are merged, field by field. OCI does not document which of the two applies to
# compute. Replacement is stricter for clients: they lose the fields that they omit.
_ATOMIC = frozenset(("environmentVariables", "freeformTags", "definedTags", "categoryLogDetails"))
_ATOMIC |= {"instanceConfiguration", "scalingPolicy"}
_METRICS = frozenset({"CPU_UTILIZATION", "MEMORY_UTILIZATION"})


def complete(configuration: Json) -> Json:
    """Return the configuration with OCI's defaults; refuse an invalid one."""
    check_supported(configuration)
    model = require_object(configuration, MODEL_PART)
    require(model, "modelId")
    require_object(model, "instanceConfiguration")
    completed = merged(
        {
            "deploymentType": "SINGLE_MODEL",
            MODEL_PART: {
                "bandwidthMbps": DEFAULT_BANDWIDTH,
                "maximumBandwidthMbps": 2 * (model.get("bandwidthMbps") or DEFAULT_BANDWIDTH),
                "scalingPolicy": {"policyType": "FIXED_SIZE", "instanceCount": 1},
            },
            ENVIRONMENT_PART: {"environmentConfigurationType": "DEFAULT", "environmentVariables": {}},
        },
        configuration,
    )
    check_values(completed)
    return completed


def check_supported(configuration: Json) -> None:
    """Refuse deployments of model groups and containers, which are not emulated."""
    kind = configuration.get("deploymentType", "SINGLE_MODEL")
    if kind != "SINGLE_MODEL":
        raise NotImplementedByEmulatorError(f"Model deployments of type {kind} are not emulated.")
    environment = configuration.get(ENVIRONMENT_PART) or {}
    kind = environment.get("environmentConfigurationType", "DEFAULT")
    if kind != "DEFAULT":
        raise NotImplementedByEmulatorError(f"Model deployments with environment {kind} are not emulated.")


def check_values(configuration: Json) -> None:
    """Refuse a complete configuration with invalid values."""
    model = configuration[MODEL_PART]
    check_instance(model["instanceConfiguration"])
    _check_scaling(model["scalingPolicy"])
    low, high = model["bandwidthMbps"], model["maximumBandwidthMbps"]
    if not DEFAULT_BANDWIDTH <= low <= high <= 2 * low:
        raise InvalidParameterError(
            f"bandwidthMbps {low} and maximumBandwidthMbps {high}: the first is at least 10,"
            " the second at least the first and at most twice as much."
        )
    _check_environment(configuration[ENVIRONMENT_PART]["environmentVariables"])


def check_networking(stored: Json, updated: Json) -> None:
    """Refuse to remove a deployment from its subnet, which no update can do.

    Source: https://docs.oracle.com/en-us/iaas/data-science/using/model-dep-edit.htm
    """
    before, after = (body[MODEL_PART]["instanceConfiguration"].get("subnetId") for body in (stored, updated))
    if before and not after:
        raise InvalidParameterError("Custom networking cannot be changed to default networking.")


def instance_count(configuration: Json) -> int:
    """Return the initial number of instances of the scaling policy."""
    policy = configuration[MODEL_PART]["scalingPolicy"]
    if policy["policyType"] == "FIXED_SIZE":
        return int(policy["instanceCount"])
    return int(policy["autoScalingPolicies"][0]["initialInstanceCount"])


def changed_groups(stored: Json, given: Json) -> list[str]:
    """Return the names of the option groups in which `given` differs from `stored`."""
    return [
        name
        for name, paths in OPTION_GROUPS.items()
        if any(differs(path[-1], _at(stored, path), _at(given, path)) for path in paths)
    ]


def differs(name: str, stored: Any, given: Any) -> bool:
    """Return whether a given value would change the stored one; None changes nothing."""
    if given is None:
        return False
    if isinstance(stored, dict) and isinstance(given, dict) and name not in _ATOMIC:
        return any(differs(part, stored.get(part), value) for part, value in given.items())
    return bool(stored != given)


def merged(stored: Json, given: Json) -> Json:
    """Return `stored` updated with `given`."""
    result = dict(stored)
    for name, value in given.items():
        before: Any = stored.get(name)
        if value is None:
            continue
        mergeable = isinstance(before, dict) and isinstance(value, dict) and name not in _ATOMIC
        result[name] = merged(before, value) if mergeable else value
    return result


def _at(body: Json, path: tuple[str, ...]) -> Any:
    value: Any = body
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _check_scaling(policy: Json) -> None:
    kind = policy.get("policyType")
    if kind == "FIXED_SIZE":
        count = policy.get("instanceCount")
        if not isinstance(count, int) or count < 1:
            raise InvalidParameterError(f"instanceCount is {count!r}, not a number from 1.")
        return
    if kind != "AUTOSCALING":
        raise InvalidParameterError(f"policyType is {kind!r}, not FIXED_SIZE or AUTOSCALING.")
    if policy.get("coolDownInSeconds", _MIN_COOL_DOWN_SECONDS) < _MIN_COOL_DOWN_SECONDS:
        raise InvalidParameterError(f"coolDownInSeconds is less than {_MIN_COOL_DOWN_SECONDS}.")
    for part in require(policy, "autoScalingPolicies"):
        low, first, high = (require(part, f"{name}InstanceCount") for name in ("minimum", "initial", "maximum"))
        if not 1 <= low <= first <= high:
            raise InvalidParameterError(f"Instance counts {low}, {first}, {high} are not in rising order.")
        for rule in require(part, "rules"):
            _check_rule(rule)


def _check_rule(rule: Json) -> None:
    """Refuse an autoscaling rule with an unknown metric, or without both bounds."""
    kind = rule.get("metricExpressionRuleType")
    if kind == "PREDEFINED_EXPRESSION" and rule.get("metricType") not in _METRICS:
        raise InvalidParameterError(f"metricType is {rule.get('metricType')!r}, not one of {sorted(_METRICS)}.")
    for name in ("scaleInConfiguration", "scaleOutConfiguration"):
        bound = require_object(rule, name)
        require(bound, "threshold" if kind == "PREDEFINED_EXPRESSION" else "query")


def _check_environment(variables: Json) -> None:
    for name, value in variables.items():
        if not _VARIABLE_NAME.fullmatch(name):
            raise InvalidParameterError(
                f"Environment variable {name!r}: 2 to 31 letters, digits and underscores,"
                " beginning with a letter and not ending with an underscore."
            )
        if not isinstance(value, str):
            raise InvalidParameterError(f"The value of environment variable {name!r} is not a string.")
    size = sum(len(f"{name}{value}".encode()) for name, value in variables.items())
    if size >= _MAX_ENVIRONMENT_BYTES:
        raise InvalidParameterError(f"The environment variables have {size} bytes; less than 2048 are allowed.")
