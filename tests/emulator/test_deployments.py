import time
from typing import Any

import pytest
from oci.data_science import models

from oci_emulator.data_science.lifecycles import TRANSITIONS
from tests.emulator.clouds import Cloud, artifact, echo_score, model_switch, refusal, single_model


def update(**values: Any) -> models.UpdateModelDeploymentDetails:
    """Update details: values of the deployment itself, or of the configuration's model part."""
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


def watched(cloud: Cloud, identifier: str) -> list[tuple[str, float]]:
    """Look at a work request until it ends; return each status and the percents."""
    seen: list[tuple[str, float]] = []
    while not seen or seen[-1][0] not in ("SUCCEEDED", "FAILED"):
        work_request = cloud.science.get_work_request(identifier).data
        seen.append((work_request.status, work_request.percent_complete))
        time.sleep(0.02)
    return seen


def test_progress_reaches_100_together_with_the_end(cloud: Cloud) -> None:
    for seconds in (0.5, 5, 50):  # until there is time for enough looks
        cloud.emulator.set_timings(create=seconds)
        seen = watched(cloud, cloud.begin_deployment(cloud.model()).headers["opc-work-request-id"])
        if len(seen) > 8:
            break
    percents = [percent for _, percent in seen]
    assert percents == sorted(percents)
    assert len({round(percent) for percent in percents}) > 3
    assert all(percent < 100 for status, percent in seen if status == "IN_PROGRESS")
    assert seen[-1] == ("SUCCEEDED", 100)


def test_an_update_switches_the_model_at_the_same_url(cloud: Cloud) -> None:
    deployment = cloud.deployment(cloud.model(artifact(echo_score("old"))))
    before = cloud.science.get_model_deployment(deployment)
    new = cloud.model(artifact(echo_score("new")))
    response = cloud.science.update_model_deployment(deployment, model_switch(new))
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


CALLS = {
    "ActivateModelDeployment": "activate_model_deployment",
    "DeactivateModelDeployment": "deactivate_model_deployment",
    "DeleteModelDeployment": "delete_model_deployment",
    "UpdateModelDeployment": "update_model_deployment",
}


def call(cloud: Cloud, operation: str, deployment: str, **options: Any) -> Any:
    arguments = [update(description="x")] if operation == "UpdateModelDeployment" else []
    return getattr(cloud.science, CALLS[operation])(deployment, *arguments, **options)


@pytest.fixture
def in_state(cloud: Cloud) -> Any:
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
            cloud.failed(cloud.science.update_model_deployment(deployment, update(description="y")))
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
def test_a_state_admits_what_the_table_says(cloud: Cloud, in_state: Any, state: str) -> None:
    deployment = in_state(state)
    assert cloud.state(deployment) == state
    refused = [name for name in CALLS if state not in TRANSITIONS[name].succeeds]
    for name in refused:
        assert refusal(call, cloud, name, deployment) == (409, "IncorrectState")
    if len(refused) < len(CALLS):
        admitted = next(name for name in CALLS if name not in refused)
        assert call(cloud, admitted, deployment).status == 202


def test_the_table_of_transitions_is_ocis() -> None:
    admits = {name: set(transition.succeeds) for name, transition in TRANSITIONS.items()}
    assert admits == {
        "CreateModelDeployment": {""},
        "UpdateModelDeployment": {"ACTIVE", "NEEDS_ATTENTION", "INACTIVE"},
        "ActivateModelDeployment": {"INACTIVE"},
        "DeactivateModelDeployment": {"ACTIVE"},
        "DeleteModelDeployment": {"ACTIVE", "INACTIVE", "FAILED", "NEEDS_ATTENTION"},
    }


@pytest.mark.parametrize("operation", CALLS)
def test_an_old_etag_is_refused_before_the_state(cloud: Cloud, in_state: Any, operation: str) -> None:
    deployment = in_state("UPDATING")
    assert refusal(call, cloud, operation, deployment, if_match="old") == (412, "NoEtagMatch")
    assert refusal(call, cloud, operation, deployment) == (409, "IncorrectState")


def test_the_right_etag_admits_one_of_two(cloud: Cloud) -> None:
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
    answer = refusal(cloud.science.update_model_deployment, deployment, update(**values))
    assert answer == (400, "InvalidParameter")
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
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(**values)))
    assert cloud.state(deployment) == "ACTIVE"
    assert cloud.predict(deployment)["version"] == 1


def test_values_sent_again_unchanged_count_for_nothing(cloud: Cloud) -> None:
    model = cloud.model()
    deployment = cloud.deployment(model, environment={"MODE": "x"})
    new = cloud.model()
    details = update(
        display_name="d",
        model_id=new,
        bandwidth_mbps=10,
        instance_configuration=single_model(new).model_configuration_details.instance_configuration,
        scaling_policy=models.FixedSizeScalingPolicy(instance_count=1),
        environment={"MODE": "x"},
    )
    cloud.succeeded(cloud.science.update_model_deployment(deployment, details))
    assert cloud.deployed_model(deployment) == new


