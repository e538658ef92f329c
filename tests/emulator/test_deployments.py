import time
from operator import attrgetter
from typing import Any

import pytest
from oci.data_science import models

from oci_emulator.data_science.lifecycles import TRANSITIONS
from tests.emulator.clouds import CHANGES, Cloud, artifact, refusal, single_model


def update(**values: Any) -> models.UpdateModelDeploymentDetails:
    """Return update details from fields of the deployment, fields of its model part, and `environment`."""
    outer = {name: values.pop(name) for name in list(values) if hasattr(models.UpdateModelDeploymentDetails, name)}
    environment = values.pop("environment", None)
    configuration = models.UpdateSingleModelDeploymentConfigurationDetails()
    if values:
        configuration.model_configuration_details = models.UpdateModelConfigurationDetails(**values)
    if environment is not None:
        kind = models.UpdateDefaultModelDeploymentEnvironmentConfigurationDetails
        configuration.environment_configuration_details = kind(environment_variables=environment)
    if values or environment is not None:
        outer["model_deployment_configuration_details"] = configuration
    return models.UpdateModelDeploymentDetails(**outer)


def updated(cloud: Cloud, deployment: str, **values: Any) -> None:
    """Make an update that must succeed."""
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(**values)))


def refused_update(cloud: Cloud, deployment: str, **values: Any) -> tuple[int, str]:
    """Request an update that must be refused; return the status and OCI's code."""
    return refusal(cloud.science.update_model_deployment, deployment, update(**values))


def larger() -> models.InstanceConfiguration:
    size = models.ModelDeploymentInstanceShapeConfigDetails(ocpus=2, memory_in_gbs=32)
    return models.InstanceConfiguration(
        instance_shape_name="VM.Standard.E5.Flex", model_deployment_instance_shape_config_details=size
    )


def test_a_deployment_is_created_and_answers(cloud: Cloud) -> None:
    cloud.emulator.set_timings(create=0.3)
    response = cloud.begin_deployment(cloud.model())
    assert response.status == 201
    assert response.data.lifecycle_state == "CREATING"
    assert response.headers["location"].endswith(response.data.id)
    assert refusal(cloud.predict, response.data.id) == (404, "NotAuthorizedOrNotFound")
    work_request = cloud.succeeded(response)
    assert work_request.operation_type == "MODEL_DEPLOYMENT_CREATE"
    assert [(item.action_type, item.identifier) for item in work_request.resources] == [("CREATED", response.data.id)]
    deployment = cloud.science.get_model_deployment(response.data.id)
    assert deployment.data.lifecycle_state == "ACTIVE"
    assert deployment.data.model_deployment_url == f"{cloud.emulator.url}/{deployment.data.id}"
    assert deployment.data.model_deployment_system_data.current_instance_count == 1
    assert deployment.headers["etag"] != response.headers["etag"]
    assert cloud.predict(deployment.data.id, {"user": "u"})["data"] == {"user": "u"}
    assert cloud.science.list_work_request_logs(work_request.id).data
    assert cloud.science.list_work_request_errors(work_request.id).data == []


def follow(cloud: Cloud, identifier: str) -> list[tuple[str, float]]:
    """Read a work request until it ends; return each status with its percentage."""
    seen: list[tuple[str, float]] = []
    while not seen or seen[-1][0] not in ("SUCCEEDED", "FAILED"):
        work_request = cloud.science.get_work_request(identifier).data
        seen.append((work_request.status, work_request.percent_complete))
        time.sleep(0.02)
    return seen


def test_progress_reaches_100_only_at_the_end(cloud: Cloud) -> None:
    for seconds in (0.5, 5, 50):  # until there is time for enough reads
        cloud.emulator.set_timings(create=seconds)
        seen = follow(cloud, cloud.begin_deployment(cloud.model()).headers["opc-work-request-id"])
        if len(seen) > 8:
            break
    percents = [percent for _, percent in seen]
    assert percents == sorted(percents)
    assert len({round(percent) for percent in percents}) > 3
    assert all(percent < 100 for status, percent in seen if status == "IN_PROGRESS")
    assert seen[-1] == ("SUCCEEDED", 100)


