"""Tags of the settings: on all that a release creates, within OCI's limit, and named where the tenancy refuses them."""

import pytest
from steps.factories import Run, reopen

from recdeploy_ops.domain.errors import CloudRefusedError
from recdeploy_ops.oci_clients import tags
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.settings import TagSettings
from recdeploy_ops.settings.tags import OWN_TAGS, ROOM

FINANCE = {"Finance": {"CostCentre": "42"}}
MOST = TagSettings(freeform={f"own-{number}": "x" for number in range(ROOM)}, defined=FINANCE)


def test_the_number_of_own_tags_is_that_of_production():
    names = {name for name in vars(tags) if name.endswith("_TAG")}

    assert len(names - {"SERVED_TAG", "LEASE_TAG"}) == OWN_TAGS  # of models, and of test deployments


def test_every_resource_of_a_release_has_the_tags_and_the_limit_is_kept(context, emulator, tmp_path, caplog):
    emulator.offer(required_tags=["Finance.CostCentre"])
    context = reopen(context, tags=MOST)
    Run(context, "run-1", tmp_path).release_fully()
    Run(context, "run-2", tmp_path, shift=1).validate()
    # A takeover tags production with its holder as well.
    Run(context, "run-3", tmp_path, shift=2).plan(has_ended=lambda holder: True)

    science, project = context.catalog._session.data_science, emulator.compartment_id
    found = [
        *science.list_models(project).data,
        *science.list_model_version_sets(project).data,
        *science.list_model_deployments(project).data,
    ]
    assert len(found) >= 5
    for resource in found:
        assert resource.defined_tags == FINANCE, resource.id
        assert MOST.freeform.items() <= resource.freeform_tags.items(), resource.id
    assert tags.HOLDER_TAG in find_production(context).tags
    assert "freeform tags" not in caplog.text


@pytest.mark.parametrize("operation", ["CreateModelVersionSet", "CreateModel", "CreateModelDeployment"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameter", "Failed to validate tags: TagNamespace Finance does not exists"),
        ("InvalidParameter", "Invalid request tags"),
        (
            "RelatedResourceNotAuthorizedOrNotFound",
            "The following tag namespaces / keys are not authorized or not found: TagNamespace x does not exists.",
        ),
    ],
)
def test_a_refusal_of_tags_names_the_setting(run, emulator, operation, code, message):
    first = run("run-1")
    first.plan()
    first.make()
    emulator.fail_next(operation, status=400, code=code, message=message)

    def create() -> None:
        first.register_model()
        first.deploy_test()

    with pytest.raises(CloudRefusedError, match=r"requires, and none .* \(setting tags\.defined\)"):
        create()


def test_another_refusal_does_not_name_the_tags(run, emulator):
    first = run("run-1")
    first.plan()
    first.make()
    emulator.fail_next("CreateModel", status=400, message="The stage is wrong.")

    with pytest.raises(CloudRefusedError) as refused:
        first.register_model()
    assert "tags.defined" not in str(refused.value)
