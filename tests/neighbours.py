"""Resources of other teams in our OCI project: in the forms of OCI's API reference, and in forms that may come.

Source: https://docs.oracle.com/en-us/iaas/api/#/en/data-science/20190101/ModelDeployment/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oci_emulator.testing import RunningEmulator

OURS = "product-recommender"  # the project that our tags name
INSTANCE = {"instanceShapeName": "VM.GPU.A10.2", "subnetId": "ocid1.subnet.oc1.iad.neighbour"}
AUTOSCALING = {
    "policyType": "AUTOSCALING",
    "isEnabled": True,
    "coolDownInSeconds": 600,
    "autoScalingPolicies": [
        {
            "autoScalingPolicyType": "THRESHOLD",
            "minimumInstanceCount": 2,
            "maximumInstanceCount": 6,
            "initialInstanceCount": 2,
            "rules": [
                {
                    "metricExpressionRuleType": "PREDEFINED_EXPRESSION",
                    "metricType": "CPU_UTILIZATION",
                    "scaleInConfiguration": {"scalingConfigurationType": "THRESHOLD", "threshold": 30},
                    "scaleOutConfiguration": {"scalingConfigurationType": "THRESHOLD", "threshold": 70},
                }
            ],
        }
    ],
}
MODEL_GROUP = {
    "deploymentType": "MODEL_GROUP",
    "modelGroupConfigurationDetails": {"modelGroupId": "ocid1.datasciencemodelgroup.oc1.iad.neighbour"},
    "infrastructureConfigurationDetails": {
        "infrastructureType": "INSTANCE_POOL",
        "instanceConfiguration": INSTANCE,
        "scalingPolicy": {"policyType": "FIXED_SIZE", "instanceCount": 1},
        "bandwidthMbps": 10,
        "maximumBandwidthMbps": 20,
    },
    "environmentConfigurationDetails": {"environmentConfigurationType": "DEFAULT", "environmentVariables": {}},
}
CONTAINER: dict[str, Any] = {
    "deploymentType": "SINGLE_MODEL",
    "modelConfigurationDetails": {
        "modelId": "ocid1.datasciencemodel.oc1.iad.neighbour",
        "bandwidthMbps": 10,
        "instanceConfiguration": INSTANCE,
        "scalingPolicy": AUTOSCALING,
    },
    "environmentConfigurationDetails": {
        "environmentConfigurationType": "OCIR_CONTAINER",
        "image": "iad.ocir.io/neighbour/llm:1",
        "serverPort": 8080,
        "healthCheckPort": 8080,
    },
}
BOUND = {"scalingConfigurationType": "THRESHOLD", "threshold": 70}
RULE = {"metricExpressionRuleType": "PREDEFINED_EXPRESSION", "metricType": "CPU_UTILIZATION"}


def scaled_by(*policies: dict[str, Any] | None) -> dict[str, Any]:
    """Return a deployment of another project of ours whose autoscaling is not as the API reference shows it."""
    policy = {"policyType": "AUTOSCALING", "autoScalingPolicies": list(policies)}
    details = {
        "deploymentType": "SINGLE_MODEL",
        "modelConfigurationDetails": {**CONTAINER["modelConfigurationDetails"], "scalingPolicy": policy},
        "environmentConfigurationDetails": {"environmentConfigurationType": "DEFAULT"},
    }
    tags = {"recdeploy-project": "basket-recommender"}
    return {"displayName": "scaled", "modelDeploymentConfigurationDetails": details, "freeformTags": tags}


def by_threshold(*rules: dict[str, Any] | None) -> dict[str, Any]:
    """Return an autoscaling policy with rules."""
    counts = {"minimumInstanceCount": 1, "maximumInstanceCount": 2, "initialInstanceCount": 1}
    return {"autoScalingPolicyType": "THRESHOLD", **counts, "rules": list(rules)}


# Our tags, which another team has copied to its own resources.
BORROWED_TAGS = {"recdeploy-project": OURS, "recdeploy-version": "1", "recdeploy-run": "run-1"}

DEPLOYMENTS: Mapping[str, dict[str, Any]] = {
    "a model group": {"displayName": "llm", "modelDeploymentConfigurationDetails": MODEL_GROUP, "freeformTags": {}},
    "a flexible single model": {
        "displayName": "flexible",
        "modelDeploymentConfigurationDetails": {
            "deploymentType": "SINGLE_MODEL_FLEX",
            "modelConfigurationDetails": {"modelId": "ocid1.datasciencemodel.oc1.iad.neighbour"},
            "infrastructureConfigurationDetails": {"infrastructureType": "MANAGED_COMPUTE_CLUSTER"},
        },
    },
    "a container": {"displayName": "container", "modelDeploymentConfigurationDetails": CONTAINER},
    "a kind that the SDK does not know": {
        "displayName": "serverless",
        "modelDeploymentConfigurationDetails": {"deploymentType": "SERVERLESS", "functions": [1]},
    },
    "a state that the SDK does not know": {
        "displayName": "hibernating",
        "lifecycleState": "HIBERNATING",
        "modelDeploymentConfigurationDetails": CONTAINER,
    },
    "no optional field": {},
    "empty parts, as it failed": {
        "displayName": None,
        "lifecycleState": "FAILED",
        "freeformTags": None,
        "modelDeploymentConfigurationDetails": {
            "deploymentType": "SINGLE_MODEL",
            "modelConfigurationDetails": {
                "modelId": "ocid1.datasciencemodel.oc1.iad.neighbour",
                "instanceConfiguration": None,
                "scalingPolicy": None,
            },
            "environmentConfigurationDetails": None,
        },
    },
    "no model": {
        "modelDeploymentConfigurationDetails": {"deploymentType": "SINGLE_MODEL", "modelConfigurationDetails": None}
    },
    "two kinds of autoscaling at once": scaled_by(by_threshold(), {"autoScalingPolicyType": "SCHEDULED"}),
    "autoscaling that never scales in": scaled_by(by_threshold({**RULE, "scaleOutConfiguration": BOUND})),
    "autoscaling by a bound that the SDK does not know": scaled_by(
        by_threshold(
            {**RULE, "scaleOutConfiguration": BOUND, "scaleInConfiguration": {"scalingConfigurationType": "PERCENT"}}
        )
    ),
    "autoscaling by a rule that the SDK does not know": scaled_by(by_threshold({"metricExpressionRuleType": "QUERY"})),
    "autoscaling by an empty rule": scaled_by(by_threshold(None)),
    "autoscaling by an empty policy": scaled_by(None),
    "a model group with the tags of our production": {
        "displayName": "product-recommender-production",
        "modelDeploymentConfigurationDetails": MODEL_GROUP,
        "freeformTags": {**BORROWED_TAGS, "recdeploy-role": "production"},
    },
    "a model group with the tags of our test": {
        "displayName": "product-recommender-test-v1",
        "modelDeploymentConfigurationDetails": MODEL_GROUP,
        "freeformTags": {**BORROWED_TAGS, "recdeploy-role": "test", "recdeploy-lease": "2020-01-01T00:00:00+00:00"},
    },
}
MODELS: Mapping[str, dict[str, Any]] = {
    **{
        f"a model in {state}": {"displayName": f"model-{state}", "lifecycleState": state, "freeformTags": {}}
        for state in ("ACTIVE", "INACTIVE", "FAILED", "DELETED", "HIBERNATING")
    },
    "a model by reference": {"displayName": "llm", "isModelByReference": True, "category": "SERVICE"},
    "a model without an optional field": {"displayName": None, "freeformTags": None},
    "a model of our name": {"displayName": "product-recommender-v2", "versionLabel": "v2"},
    "a model of another project of ours": {
        "displayName": "basket-recommender-v7",
        "freeformTags": {"recdeploy-project": "basket-recommender", "recdeploy-version": "7"},
    },
}


def add_neighbours(emulator: RunningEmulator, project_id: str) -> list[str]:
    """Add all of them to a project of the emulator; return their OCIDs."""
    parents = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    return [
        emulator.add_neighbour(collection, {**parents, **document})
        for collection, documents in (("modelDeployments", DEPLOYMENTS), ("models", MODELS))
        for document in documents.values()
    ]
