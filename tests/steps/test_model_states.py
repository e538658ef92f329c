"""A catalog model that a person deactivated, archived or deleted: production can still go back to its version."""

from __future__ import annotations

import pytest
from steps.factories import Run, adopt, lose_ledger, served_to_all

from recdeploy_ops.domain.errors import DeploymentFailedError, PromotionFailedError
from recdeploy_ops.domain.events import ModelRegistered, ModelRestored


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


def model_of(context, version):
    return context.refresh().versions[version].model_id


def restored_models(context):
    return [entry.event for entry in context.history() if isinstance(entry.event, ModelRestored)]


class TestARollback:
    def test_goes_to_a_version_whose_model_was_harmed(self, context, run, two_versions, harm):
        harm(model_of(context, 1))

        assert run("back").roll_back()["version"] == 1
        assert served_to_all(context) == {1}

    def test_goes_on_when_its_model_was_harmed_after_the_rehearsal(self, context, run, two_versions, emulator):
        back = run("back")
        back.rehearse_rollback()
        deactivate(context, emulator, model_of(context, 1))

        assert back.switch_back()["version"] == 1
        assert served_to_all(context) == {1}

    def test_that_preempts_a_release_goes_to_a_version_whose_model_was_harmed(self, context, run, validated, harm):
        validated(3).ask()
        harm(model_of(context, 1))

        assert run("back").roll_back()["version"] == 1

    def test_that_activates_a_model_records_no_restoration(self, context, run, two_versions, emulator):
        before = model_of(context, 1)
        deactivate(context, emulator, before)
        run("back").roll_back()

        assert model_of(context, 1) == before
        assert restored_models(context) == []

    def test_that_replaces_an_archived_model_records_which(self, context, run, two_versions, emulator):
        before = model_of(context, 1)
        emulator.archive(before)
        run("back").roll_back()

        [restored] = restored_models(context)
        assert (restored.replaces, restored.model_id) == (before, model_of(context, 1))
        assert restored.model_id != before


def test_the_champion_is_restored_when_its_model_was_harmed_and_the_switch_fails(context, emulator, approved, harm):
    harm(model_of(context, 1))
    emulator.fail_next("UpdateModelDeployment", kind="stale_replica")

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
        approved.promote()
    assert served_to_all(context) == {1}


def test_the_rehearsal_of_the_champion_repairs_its_model(context, run, released, harm):
    released()
    harm(model_of(context, 1))
    release = run("run-2", shift=1)
    release.plan()
    release.back_up()

    model = context.catalog.get(model_of(context, 1))
    assert model.is_usable


class TestTheCandidate:
    def test_whose_model_was_deactivated_after_the_answer_is_promoted(self, context, emulator, approved):
        deactivate(context, emulator, approved.context.release.require(ModelRegistered).model_id)

        assert approved.promote()["version"] == 2
        assert served_to_all(context) == {2}

    @pytest.mark.parametrize("order", [archive, deactivate_without_the_right_to_activate])
    def test_whose_model_cannot_be_used_is_refused_before_production_is_touched(
        self, context, emulator, approved, order
    ):
        order(context, emulator, approved.context.release.require(ModelRegistered).model_id)
        before = len(emulator.calls("UpdateModelDeployment"))

        with pytest.raises((DeploymentFailedError, PromotionFailedError), match="Activate it or restore its artifact"):
            approved.promote()
        assert len(emulator.calls("UpdateModelDeployment")) == before
        assert served_to_all(context) == {1}

    def test_whose_model_was_deactivated_is_deployed_to_test(self, context, run, emulator, released):
        released()
        release = run("run-2", shift=1)
        release.register()
        deactivate(context, emulator, release.context.release.require(ModelRegistered).model_id)

        release.test()


def test_adoption_finds_the_versions_whose_models_were_deactivated(context, emulator, tmp_path, two_versions):
    for version in (1, 2):
        deactivate(context, emulator, model_of(context, version))
    again = lose_ledger(context)
    adopt(again)

    assert again.refresh().production.version == 2
    assert Run(again, "back", tmp_path).roll_back(1)["version"] == 1
    assert served_to_all(again) == {1}
