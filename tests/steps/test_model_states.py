"""A catalog model that somebody deactivated, archived or deleted: production can still be brought back to it."""

from __future__ import annotations

import pytest
from steps.factories import USERS, Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError
from recdeploy_ops.domain.events import ModelRegistered, ModelRestored
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production, deploy_test


def deactivate(context, emulator, model_id):
    context.catalog._client.deactivate_model(model_id)


def archive(context, emulator, model_id):
    emulator.archive(model_id)


def deactivate_without_the_right_to_activate(context, emulator, model_id):
    deactivate(context, emulator, model_id)
    emulator.fail_next("ActivateModel", status=404, times=None)


HARMS = {
    "deactivated": deactivate,
    "archived": archive,
    "deactivated, and not ours to activate": deactivate_without_the_right_to_activate,
}


@pytest.fixture(params=HARMS.values(), ids=HARMS)
def harm(request, context, emulator):
    return lambda model_id: request.param(context, emulator, model_id)


@pytest.fixture
def first(released):
    released()


@pytest.fixture
def second(context, validated):
    return validated(2)


def model_of(context, version):
    return context.refresh().versions[version].model_id


def served(context):
    ask = context.deployments.asker(find_production(context).url, timeout_seconds=10)
    return {ask({"user_id": user}).body["model_version"] for user in USERS}


class TestARollback:
    def test_goes_to_a_version_whose_model_was_harmed(self, context, tmp_path, second, harm):
        second.answer(Decision.PROMOTE)
        second.promote()
        second.close()
        harm(model_of(context, 1))

        assert Run(context, "back", tmp_path).roll_back()["version"] == 1
        assert served(context) == {1}

    def test_goes_on_when_its_model_was_harmed_after_the_rehearsal(self, context, tmp_path, second, emulator):
        second.answer(Decision.PROMOTE)
        second.promote()
        second.close()
        back = Run(context, "back", tmp_path)
        back.rehearse_rollback()
        deactivate(context, emulator, model_of(context, 1))

        assert back.switch_back()["version"] == 1
        assert served(context) == {1}

    def test_that_preempts_a_release_finds_its_version_usable(self, context, tmp_path, second, harm):
        second.answer(Decision.PROMOTE)
        second.promote()
        second.close()
        waiting = Run(context, "run-3", tmp_path, shift=2)
        waiting.validate()
        waiting.ask()
        harm(model_of(context, 1))

        assert Run(context, "back", tmp_path).roll_back()["version"] == 1


def test_the_champion_comes_back_when_its_model_was_harmed_and_the_switch_fails(context, emulator, second, harm):
    second.answer(Decision.PROMOTE)
    harm(model_of(context, 1))
    emulator.fail_next("UpdateModelDeployment", kind="stale_replica")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
        second.promote()
    assert served(context) == {1}


def test_the_rehearsal_of_the_champion_repairs_its_model_before_anything_is_asked(context, tmp_path, first, harm):
    harm(model_of(context, 1))
    release = Run(context, "run-2", tmp_path, shift=1)
    release.plan()
    release.back_up()

    model = context.catalog.get(model_of(context, 1))
    assert model.is_usable


class TestTheCandidate:
    def test_whose_model_was_deactivated_while_the_question_waits_is_promoted(self, context, emulator, second):
        second.answer(Decision.PROMOTE)
        deactivate(context, emulator, second.context.release.require(ModelRegistered).model_id)

        assert second.promote()["version"] == 2
        assert served(context) == {2}

    @pytest.mark.parametrize("order", [archive, deactivate_without_the_right_to_activate])
    def test_whose_model_cannot_be_used_is_refused_before_production_is_touched(self, context, emulator, second, order):
        second.answer(Decision.PROMOTE)
        order(context, emulator, second.context.release.require(ModelRegistered).model_id)
        before = len(emulator.calls("UpdateModelDeployment"))

        with pytest.raises((DeploymentFailedError, PromotionFailedError), match="Activate it or restore its artifact"):
            second.promote()
        assert len(emulator.calls("UpdateModelDeployment")) == before
        assert served(context) == {1}

    def test_whose_model_was_deactivated_is_deployed_to_test(self, context, emulator, tmp_path, first):
        release = Run(context, "run-2", tmp_path, shift=1)
        release.register()
        deactivate(context, emulator, release.context.release.require(ModelRegistered).model_id)

        finish(release.context, lambda: deploy_test.advance(release.context))
        release.validate_test()


def test_nothing_is_said_to_be_restored_that_was_activated(context, emulator, tmp_path, second):
    second.answer(Decision.PROMOTE)
    second.promote()
    second.close()
    deactivate(context, emulator, model_of(context, 1))
    before = model_of(context, 1)
    Run(context, "back", tmp_path).roll_back()

    assert model_of(context, 1) == before
    assert not [entry for entry in context.history() if isinstance(entry.event, ModelRestored)]


def test_an_archived_model_is_replaced_by_another_and_the_ledger_says_which(context, emulator, tmp_path, second):
    second.answer(Decision.PROMOTE)
    second.promote()
    second.close()
    before = model_of(context, 1)
    emulator.archive(before)
    Run(context, "back", tmp_path).roll_back()

    [restored] = [entry.event for entry in context.history() if isinstance(entry.event, ModelRestored)]
    assert (restored.replaces, restored.model_id) == (before, model_of(context, 1))
    assert restored.model_id != before


def test_a_lost_ledger_finds_the_versions_whose_models_were_deactivated(context, emulator, tmp_path, second):
    second.answer(Decision.PROMOTE)
    second.promote()
    second.close()
    for version in (1, 2):
        deactivate(context, emulator, model_of(context, version))
    for found in list(context.store.list("ledger/")):
        context.store.delete(found.key)
    again = open_context(context.settings, context.store, context.catalog._session, "adopt")
    finish(again, lambda: adopt_production.advance(again, deployment_id=None, apply=True))

    assert again.refresh().production.version == 2
    assert Run(again, "back", tmp_path).roll_back(1)["version"] == 1
    assert served(again) == {1}