def test_an_update_switches_the_model_at_the_same_url(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.echo_model("old"))
    before = cloud.science.get_model_deployment(deployment)
    new = cloud.echo_model("new")
    response = cloud.switch(deployment, new)
    assert (response.status, response.data) == (202, None)
    cloud.succeeded(response)
    after = cloud.science.get_model_deployment(deployment)
    assert after.data.model_deployment_url == before.data.model_deployment_url
    assert after.headers["etag"] != before.headers["etag"]
    assert cloud.deployed_model(deployment) == new
    assert cloud.predict(deployment)["version"] == "new"


def test_the_whole_lifecycle(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.succeeded(cloud.science.deactivate_model_deployment(deployment))
    assert cloud.state(deployment) == "INACTIVE"
    assert refusal(cloud.predict, deployment) == (404, "NotAuthorizedOrNotFound")
    cloud.succeeded(cloud.science.activate_model_deployment(deployment))
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.predict(deployment)["version"] == 1
    cloud.succeeded(cloud.science.delete_model_deployment(deployment))
    assert cloud.state(deployment) == "DELETED"
    assert refusal(cloud.predict, deployment) == (404, "NotAuthorizedOrNotFound")


def call(cloud: Cloud, operation: str, deployment: str, **options: Any) -> Any:
    arguments = [update(description="x")] if operation == "UpdateModelDeployment" else []
    return getattr(cloud.science, CHANGES[operation])(deployment, *arguments, **options)


@pytest.fixture
def in_state(cloud: Cloud) -> Any:
    """Return a function that creates a deployment and brings it to a lifecycle state."""

    def bring(state: str) -> str:
        slow = dict.fromkeys(("create", "update", "delete"), 30.0)
        if state == "FAILED":
            response = cloud.begin_deployment(cloud.model(artifact("raise ValueError('broken')")))
            cloud.failed(response)
            return str(response.data.id)
        if state == "CREATING":
            cloud.emulator.set_timings(**slow)
            return str(cloud.begin_deployment(cloud.model()).data.id)
        deployment = cloud.deployment()
        if state == "NEEDS_ATTENTION":
            cloud.emulator.fail_next("UpdateModelDeployment", "needs_attention")
            cloud.failed(call(cloud, "UpdateModelDeployment", deployment))
        if state in ("INACTIVE", "DELETED"):
            kind = {"INACTIVE": "DeactivateModelDeployment", "DELETED": "DeleteModelDeployment"}[state]
            cloud.succeeded(call(cloud, kind, deployment))
        cloud.emulator.set_timings(**slow)
        if state == "UPDATING":
            call(cloud, "UpdateModelDeployment", deployment)
        if state == "DELETING":
            call(cloud, "DeleteModelDeployment", deployment)
        return deployment

    return bring


@pytest.mark.parametrize(
    "state",
    ["CREATING", "ACTIVE", "UPDATING", "FAILED", "INACTIVE", "DELETING", "DELETED", "NEEDS_ATTENTION"],
)
def test_a_state_admits_the_operations_in_the_table(cloud: Cloud, in_state: Any, state: str) -> None:
    deployment = in_state(state)
    assert cloud.state(deployment) == state
    admitted = [name for name in CHANGES if state in TRANSITIONS[name].succeeds]
    for name in CHANGES.keys() - admitted:
        assert refusal(call, cloud, name, deployment) == (409, "IncorrectState")
    if admitted:
        assert call(cloud, admitted[0], deployment).status == 202


def test_the_table_of_transitions_is_that_of_oci() -> None:
    admits = {name: set(transition.succeeds) for name, transition in TRANSITIONS.items()}
    assert admits == {
        "CreateModelDeployment": {""},
        "UpdateModelDeployment": {"ACTIVE", "NEEDS_ATTENTION", "INACTIVE"},
        "ActivateModelDeployment": {"INACTIVE"},
        "DeactivateModelDeployment": {"ACTIVE"},
        "DeleteModelDeployment": {"ACTIVE", "INACTIVE", "FAILED", "NEEDS_ATTENTION"},
    }


@pytest.mark.parametrize("operation", CHANGES)
def test_an_old_etag_is_refused_before_the_state(cloud: Cloud, in_state: Any, operation: str) -> None:
    deployment = in_state("UPDATING")
    assert refusal(call, cloud, operation, deployment, if_match="old") == (412, "NoEtagMatch")
    assert refusal(call, cloud, operation, deployment) == (409, "IncorrectState")


def test_an_etag_admits_only_one_of_two_updates(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    etag = cloud.science.get_model_deployment(deployment).headers["etag"]
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(description="a"), if_match=etag))
    second = refusal(cloud.science.update_model_deployment, deployment, update(description="b"), if_match=etag)
    assert second == (412, "NoEtagMatch")


