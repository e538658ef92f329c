"""What OCI runs against what the ledger says, as the page *Recommender* shows it."""

from datetime import timedelta

import pytest
from steps.bakes import serve_secretly
from steps.factories import (
    adopt,
    deactivate_production,
    delete_production,
    deploy_foreign,
    living,
    register_foreign,
    reopen,
    switch_by_hand,
)

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import CloudUnavailableError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.oci_clients.page_sessions import PageSession
from recdeploy_ops.oci_clients.tags import PROJECT_TAG, ROLE_TAG, RUN_TAG, lease_tag
from recdeploy_ops.rollout.holdings import find_left_deployments
from recdeploy_ops.rollout.live_deployments import read_live_state
from recdeploy_ops.rollout.production import find_production, run_tag

FOREIGN_SCORE = """
def load_model():
    return {}


def predict(data, model=None):
    return {"recommendations": []}
"""


@pytest.fixture
def page(context):
    """Returns the context of the page, as the web server opens it."""
    return lambda **how: reopen(context, session=PageSession(context.catalog._session.profile), **how)


@pytest.fixture
def imported(context, released, emulator, tmp_path):
    """Production serves a model that this project did not make, and it is imported."""
    released()
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "score.py").write_text(FOREIGN_SCORE)
    runtime = context.store.read(f"{context.refresh().versions[1].artifact}/runtime.yaml")
    (folder / "runtime.yaml").write_bytes(runtime)
    production = find_production(context)
    context.deployments.switch_model(production, register_foreign(context, folder))
    emulator.wait_until_idle()
    adopt(context, production.deployment_id)
    assert context.refresh().production.digest == ""


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


@pytest.mark.parametrize("run_id", ["run-1", "unknown"])
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_test_deployment_that_housekeeping_deletes_is_a_difference(page, context, released, emulator, run_id, hours):
    """One of a closed release whatever its lease says; one of an unknown release once its lease is over."""
    released()
    lease = lease_tag(utc_now() + timedelta(hours=hours))
    tags = {PROJECT_TAG: context.project, ROLE_TAG: str(Role.TEST), RUN_TAG: run_tag(context.state, run_id), **lease}
    deploy_foreign(context, emulator, find_production(context).model_id, "left", tags=tags)
    live = read_live_state(page())

    is_left = run_id == "run-1" or hours < 0
    assert [one.name for one in find_left_deployments(context)] == ["left"] * is_left
    assert live.differences == ("The test deployment left is left over: housekeeping deletes it.",) * is_left


def test_the_test_deployment_of_a_release_in_progress_is_needed_after_its_lease(page, validated):
    validated(2)
    live = read_live_state(page(now=lambda: utc_now() + timedelta(days=30)))

    assert [one.role for one in live.deployments] == ["production", "test"]
    assert live.differences == ()


def test_deployments_of_others_are_not_shown(page, context, released, emulator):
    released()
    deploy_foreign(context, emulator, find_production(context).model_id, "theirs")

    assert len(living(context)) == 2
    assert [one.name for one in read_live_state(page()).deployments] == ["product-recommender-production"]


def test_a_deployment_that_is_not_active_is_a_difference(page, context, released, emulator):
    released()
    deactivate_production(context, emulator)
    live = read_live_state(page())

    assert live.differences[0] == "Production is INACTIVE, not ACTIVE."
    assert not live.deployments[0].is_healthy


def test_an_oci_that_does_not_answer_is_an_error(page, no_retries, released, emulator):
    released()
    emulator.fail_next("ListModelDeployments", status=503, times=9)

    with pytest.raises(CloudUnavailableError):
        read_live_state(page())


@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"status": 502}, {"status": 503}, {"status": 504}, {"kind": "drop_before"}], ids=str
)
def test_a_production_that_does_not_answer_is_a_difference(page, released, emulator, fault):
    released()
    emulator.fail_next("Predict", **fault)
    live = read_live_state(page())

    [difference] = live.differences
    assert difference.startswith("Production's URL: it does not answer (A request to http")
    assert live.deployments[0].is_healthy


def test_an_imported_production_that_answers_is_no_difference(page, imported):
    live = read_live_state(page())

    assert (live.answer, live.differences) == ("it answers, and names no version", ())


def test_an_imported_production_that_answers_as_a_version_of_ours_is_a_difference(page, context, imported, emulator):
    serve_secretly(context, emulator, 1)
    live = read_live_state(page())

    [difference] = live.differences
    assert difference.startswith("Production's URL: it answers with v1, digest")


def test_an_imported_production_that_answers_with_an_error_is_a_difference(page, imported, emulator):
    emulator.fail_next("Predict", status=500)
    live = read_live_state(page())

    [difference] = live.differences
    assert difference.startswith("Production's URL: it does not answer as a recommender (Reply(status=500")
