"""What OCI runs against what the ledger says, as the page *Recommender* shows it."""

import pytest
from steps.factories import (
    delete_production,
    deploy_foreign,
    living,
    reopen,
    switch_by_hand,
)

from recdeploy_ops.domain.errors import CloudUnavailableError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.oci_clients.page_sessions import PageSession
from recdeploy_ops.oci_clients.tags import PROJECT_TAG, ROLE_TAG
from recdeploy_ops.rollout.live_deployments import read_live_state
from recdeploy_ops.rollout.production import find_production


@pytest.fixture
def page(context):
    """Returns the context of the page, as the web server opens it."""
    return lambda: reopen(context, session=PageSession(context.catalog._session.profile))


def test_without_a_release_there_is_nothing(page):
    live = read_live_state(page())

    assert (live.deployments, live.answer, live.differences) == ((), "", ())


def test_production_and_the_test_deployment_are_shown_with_their_sizes(page, validated):
    validated(2)
    live = read_live_state(page())

    production, test = live.deployments
    assert (production.role, production.version, production.is_healthy) == ("production", 1, True)
    assert (test.role, test.version, test.state) == ("test", 2, "ACTIVE")
    assert production.size == "1 x VM.Standard.E4.Flex (1 OCPU, 16 GB)"
    assert live.answer.startswith("it answers with v1, digest ")
    assert live.differences == ()


def test_a_switch_by_hand_is_a_difference(context, page, two_versions, emulator):
    switch_by_hand(context, emulator, 1)
    live = read_live_state(page())

    [configured, answered] = live.differences
    assert configured.startswith("Production is configured for the model ocid1.datasciencemodel.")
    assert answered.startswith("Production's URL: it answers with v1, digest ")
    assert live.deployments[0].version == 1


def test_a_deleted_production_is_a_difference(context, page, released, emulator):
    released()
    delete_production(context, emulator)
    live = read_live_state(page())

    assert live.differences[0].endswith("is deleted, and the ledger says that it serves.")
    assert "does not answer" in live.differences[1]


def test_production_without_its_tags_is_a_difference(context, page, released, tag_by_hand):
    released()
    tag_by_hand({"team": "theirs"})
    live = read_live_state(page())

    assert live.differences == (
        "Production (product-recommender-production) is not tagged as production of product-recommender.",
    )
    assert [one.role for one in live.deployments] == ["production"]


def test_a_second_production_is_a_difference(context, page, released, emulator):
    released()
    production = find_production(context)
    second = deploy_foreign(context, emulator, production.model_id, "another", tags=production.tags)
    live = read_live_state(page())

    assert live.differences == (f"another ({second}) is tagged as production too.",)


def test_a_production_that_the_ledger_does_not_know_is_a_difference(page, context, released, emulator):
    released()
    for stored in list(context.store.list("ledger/")):
        context.store.delete(stored.key)
    live = read_live_state(page())

    assert live.differences == (
        "The ledger has no production, but product-recommender-production is tagged as production.",
    )


def test_a_ledger_that_production_does_not_name_is_a_difference(page, released, tag_by_hand, context):
    released()
    tag_by_hand({**find_production(context).tags, "recdeploy-ledger": f"9:{'0' * 64}"})
    live = read_live_state(page())

    assert live.differences[0].startswith("This storage does not belong to production: the tag recdeploy-ledger of ")


def test_a_test_deployment_that_nothing_needs_is_a_difference(page, context, released, emulator):
    released()
    tags = {PROJECT_TAG: context.project, ROLE_TAG: str(Role.TEST)}
    deploy_foreign(context, emulator, find_production(context).model_id, "left", tags=tags)
    live = read_live_state(page())

    assert live.differences == (
        "The test deployment left is left over: housekeeping deletes it once its lease is over.",
    )


def test_deployments_of_others_are_not_shown(page, context, released, emulator):
    released()
    deploy_foreign(context, emulator, find_production(context).model_id, "theirs")

    assert len(living(context)) == 2
    assert [one.name for one in read_live_state(page()).deployments] == ["product-recommender-production"]


def test_a_deployment_that_is_not_active_is_a_difference(page, context, released, emulator):
    released()
    context.deployments._client.deactivate_model_deployment(find_production(context).deployment_id)
    emulator.wait_until_idle()
    live = read_live_state(page())

    assert live.differences[0] == "Production is INACTIVE, not ACTIVE."
    assert not live.deployments[0].is_healthy


@pytest.mark.parametrize("operation", ["ListModelDeployments", "Predict"])
def test_an_oci_that_does_not_answer_is_an_error(page, no_retries, released, emulator, operation):
    released()
    emulator.fail_next(operation, status=503, times=9)

    with pytest.raises(CloudUnavailableError):
        read_live_state(page())
