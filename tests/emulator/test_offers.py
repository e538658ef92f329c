"""What a region and a tenancy offer and forbid: shapes, service limits, log groups, retention rules of buckets."""

import pytest
from oci.data_science.models import CreateModelVersionSetDetails
from oci.identity import IdentityClient
from oci.limits import LimitsClient
from oci.logging import LoggingManagementClient
from oci.logging.models import CreateLogDetails, CreateLogGroupDetails
from oci.object_storage.models import CreateBucketDetails, CreateRetentionRuleDetails, Duration

from oci_emulator.testing import EmulatorError
from tests.emulator.clouds import Bucket, Cloud, refusal, single_model

FLEX = "VM.Standard.E4.Flex"


@pytest.fixture
def bucket(cloud: Cloud) -> Bucket:
    details = CreateBucketDetails(name="kept", compartment_id=cloud.compartment)
    cloud.storage.create_bucket(cloud.emulator.namespace, details)
    return Bucket(cloud.storage, cloud.emulator.namespace, "kept")


def test_a_withdrawn_shape_is_neither_listed_nor_accepted(cloud: Cloud) -> None:
    names = {shape.name for shape in cloud.science.list_model_deployment_shapes(cloud.compartment).data}
    cloud.emulator.offer(withdrawn_shapes=[FLEX])

    left = {shape.name for shape in cloud.science.list_model_deployment_shapes(cloud.compartment).data}
    assert names - left == {FLEX}
    details = cloud.deployment_details(single_model(cloud.model()))
    assert refusal(cloud.science.create_model_deployment, details) == (400, "InvalidParameter")


def test_what_is_left_of_a_service_limit_is_what_was_set(cloud: Cloud) -> None:
    limits = cloud.shared_client(LimitsClient)
    cloud.emulator.offer(limits={"data-science/some-count": 3})

    answer = limits.get_resource_availability("data-science", "some-count", cloud.compartment).data
    assert (answer.available, answer.used) == (3, 0)
    for name, compartment in (("other-count", cloud.compartment), ("some-count", "elsewhere")):
        assert refusal(limits.get_resource_availability, "data-science", name, compartment) == (
            404,
            "NotAuthorizedOrNotFound",
        )


def test_an_offer_with_an_unknown_name_is_refused(cloud: Cloud) -> None:
    with pytest.raises(EmulatorError, match="discounts"):
        cloud.emulator.offer(discounts=1)


def test_a_required_tag_is_listed_and_nothing_is_created_without_it(cloud: Cloud) -> None:
    project, model = cloud.project, cloud.model()
    identity = cloud.shared_client(IdentityClient)
    assert identity.assemble_effective_tag_set(cloud.compartment).data == []
    cloud.emulator.offer(required_tags=["Finance.CostCentre"])

    listed = identity.assemble_effective_tag_set(cloud.compartment).data
    assert [(default.tag_definition_name, default.is_required) for default in listed] == [("CostCentre", True)]
    version_set = CreateModelVersionSetDetails(compartment_id=cloud.compartment, project_id=project, name="s")
    deployment = cloud.deployment_details(single_model(model))
    for create, details in (
        (cloud.science.create_model_version_set, version_set),
        (cloud.science.create_model_deployment, deployment),
    ):
        assert refusal(create, details) == (400, "InvalidParameter")
        details.defined_tags = {"Finance": {"CostCentre": "42"}}
        create(details)
    assert refusal(cloud.empty_model) == (400, "InvalidParameter")
    assert cloud.empty_model(defined_tags={"Finance": {"CostCentre": "42"}})


def test_log_groups_and_logs_are_created_listed_and_read(cloud: Cloud) -> None:
    logging = cloud.shared_client(LoggingManagementClient)
    logging.create_log_group(CreateLogGroupDetails(compartment_id=cloud.compartment, display_name="shop"))
    group = logging.list_log_groups(cloud.compartment).data[0]
    logging.create_log(group.id, CreateLogDetails(display_name="access", log_type="CUSTOM"))
    log = logging.list_logs(group.id).data[0]

    assert logging.get_log_group(group.id).data.display_name == "shop"
    assert logging.get_log(group.id, log.id).data.display_name == "access"
    for read, names in (
        (logging.get_log_group, ["nobody"]),
        (logging.get_log, [group.id, "nobody"]),
        (logging.get_log, ["nobody", log.id]),
    ):
        assert refusal(read, *names) == (404, "NotAuthorizedOrNotFound")


@pytest.mark.parametrize("duration", [None, Duration(time_amount=1, time_unit="DAYS")], ids=["forever", "a day"])
def test_a_retention_rule_keeps_stored_objects_and_admits_new_ones(bucket: Bucket, duration: Duration | None) -> None:
    bucket.put_object("before", b"1")
    rule = bucket.create_retention_rule(CreateRetentionRuleDetails(display_name="keep", duration=duration)).data
    bucket.put_object("after", b"1")

    for name in ("before", "after"):
        assert refusal(bucket.put_object, name, b"2") == (403, "RetentionRuleViolation")
        assert refusal(bucket.put_object, name, b"2", if_none_match="*") == (412, "IfNoneMatchFailed")
        assert refusal(bucket.delete_object, name) == (403, "RetentionRuleViolation")
        assert bucket.read(name) == b"1"
    assert [found.id for found in bucket.list_retention_rules().data.items] == [rule.id]

    bucket.delete_retention_rule(rule.id)
    bucket.put_object("before", b"2")
    bucket.delete_object("after")
    assert refusal(bucket.delete_retention_rule, rule.id)[0] == 404


def test_a_retention_rule_without_a_valid_period_is_refused(bucket: Bucket) -> None:
    wrong = CreateRetentionRuleDetails(display_name="x", duration=Duration(time_amount=0, time_unit="DAYS"))

    assert refusal(bucket.create_retention_rule, wrong) == (400, "InvalidParameter")
