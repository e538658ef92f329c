"""Production's size: a size set by hand stays; one that a person asks for is approved, applied once and recorded."""

from __future__ import annotations

from dataclasses import replace

import oci
import pytest
from steps.factories import Run, served

from recdeploy_ops.approvals.questions import describe_evidence
from recdeploy_ops.deployment_manager.overrides import default_params
from recdeploy_ops.domain.codec import to_plain
from recdeploy_ops.domain.errors import ApprovalError, DeploymentFailedError, TransientError
from recdeploy_ops.domain.events import Resized
from recdeploy_ops.domain.records import Autoscaling, Decision, Shape
from recdeploy_ops.domain.sizes import SizeRequest
from recdeploy_ops.settings import ServingSettings

pytestmark = pytest.mark.more

E4 = "VM.Standard.E4.Flex"
SCALED = {"minimum": 2, "maximum": 6, "initial": 2}
BY_HAND = Autoscaling(2, 6, 2, "CPU_UTILIZATION", 20, 80, 900)
OF_SETTINGS = Autoscaling(2, 6, 2, "CPU_UTILIZATION", 30, 70, 600)
BY_QUERY = Autoscaling(2, 6, 2, None, None, None, 600)
NOT_RESIZED = "^v2 is in production, verified, but not in the configured size: "
SUBNET, ENDPOINT = "ocid1.subnet.oc1..a", "ocid1.datascienceprivateendpoint.oc1..a"
RESERVATIONS = ["ocid1.capacityreservation.oc1..a"]
WITHOUT_TEST = {"skip_test_deployment": True}  # faster: these tests are not about the size of TEST
sdk = oci.data_science.models


@pytest.fixture
def science(emulator):
    return oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)


@pytest.fixture
def release(context, tmp_path):
    """Makes runs whose params are those of the settings, as the schedule triggers them."""

    def make(run_id, *, shift=0, given=None, **serving):
        known = context.settings.serving.model_dump() | serving
        settings = context.settings.model_copy(update={"serving": ServingSettings.model_validate(known)})
        params = default_params(settings)
        size = {name: getattr(params, name) for name in ("instance_shape", "ocpus", "memory_gb", "instance_count")}
        size |= {"autoscaling": params.autoscaling}
        return Run(replace(context, settings=settings), run_id, tmp_path, shift=shift, **size | (given or {}))

    return make


@pytest.fixture
def first(release, begin_with):
    """Begins a test with v1 in production, in the size of the settings."""
    begin_with("released-in-the-size-of-the-settings", lambda: release("run-1", given=WITHOUT_TEST).release_fully())


@pytest.fixture
def approve(release):
    """Makes run-2 whose params or settings ask for a size, and has it approved."""

    def approve(**serving):
        second = release("run-2", shift=1, **serving)
        second.validate()
        second.answer(Decision.PROMOTE)
        return second

    return approve


@pytest.fixture
def update(context, science, emulator):
    """Updates production in the console."""

    def update(**details):
        changes = sdk.UpdateModelDeploymentDetails(**details)
        science.update_model_deployment(production_of(context).deployment_id, changes)
        emulator.wait_until_idle()

    return update


@pytest.fixture
def change(update):
    """Changes the compute of production in the console."""

    def change(**compute):
        model = sdk.UpdateModelConfigurationDetails(**compute)
        configuration = sdk.UpdateSingleModelDeploymentConfigurationDetails(model_configuration_details=model)
        update(model_deployment_configuration_details=configuration)

    return change


def production_of(context):
    return context.deployments.get(context.ledger.read().production.deployment_id)


def instances(count):
    return {"scaling_policy": sdk.FixedSizeScalingPolicy(instance_count=count)}


def autoscaling():
    bound = sdk.PredefinedExpressionThresholdScalingConfiguration
    rule = sdk.PredefinedMetricExpressionRule(
        metric_type=BY_HAND.metric,
        scale_in_configuration=bound(threshold=BY_HAND.scale_in),
        scale_out_configuration=bound(threshold=BY_HAND.scale_out),
    )
    return {"scaling_policy": scaling_policy(rule, BY_HAND.cool_down_seconds)}


def own_query():
    bound = sdk.CustomExpressionQueryScalingConfiguration
    rule = sdk.CustomMetricExpressionRule(
        scale_in_configuration=bound(query="CPUUtilization[1m].mean() < 25"),
        scale_out_configuration=bound(query="CPUUtilization[1m].mean() > 75"),
    )
    return {"scaling_policy": scaling_policy(rule, 600)}