@pytest.mark.parametrize(
    "values",
    [
        {"description": "new", "environment": {"MODE": "x"}},
        {"instance_configuration": larger(), "environment": {"MODE": "x"}},
        {"bandwidth_mbps": 20, "maximum_bandwidth_mbps": 40, "display_name": "other"},
        {"scaling_policy": models.FixedSizeScalingPolicy(instance_count=2), "bandwidth_mbps": 20},
    ],
)
def test_two_groups_of_options_at_once_are_refused(cloud: Cloud, values: dict[str, Any]) -> None:
    deployment = cloud.deployment()
    assert refused_update(cloud, deployment, **values) == (400, "InvalidParameter")
    assert cloud.state(deployment) == "ACTIVE"


@pytest.mark.parametrize(
    "values",
    [
        {"display_name": "new", "description": "new"},
        {"freeform_tags": {"only": "tags"}},
        {"environment": {"MODE": "x"}, "freeform_tags": {"with": "tags"}},
        {"instance_configuration": larger(), "scaling_policy": models.FixedSizeScalingPolicy(instance_count=2)},
        {"bandwidth_mbps": 20, "maximum_bandwidth_mbps": 40},
    ],
)
def test_one_group_of_options_is_updated(cloud: Cloud, values: dict[str, Any]) -> None:
    deployment = cloud.deployment()
    updated(cloud, deployment, **values)
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.predict(deployment)["version"] == 1


def test_unchanged_values_do_not_count_as_a_group(cloud: Cloud) -> None:
    deployment = cloud.deployment(environment={"MODE": "x"})
    new = cloud.model()
    updated(
        cloud,
        deployment,
        display_name="d",
        model_id=new,
        bandwidth_mbps=10,
        instance_configuration=single_model(new).model_configuration_details.instance_configuration,
        scaling_policy=models.FixedSizeScalingPolicy(instance_count=1),
        environment={"MODE": "x"},
    )
    assert cloud.deployed_model(deployment) == new


