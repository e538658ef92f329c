"""A foreign model with the tags of a version: no deployment ever serves it."""

from __future__ import annotations

import artifacts
import pytest
from steps.factories import USERS, adopt, answer_of, register_foreign

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.events import ArtifactBuilt
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients.tags import run_slug, version_tags
from recdeploy_ops.storage.bundles import write_manifest

# Answers as the version would, with its own content.
SCORE = """
def load_model():
    return {{}}


def predict(data, model=None):
    answer = {{"model_version": {version}, "digest": {digest!r}, "hostile": True}}
    return {{**answer, "user_id": data.get("user_id"), "recommendations": [], "count": 0}}
"""


@pytest.fixture
def add_hostile(context, tmp_path):
    """Puts a model with a version's tags into the catalog, as anyone with access to it can; returns its OCID."""

    def add(number, digest):
        folder = artifacts.make_artifact(tmp_path / f"hostile-{number}", version=number)
        (folder / "score.py").write_text(SCORE.format(version=number, digest=digest))
        (folder / "manifest.json").unlink()
        write_manifest(folder, {"project": context.project, "version": number})
        tags = version_tags(context.project, run=run_slug(f"run-{number}"), version=number, digest=digest)
        return register_foreign(context, folder, f"{context.project}-v{number}", version_set=context.project, tags=tags)

    return add


@pytest.fixture
def displace(context, emulator, add_hostile):
    """Archives or deletes a version's own model, so that a hostile one is left; returns the OCID of that one."""

    def displace(number, *, harm=emulator.archive):
        version = context.refresh().versions[number]
        hostile = add_hostile(number, version.digest)
        harm(version.model_id)
        return hostile

    return displace


def fail_the_switch(emulator):
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")


def fail_and_restore(release, switch, emulator, displace):
    hostile = displace(2)
    fail_the_switch(emulator)
    with pytest.raises(PromotionFailedError, match=r"v2 serves at .*, verified"):
        switch()
    release.close()
    return hostile, 2


def restore_after_a_promotion(context, run, emulator, displace):
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    return fail_and_restore(third, third.promote, emulator, displace)


def restore_after_a_rollback(context, run, emulator, displace):
    back = run("back")
    back.rehearse_rollback()
    return fail_and_restore(back, back.switch_back, emulator, displace)


def rehearse_before_a_release(context, run, emulator, displace):
    hostile = displace(2)
    third = run("run-3", shift=2)
    third.plan()
    third.back_up()
    third.close()
    return hostile, 2


def roll_back(context, run, emulator, displace):
    hostile = displace(1)
    run("back").roll_back()
    return hostile, 1


def preempt(context, run, emulator, displace):
    third = run("run-3", shift=2)
    third.validate()
    third.ask()
    hostile = displace(1)
    run("back").roll_back()
    return hostile, 1


def adopt_and_roll_back(context, run, emulator, displace):
    """Roll back where the ledger itself names the hostile model as the version's."""
    hostile = displace(1, harm=context.catalog._client.delete_model)
    adopt(context)
    assert context.refresh().versions[1].model_id == hostile
    run("back").roll_back()
    return hostile, 1


def adopt_and_preempt(context, run, emulator, displace):
    hostile = displace(1, harm=context.catalog._client.delete_model)
    adopt(context)
    third = run("run-3", shift=2)
    third.validate()
    third.ask()
    run("back").roll_back()
    return hostile, 1


ACTIONS = (
    *(restore_after_a_promotion, restore_after_a_rollback, rehearse_before_a_release, roll_back),
    *(pytest.param(act, marks=pytest.mark.more) for act in (preempt, adopt_and_roll_back, adopt_and_preempt)),
)


@pytest.mark.parametrize("act", ACTIONS)
def test_no_deployment_serves_a_model_that_only_has_the_tags_of_a_version(
    context, run, two_versions, emulator, displace, act
):
    hostile, serves = act(context, run, emulator, displace)

    assert hostile not in {deployment.model_id for deployment in context.deployments.all()}
    assert hostile != context.refresh().versions[serves].model_id
    answers = [answer_of(context, user) for user in USERS]
    assert {(answer["model_version"], answer.get("hostile")) for answer in answers} == {(serves, None)}


def test_a_candidate_is_not_registered_as_a_foreign_model(context, run, add_hostile):
    release = run("run-1")
    release.plan()
    release.make()
    built = release.context.release.require(ArtifactBuilt)
    hostile = add_hostile(built.version, built.digest)

    release.register_model()

    assert context.refresh().versions[1].model_id != hostile
    release.test()


def test_a_model_whose_artifact_cannot_be_read_does_not_hold_up_a_restoration(approved, emulator, displace):
    displace(1)
    fail_the_switch(emulator)
    own = 1  # the candidate is downloaded before the switch
    emulator.fail_next("GetModelArtifactContent", status=404, code="NotAuthorizedOrNotFound", after=own)

    with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
        approved.promote()