def scaling_policy(rule, cool_down_seconds):
    policy = sdk.ThresholdBasedAutoScalingPolicyDetails(
        minimum_instance_count=2, maximum_instance_count=6, initial_instance_count=2, rules=[rule]
    )
    return sdk.AutoScalingPolicy(
        cool_down_in_seconds=cool_down_seconds, is_enabled=True, auto_scaling_policies=[policy]
    )


def networked(ocpus=1.0, memory=16.0):
    size = sdk.ModelDeploymentInstanceShapeConfigDetails(ocpus=ocpus, memory_in_gbs=memory, cpu_baseline="BASELINE_1_2")
    return {
        "instance_configuration": sdk.InstanceConfiguration(
            instance_shape_name=E4,
            model_deployment_instance_shape_config_details=size,
            subnet_id=SUBNET,
            private_endpoint_id=ENDPOINT,
            network_access_type="CUSTOM_NETWORKING",
            capacity_reservation_ids=RESERVATIONS,
        )
    }


def holds(body):
    return [line for line in body.splitlines() if "production: size" in line]


def case(sentence, size, *, by_hand=None, serving=None, given=None, shown=None):
    """A case: the size that production gets, and the words that show the resize to the approver; none, no resize."""
    return pytest.param(by_hand, serving or {}, given or {}, shown, size, id=sentence)


SCALED_BY_HAND, SCALED_BY_QUERY = (Shape(E4, 1.0, 16.0, None, policy) for policy in (BY_HAND, BY_QUERY))
SCALED_BY_SETTINGS = Shape(E4, 1.0, 16.0, None, OF_SETTINGS)
CASES = [
    case("4 set by hand stay", Shape(E4, 1.0, 16.0, 4), by_hand=instances(4)),
    case("autoscaling set by hand stays", SCALED_BY_HAND, by_hand=autoscaling()),
    case("autoscaling by a query stays", SCALED_BY_QUERY, by_hand=own_query()),
    case("2 OCPUs set by hand stay", Shape(E4, 2.0, 32.0, 1), by_hand=networked(2.0, 32.0)),
    case(
        "4 set by hand stay where the settings say 4",
        Shape(E4, 1.0, 16.0, 4),
        by_hand=instances(4),
        serving={"instance_count": 4},
    ),
    case(
        "the settings ask for 2",
        Shape(E4, 1.0, 16.0, 2),
        serving={"instance_count": 2},
        shown=("from 1 x", "to 2 x"),
    ),
    case(
        "the settings ask for 1 instead of 4",
        Shape(E4, 1.0, 16.0, 1),
        by_hand=instances(4),
        serving={"instance_count": 1},
        shown=("from 4 x", "to 1 x"),
    ),
    case(
        "the settings ask for 1 instead of autoscaling",
        Shape(E4, 1.0, 16.0, 1),
        by_hand=autoscaling(),
        serving={"instance_count": 1},
        shown=("from autoscaling 2 to 6 x", "to 1 x"),
    ),
    case(
        "the settings ask for OCPUs and autoscaling by a query stays",
        Shape(E4, 2.0, 16.0, None, BY_QUERY),
        by_hand=own_query(),
        serving={"ocpus": 2},
        shown=("from autoscaling 2 to 6 x", "to autoscaling 2 to 6 x"),
    ),
    case(
        "the settings ask for another autoscaling than a query's",
        SCALED_BY_SETTINGS,
        by_hand=own_query(),
        serving={"autoscaling": SCALED},
        shown=("from autoscaling 2 to 6 x", "to autoscaling 2 to 6 x"),
    ),
    case(
        "the settings ask for autoscaling",
        SCALED_BY_SETTINGS,
        serving={"autoscaling": SCALED},
        shown=("from 1 x", "to autoscaling 2 to 6 x"),
    ),
    case(
        "a number given for the run comes before the autoscaling of the settings",
        Shape(E4, 1.0, 16.0, 3),
        serving={"autoscaling": SCALED},
        given={"instance_count": 3},
        shown=("from 1 x", "to 3 x"),
    ),
    case(
        "OCPUs given for the run leave 4 set by hand",
        Shape(E4, 2.0, 16.0, 4),
        by_hand=instances(4),
        given={"ocpus": 2},
        shown=("from 4 x", "to 4 x"),
    ),
    case(
        "the settings ask for a fixed shape",
        Shape("VM.Standard2.1", None, None, 1),
        serving={"instance_shape": "VM.Standard2.1", "ocpus": 4},
        shown=("from 1 x", "to 1 x"),
    ),
]