def test_all_groups_are_updated_at_once_while_inactive(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.succeeded(cloud.science.deactivate_model_deployment(deployment))
    new, environment = cloud.echo_model(2), {"WEB_CONCURRENCY": "1"}
    updated(
        cloud, deployment, description="new", model_id=new, instance_configuration=larger(), environment=environment
    )
    assert cloud.state(deployment) == "INACTIVE"
    cloud.succeeded(cloud.science.activate_model_deployment(deployment))
    assert cloud.predict(deployment)["version"] == 2


def test_instances_are_counted(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(), count=3)
    assert cloud.science.get_model_deployment(deployment).data.model_deployment_system_data.current_instance_count == 3


def networked() -> Any:
    instance = larger()
    instance.subnet_id, instance.private_endpoint_id = "ocid1.subnet.oc1..a", "ocid1.datascienceprivateendpoint.oc1..a"
    return instance


def instance_of(cloud: Cloud, deployment: str) -> Any:
    configuration = cloud.science.get_model_deployment(deployment).data.model_deployment_configuration_details
    return configuration.model_configuration_details.instance_configuration


def test_an_instance_configuration_is_replaced_as_a_whole_but_keeps_its_subnet(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    updated(cloud, deployment, instance_configuration=networked())
    assert instance_of(cloud, deployment).private_endpoint_id == networked().private_endpoint_id
    without_endpoint = networked()
    without_endpoint.private_endpoint_id = None
    updated(cloud, deployment, instance_configuration=without_endpoint)
    assert instance_of(cloud, deployment) == without_endpoint
    assert refused_update(cloud, deployment, instance_configuration=larger()) == (400, "InvalidParameter")
    assert instance_of(cloud, deployment) == without_endpoint


def autoscaling(low: int = 2, first: int = 2, high: int = 6, scale_out: int | None = 70, **values: Any) -> Any:
    bound = models.PredefinedExpressionThresholdScalingConfiguration
    rule = models.PredefinedMetricExpressionRule(
        metric_type="CPU_UTILIZATION",
        scale_in_configuration=bound(threshold=30),
        scale_out_configuration=bound(threshold=scale_out),
    )
    policy = models.ThresholdBasedAutoScalingPolicyDetails(
        minimum_instance_count=low, initial_instance_count=first, maximum_instance_count=high, rules=[rule]
    )
    return models.AutoScalingPolicy(**{"cool_down_in_seconds": 600, "auto_scaling_policies": [policy]} | values)


def test_a_scaling_policy_is_replaced(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    for policy, count in ((autoscaling(), 2), (models.FixedSizeScalingPolicy(instance_count=3), 3)):
        updated(cloud, deployment, scaling_policy=policy)
        shown = cloud.science.get_model_deployment(deployment).data
        stored = shown.model_deployment_configuration_details.model_configuration_details.scaling_policy
        assert stored == policy
        assert shown.model_deployment_system_data.current_instance_count == count


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (autoscaling(low=0), "InvalidParameter"),
        (autoscaling(first=1), "InvalidParameter"),
        (autoscaling(high=1), "InvalidParameter"),
        (autoscaling(scale_out=None), "MissingParameter"),
        (autoscaling(cool_down_in_seconds=30), "InvalidParameter"),
        (autoscaling(auto_scaling_policies=None), "MissingParameter"),
    ],
)
def test_invalid_autoscaling_is_refused(cloud: Cloud, policy: Any, code: str) -> None:
    assert refused_update(cloud, cloud.deployment(), scaling_policy=policy) == (400, code)


MODEL = "model_configuration_details"
INSTANCE = f"{MODEL}.instance_configuration"
SIZE = f"{INSTANCE}.model_deployment_instance_shape_config_details"
VARIABLES = "environment_configuration_details.environment_variables"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(f"{INSTANCE}.instance_shape_name", "VM.Huge", id="an unknown shape"),
        pytest.param(SIZE, None, id="a flexible shape without a size"),
        pytest.param(f"{SIZE}.memory_in_gbs", 100, id="too much memory"),
        pytest.param(f"{MODEL}.scaling_policy.instance_count", 0, id="no instance"),
        pytest.param(f"{MODEL}.maximum_bandwidth_mbps", 30, id="more than twice the bandwidth"),
        pytest.param(VARIABLES, {"_X": "1"}, id="an invalid name of a variable"),
        pytest.param(VARIABLES, {"BIG": "x" * 2048}, id="too many bytes of variables"),
    ],
)
def test_an_invalid_configuration_is_refused(cloud: Cloud, field: str, value: Any) -> None:
    configuration = single_model(cloud.model())
    parent, _, name = field.rpartition(".")
    setattr(attrgetter(parent)(configuration), name, value)
    details = cloud.deployment_details(configuration)
    assert refusal(cloud.science.create_model_deployment, details) == (400, "InvalidParameter")
    assert cloud.science.list_model_deployments(cloud.compartment).data == []


def test_a_model_that_cannot_be_deployed_is_refused(cloud: Cloud) -> None:
    assert refusal(cloud.begin_deployment, cloud.empty_model()) == (400, "InvalidParameter")
    assert refusal(cloud.begin_deployment, "ocid1.datasciencemodel.oc1..no")[0] == 400
    inactive = cloud.model()
    cloud.science.deactivate_model(inactive)
    assert refusal(cloud.begin_deployment, inactive) == (409, "IncorrectState")


def test_a_model_group_is_not_emulated(cloud: Cloud) -> None:
    details = cloud.deployment_details(models.ModelGroupDeploymentConfigurationDetails())
    assert refusal(cloud.science.create_model_deployment, details) == (501, "NotImplemented")
