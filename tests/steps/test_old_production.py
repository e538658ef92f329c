"""An imported production: its name, its answers in the evidence, and what its own manager has left running."""

from __future__ import annotations

import logging

import pytest
from steps.factories import adopt, deploy_foreign, living, switch_by_hand, with_ignored

from recdeploy_ops.domain import events
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.rollout.production import find_production

NAME = "product-recommender-production"


def test_production_is_no_longer_named_as_a_test_deployment_once_it_is_imported(context, old_shop, tag_by_hand):
    production = old_shop.make()
    before = context.deployments.get(production)

    shown = adopt(context, production, apply=False)
    assert (
        f"Product Recommender API v1 (TEST) ({production}) is named as a test deployment: it becomes {NAME}"
        in (shown["difference"])
    )
    assert find_production(context) is None
    adopt(context, production)

    after = find_production(context)
    assert (after.deployment_id, after.url, after.name) == (production, before.url, NAME)
    assert after.model_id == before.model_id


def test_production_that_was_imported_under_such_a_name_loses_it_at_the_next_promotion(
    context, old_shop, run, emulator
):
    production = old_shop.make()
    adopt(context, production)
    deployment = context.deployments.get(production)
    context.deployments.describe(deployment, name="shop (test)", description="", tags=deployment.tags)
    emulator.wait_until_idle()

    run("run-1").release_fully()

    assert find_production(context).name == NAME
    assert [d.deployment_id for d in living(context)] == [production]


def test_another_name_stays(context, old_shop, emulator, run):
    old_shop.register(1)
    production = deploy_foreign(context, emulator, old_shop.models[1], "Recommendations of the shop")
    adopt(context, production)
    run("run-1").release_fully()

    assert find_production(context).name == "Recommendations of the shop"


def test_a_name_that_oci_does_not_change_stops_nothing(context, old_shop, emulator, caplog):
    production = old_shop.make()
    emulator.fail_next("UpdateModelDeployment", status=400, times=1)

    adopt(context, production)

    assert "Production keeps its old tags" in caplog.text
    assert context.ledger.read().production.version == 2


def test_answers_with_a_score_are_compared_like_those_with_a_rating(context, old_shop, run):
    adopt(context, old_shop.make())
    first = run("run-1")

    first.validate()

    report = read_report(context.store, context.ledger.read().releases["run-1"].require(events.TestValidated))
    said = {finding["gate"]: finding["message"] for finding in report["findings"]}
    assert "gave no list" not in str(report)
    assert "6 of 6 lists would change" in said["changed_lists"]
    assert "Production" not in said["latency_p95"] or "not measured" not in said["latency_p95"]


LEFT = "still runs, and its own manager calls it a test deployment: delete it once nobody needs it."


def test_an_orphan_test_deployment_is_named_at_the_import(context, old_shop, caplog, manager):
    production = old_shop.make()
    by_name, by_file = old_shop.deploy(2), deploy_foreign(context, old_shop.emulator, old_shop.models[1], "trial")
    other = deploy_foreign(context, old_shop.emulator, old_shop.models[1], "of another team")
    old_shop.write_state(production, 2, test=by_file, history=(1, 2))
    expected = [f"trial ({by_file}) {LEFT}", f"Product Recommender API v2 (TEST) ({by_name}) {LEFT}"]

    with caplog.at_level(logging.WARNING):
        shown = adopt(context, production, apply=False)
    assert shown["left"] == expected
    assert all(line in caplog.text for line in expected)
    lines = manager.import_existing_deployment(production)

    assert lines[-2:] == expected
    assert {d.deployment_id for d in living(context)} == {production, by_name, by_file, other}
    assert "left" not in adopt(with_ignored(context, by_name, by_file), apply=False)


def test_nothing_is_left_of_an_own_production(context, two_versions, old_shop, emulator):
    old_shop.register(1)
    old_shop.deploy(1)
    switch_by_hand(context, emulator)

    assert "left" not in adopt(context, apply=False)


@pytest.mark.parametrize("rows", [[{"score": 1.0}], [{"product_id": "p-1"}], "none", [["p-1", 1.0]]])
def test_other_answers_count_as_no_list(rows):
    from recdeploy_ops.domain.records import Reply
    from recdeploy_ops.evaluation.endpoints import compare_latency

    facts = compare_latency(
        lambda request: Reply(200, {"recommendations": []}, 0.1),
        lambda request: Reply(200, {"recommendations": rows}, 0.1),
        [{"user_id": "1"}],
    )
    assert facts.production_failed == 1