@pytest.mark.parametrize(("by_hand", "serving", "given", "shown", "size"), CASES)
def test_production_is_resized_only_where_a_person_asks_for_it(
    context, release, first, change, emulator, by_hand, serving, given, shown, size
):
    if by_hand:
        change(**by_hand)
    second = release("run-2", shift=1, given=given | WITHOUT_TEST, **serving)
    second.validate()
    emulator.clear_calls()
    question = second.answer(Decision.PROMOTE)
    second.promote()

    assert production_of(context).shape == size
    assert len(emulator.calls("UpdateModelDeployment")) == (2 if shown else 1)
    held = holds(question.body)
    assert len(held) == (1 if shown else 0)
    assert all("HOLD" in line and "production is resized from" in line for line in held)
    assert all(words in held[0] for words in shown or ())
    assert context.ledger.read().production.version == 2


def test_a_size_that_was_applied_is_recorded_and_the_next_release_leaves_production_alone(
    context, release, first, change
):
    release("run-2", shift=1, instance_count=2).release_fully()
    events = [entry.event for entry in context.ledger.entries() if entry.run_id == "run-2"]
    assert [event for event in events if isinstance(event, Resized)] == [Resized(None, None, None, 2)]
    assert context.ledger.read().applied_size == SizeRequest(instance_count=2)

    change(**instances(5))
    third = release("run-3", shift=2, instance_count=2)
    third.validate()
    assert not holds(third.answer(Decision.PROMOTE).body)
    third.promote()
    third.close()
    assert production_of(context).shape.instance_count == 5

    fourth = release("run-4", shift=3, instance_count=3)
    fourth.validate()
    assert "from 5 x" in holds(fourth.answer(Decision.PROMOTE).body)[0]
    fourth.promote()
    assert production_of(context).shape.instance_count == 3


def test_a_requested_size_that_was_set_by_hand_before_counts_as_applied(context, release, first, change):
    change(**instances(2))
    release("run-2", shift=1, instance_count=2).release_fully()
    assert context.ledger.read().applied_size == SizeRequest(instance_count=2)

    change(**instances(4))
    release("run-3", shift=2, instance_count=2).release_fully()
    assert production_of(context).shape.instance_count == 4


def test_the_size_of_a_first_production_counts_as_applied(context, release, change):
    release("run-1", instance_count=2, autoscaling=None, ocpus=2).release_fully()
    assert production_of(context).shape == Shape(E4, 2.0, 16.0, 2)
    assert context.ledger.read().applied_size == SizeRequest(ocpus=2, instance_count=2)

    change(**instances(4))
    release("run-2", shift=1, instance_count=2, ocpus=2).release_fully()
    assert production_of(context).shape == Shape(E4, 2.0, 16.0, 4)


def test_a_first_production_can_have_autoscaling(context, release):
    release("run-1", autoscaling=SCALED).release_fully()

    assert production_of(context).shape == Shape(E4, 1.0, 16.0, None, OF_SETTINGS)


def test_network_bandwidth_environment_and_logs_of_production_stay(context, release, first, change, update, science):
    change(**networked())
    change(bandwidth_mbps=40, maximum_bandwidth_mbps=80)
    environment = sdk.UpdateDefaultModelDeploymentEnvironmentConfigurationDetails(
        environment_variables={"WEB_CONCURRENCY": "4"}
    )
    configuration = sdk.UpdateSingleModelDeploymentConfigurationDetails(environment_configuration_details=environment)
    update(model_deployment_configuration_details=configuration)
    log = sdk.LogDetails(log_group_id="ocid1.loggroup.oc1..a", log_id="ocid1.log.oc1..a")
    update(category_log_details=sdk.UpdateCategoryLogDetails(access=log))
    release("run-2", shift=1, ocpus=2, memory_gb=32, instance_count=2).release_fully()
    assert served(context) == 2
    release("back").roll_back()

    assert served(context) == 1
    deployment = science.get_model_deployment(production_of(context).deployment_id).data
    parts = deployment.model_deployment_configuration_details
    model = parts.model_configuration_details
    instance = model.instance_configuration
    assert production_of(context).shape == Shape(E4, 2.0, 32.0, 2)
    assert model.bandwidth_mbps == 40 != context.settings.serving.bandwidth_mbps
    assert (instance.subnet_id, instance.private_endpoint_id) == (SUBNET, ENDPOINT)
    assert instance.network_access_type == "CUSTOM_NETWORKING"
    assert instance.capacity_reservation_ids == RESERVATIONS
    assert instance.model_deployment_instance_shape_config_details.cpu_baseline == "BASELINE_1_2"
    assert parts.environment_configuration_details.environment_variables == {"WEB_CONCURRENCY": "4"}
    assert deployment.category_log_details.access.log_id == log.log_id