def test_everything_is_updated_at_once_while_inactive(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.succeeded(cloud.science.deactivate_model_deployment(deployment))
    new = cloud.model(artifact(echo_score(2)))
    details = update(
        description="new", model_id=new, instance_configuration=larger(), environment={"WEB_CONCURRENCY": "1"}
    )
    cloud.succeeded(cloud.science.update_model_deployment(deployment, details))
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
    found = cloud.science.get_model_deployment(deployment).data.model_deployment_configuration_details
    return found.model_configuration_details.instance_configuration


def test_an_instance_configuration_is_replaced_as_a_whole(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(instance_configuration=networked())))
    assert instance_of(cloud, deployment).private_endpoint_id == networked().private_endpoint_id
    without_endpoint = networked()
    without_endpoint.private_endpoint_id = None
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(instance_configuration=without_endpoint)))
    assert instance_of(cloud, deployment).private_endpoint_id is None
    assert instance_of(cloud, deployment).subnet_id == networked().subnet_id


def test_a_deployment_does_not_go_back_to_default_networking(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    cloud.succeeded(cloud.science.update_model_deployment(deployment, update(instance_configuration=networked())))
    answer = refusal(cloud.science.update_model_deployment, deployment, update(instance_configuration=larger()))
    assert answer == (400, "InvalidParameter")
    assert instance_of(cloud, deployment).subnet_id == networked().subnet_id


def autoscaling(low: int = 2, first: int = 2, high: int = 6, metric: str = "CPU_UTILIZATION", **values: Any) -> Any:
    bound = models.PredefinedExpressionThresholdScalingConfiguration
    rule = models.PredefinedMetricExpressionRule(
        metric_type=metric,
        scale_in_configuration=bound(threshold=30),
        scale_out_configuration=bound(threshold=values.pop("scale_out", 70)),
    )
    policy = models.ThresholdBasedAutoScalingPolicyDetails(
        minimum_instance_count=low, initial_instance_count=first, maximum_instance_count=high, rules=[rule]
    )
    return models.AutoScalingPolicy(**{"cool_down_in_seconds": 600, "auto_scaling_policies": [policy]} | values)


def test_a_scaling_policy_takes_the_place_of_another(cloud: Cloud) -> None:
    deployment = cloud.deployment()
    for policy, count in ((autoscaling(), 2), (models.FixedSizeScalingPolicy(instance_count=3), 3)):
        cloud.succeeded(cloud.science.update_model_deployment(deployment, update(scaling_policy=policy)))
        found = cloud.science.get_model_deployment(deployment).data
        stored = found.model_deployment_configuration_details.model_configuration_details.scaling_policy
        assert stored == policy
        assert found.model_deployment_system_data.current_instance_count == count


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
def test_autoscaling_that_oci_does_not_take_is_refused(cloud: Cloud, policy: Any, code: str) -> None:
    deployment = cloud.deployment()
    assert refusal(cloud.science.update_model_deployment, deployment, update(scaling_policy=policy)) == (400, code)


def wrong_shape(details: Any) -> None:
    details.model_configuration_details.instance_configuration.instance_shape_name = "VM.Huge"


def no_size(details: Any) -> None:
    details.model_configuration_details.instance_configuration.model_deployment_instance_shape_config_details = None


def too_much_memory(details: Any) -> None:
    part = details.model_configuration_details.instance_configuration
    part.model_deployment_instance_shape_config_details.memory_in_gbs = 100


def no_instance(details: Any) -> None:
    details.model_configuration_details.scaling_policy.instance_count = 0


def too_wide(details: Any) -> None:
    details.model_configuration_details.bandwidth_mbps = 10
    details.model_configuration_details.maximum_bandwidth_mbps = 30


def wrong_variable(details: Any) -> None:
    details.environment_configuration_details.environment_variables = {"_X": "1"}


def too_many_variables(details: Any) -> None:
    details.environment_configuration_details.environment_variables = {"BIG": "x" * 2048}


@pytest.mark.parametrize(
    "spoil",
    [wrong_shape, no_size, too_much_memory, no_instance, too_wide, wrong_variable, too_many_variables],
)
def test_a_configuration_that_oci_does_not_take_is_refused(cloud: Cloud, spoil: Any) -> None:
    configuration = single_model(cloud.model())
    spoil(configuration)
    details = models.CreateModelDeploymentDetails(
        compartment_id=cloud.compartment,
        project_id=cloud.project,
        model_deployment_configuration_details=configuration,
    )
    assert refusal(cloud.science.create_model_deployment, details) == (400, "InvalidParameter")
    assert cloud.science.list_model_deployments(cloud.compartment).data == []


def test_a_model_that_cannot_be_deployed_is_refused(cloud: Cloud) -> None:
    assert refusal(cloud.begin_deployment, cloud.empty_model()) == (400, "InvalidParameter")
    assert refusal(cloud.begin_deployment, "ocid1.datasciencemodel.oc1..no")[0] == 400
    inactive = cloud.model()
    cloud.science.deactivate_model(inactive)
    assert refusal(cloud.begin_deployment, inactive) == (409, "IncorrectState")


def test_a_model_group_is_not_emulated(cloud: Cloud) -> None:
    details = models.CreateModelDeploymentDetails(
        compartment_id=cloud.compartment,
        project_id=cloud.project,
        model_deployment_configuration_details=models.ModelGroupDeploymentConfigurationDetails(),
    )
    assert refusal(cloud.science.create_model_deployment, details) == (501, "NotImplemented")