@pytest.mark.parametrize(
    ("serving", "by_hand"),
    [({"instance_count": 1}, instances(4)), ({"ocpus": 2}, autoscaling()), ({"instance_count": 4}, instances(4))],
)
def test_production_that_was_resized_by_hand_after_the_question_is_noticed(
    context, first, approve, change, serving, by_hand
):
    second = approve(**serving)
    change(**by_hand)
    size = production_of(context).shape

    with pytest.raises(ApprovalError, match="changed since approval: size of production"):
        second.promote()
    second.close()
    assert production_of(context).shape == size
    assert context.ledger.read().production.version == 1


def test_production_that_was_resized_by_hand_after_the_switch_is_left_alone(
    context, first, approve, change, monkeypatch
):
    second = approve(instance_count=1)
    record = type(second.context).record

    def record_and_change(self, event):
        recorded = record(self, event)
        if event.type == "promoted":
            change(**instances(4))
        return recorded

    monkeypatch.setattr(type(second.context), "record", record_and_change)
    with pytest.raises(DeploymentFailedError, match=r"v2 is in production, verified, but not in .*from 4 x"):
        second.promote()
    second.close()
    assert production_of(context).shape.instance_count == 4
    assert context.ledger.read().releases["run-2"].outcome == "promoted"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "code": "LimitExceeded", "message": "The following service limits were exceeded: a"},
        {"status": 400, "code": "QuotaExceeded", "message": "The quota of the compartment is exceeded"},
        {"status": 404, "code": "NotAuthorizedOrNotFound", "message": "Authorization failed"},
        {"kind": "work_request_failed", "message": "Out of host capacity"},
    ],
    ids=lambda fault: fault.get("code", fault.get("kind")),
)
def test_a_size_that_is_refused_is_reported_and_requested_again(context, release, first, approve, emulator, fault):
    second = approve(instance_count=3)
    emulator.fail_next("UpdateModelDeployment", after=1, times=9, **fault)

    with pytest.raises(DeploymentFailedError, match=NOT_RESIZED):
        second.promote()
    emulator.clear_faults()
    second.close()
    state = context.ledger.read()
    assert state.production.version == 2
    assert state.releases["run-2"].outcome == "promoted"
    assert state.applied_size == SizeRequest()

    third = release("run-3", shift=2, instance_count=3)
    third.validate()
    assert "to 3 x" in holds(third.answer(Decision.PROMOTE).body)[0]
    third.promote()
    assert production_of(context).shape.instance_count == 3


@pytest.mark.parametrize(
    ("resized", "silent"),
    [
        ({}, {"status": 503, "times": None}),
        ({"kind": "failed"}, {}),
        ({"kind": "failed"}, {"status": 404, "times": None}),
    ],
    ids=["it does not answer", "it has failed", "it has failed and does not answer"],
)
def test_production_that_is_not_verified_after_its_resize_needs_a_person(
    context, first, approve, emulator, resized, silent
):
    second = approve(instance_count=3)
    if resized:
        emulator.fail_next("UpdateModelDeployment", after=1, **resized)
    if silent:
        emulator.fail_next("Predict", after=context.settings.probes.consecutive_answers, **silent)

    with pytest.raises(DeploymentFailedError, match=r"^PRODUCTION NEEDS A PERSON\. v2 was promoted") as raised:
        second.promote()
    assert "verified, but" not in str(raised.value)
    assert ("it does not answer" if silent else "it answers with version 2") in str(raised.value)


@pytest.mark.parametrize("operation", ["UpdateModelDeployment", "GetModelDeployment"])
def test_an_outage_during_a_resize_says_that_v2_is_in_production_and_passes(
    context, first, approve, emulator, monkeypatch, operation
):
    second = approve(instance_count=3)
    record = context.record.__func__

    def lose_oci(context, event):
        record(context, event)
        if event.type == "promoted":
            emulator.fail_next(operation, status=503, times=None)

    monkeypatch.setattr(type(context), "record", lose_oci)
    with pytest.raises(TransientError, match=NOT_RESIZED):
        second.promote()
    monkeypatch.undo()
    emulator.clear_faults()

    assert second.promote()["version"] == 2
    assert production_of(context).shape.instance_count == 3


def test_the_evidence_of_a_closed_release_still_says_how_production_was_resized(context, release, first):
    release("run-2", shift=1, instance_count=2).release_fully()

    state = context.ledger.read()
    assert "from 1 x" in holds(describe_evidence(context, state.releases["run-2"], []))[0]


def test_the_ledger_names_the_autoscaling_that_was_applied(context, release, first):
    release("run-2", shift=1, autoscaling=SCALED).release_fully()

    [resized] = [entry.event for entry in context.ledger.entries() if isinstance(entry.event, Resized)]
    assert resized.autoscaling == OF_SETTINGS
    assert to_plain(resized)["autoscaling"] == to_plain(OF_SETTINGS)
