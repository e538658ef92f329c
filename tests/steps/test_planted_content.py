"""What others can plant in catalog, storage or answers: nothing of it serves, fills memory or disk, or stops a step."""

from __future__ import annotations

import errno
import os
import pickle
import re
import zipfile
from datetime import timedelta

import artifacts
import pytest
from steps.factories import (
    adopt,
    answer_of,
    delete_model,
    deploy_foreign,
    event_types,
    find_faults,
    lose_ledger,
    register_foreign,
    reopen,
    served,
)
from steps.test_hostile_models import SCORE
from stores import sweep

from recdeploy_ops.domain.errors import IntegrityError, PromotionFailedError, StorageError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.oci_clients import predictions
from recdeploy_ops.oci_clients.models import ModelCatalog, NewModel
from recdeploy_ops.oci_clients.tags import SERVED_TAG, run_slug, version_tags
from recdeploy_ops.rollout import adopted_artifacts
from recdeploy_ops.storage.bundles import sha256_of, write_manifest
from recdeploy_ops.storage.directories import DirectoryStore

PLANTED = 50  # a version that only tags vouch for
# A shop's own code: names no version, or whatever is filled in.
FOREIGN = """
def load_model():
    return {{}}


def predict(data, model=None):
    return {{"model_version": {version}, "digest": {digest}, "user_id": data.get("user_id"), "recommendations": []}}
"""


def tags_of(context, number, digest):
    return version_tags(context.project, run=run_slug(f"run-{number}"), version=number, digest=digest)


@pytest.fixture
def plant(context, tmp_path):
    """Registers an artifact under the tags of a version that served; returns the model's OCID."""

    def plant(folder, number=PLANTED, *, digest=None):
        digest = sha256_of(folder / "manifest.json") if digest is None else digest
        tags = {**tags_of(context, number, digest), SERVED_TAG: "2099-01-01T00:00:00+00:00"}
        return register_foreign(context, folder, f"{context.project}-v{number}", version_set=context.project, tags=tags)

    return plant


def make_planted(context, folder, **facts):
    """Return an artifact of this project, and a function that writes its manifest, with these facts."""
    made = artifacts.make_artifact(folder / "planted", version=PLANTED)
    usual = {"format": 1, "project": context.project, "version": PLANTED, "top_k": 3, "fallback": "popularity"}
    (made / "manifest.json").unlink()
    return made, lambda: write_manifest(made, {**usual, **facts})


@pytest.fixture
def serve_foreign(context, emulator, tmp_path):
    """Deploys a shop's own artifact, and returns the OCIDs of model and deployment."""

    def serve(*, version="None", digest="None", more=()):
        folder = artifacts.make_artifact(tmp_path / "shop", version=9)
        (folder / "manifest.json").unlink()
        (folder / "score.py").write_text(FOREIGN.format(version=version, digest=digest))
        for name in more:
            (folder / name).write_text("x")
        model_id = register_foreign(context, folder, "shop")
        return model_id, deploy_foreign(context, emulator, model_id, "shop")

    return serve


# A model that has no artifact when it is chosen


@pytest.fixture
def race(context, tmp_path, monkeypatch):
    """Plants a model without an artifact; somebody uploads one right after we looked. Returns its OCID."""

    def race(number):
        version = context.refresh().versions[number]
        folder = artifacts.make_artifact(tmp_path / "raced", version=number)
        (folder / "score.py").write_text(SCORE.format(version=number, digest=version.digest))
        (folder / "manifest.json").unlink()
        write_manifest(folder, {"project": context.project, "version": number})
        tags = tags_of(context, number, version.digest)
        empty = context.catalog.create(
            NewModel(f"{context.project}-v{number}", "", context.project, "planted", tags, (), {}, "planted")
        ).model_id
        archive = tmp_path / "raced.zip"
        with zipfile.ZipFile(archive, "w") as sink:
            for path in folder.iterdir():
                sink.write(path, path.name)
        has_artifact = ModelCatalog.has_artifact

        def look(catalog, model_id):
            found = has_artifact(catalog, model_id)
            if model_id == empty and not found:
                context.catalog.upload_artifact(model_id, archive)
            return found

        monkeypatch.setattr(ModelCatalog, "has_artifact", look)
        return empty

    return race


def test_a_rollback_compares_the_artifact_that_somebody_uploaded_meanwhile(context, run, two_versions, emulator, race):
    raced = race(1)
    emulator.archive(context.state.versions[1].model_id)

    with pytest.raises(IntegrityError, match="it was replaced"):
        run("back").rehearse_rollback()
    run("back").close()
    assert context.refresh().versions[1].model_id != raced

    run("again").roll_back()
    assert served(context) == 1
    assert "hostile" not in answer_of(context)


def test_a_restoration_does_not_serve_what_somebody_uploaded_meanwhile(context, run, two_versions, emulator, race):
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.PROMOTE)
    raced = race(2)
    emulator.archive(context.state.versions[2].model_id)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")

    with pytest.raises((IntegrityError, PromotionFailedError)):
        third.promote()
    third.close()

    assert served(context) == 2
    assert "hostile" not in answer_of(context)
    assert context.refresh().versions[2].model_id != raced


# Storage


def test_an_adopted_copy_that_was_changed_is_not_registered_again(context, run, serve_foreign, tmp_path):
    model_id, deployment_id = serve_foreign()
    adopt(context, deployment_id)
    run("run-1").release_fully()
    folder = tmp_path / "storage" / context.refresh().versions[1].artifact
    for name in ("score.py", "manifest.json"):
        (folder / name).chmod(0o600)
    (folder / "score.py").write_text(FOREIGN.format(version="'changed'", digest="None"))
    write_manifest(folder, {"adopted": model_id})
    delete_model(context, 1)

    with pytest.raises(StorageError, match="backup not found"):
        run("back").roll_back()


def test_an_artifact_named_like_a_temporary_file_is_not_adopted(context, serve_foreign):
    _, deployment_id = serve_foreign(more=[".partial-x"])
    with pytest.raises(IntegrityError, match="named like a temporary file"):
        adopt(context, deployment_id)


def test_a_pipe_in_the_storage_folder_is_an_error_and_not_a_wait(context, released, tmp_path):
    released()
    os.mkfifo(tmp_path / "storage" / "ledger" / f"{context.refresh().seq + 1:08d}.json")
    with pytest.raises(StorageError, match="is not a file: remove it"):
        reopen(context).refresh()


@pytest.mark.parametrize("free", [1 << 20, None], ids=["little room", "a store that breaks"])
def test_what_does_not_fit_leaves_room_for_the_ledger(context, released, plant, tmp_path, monkeypatch, free):
    released()
    made, finish = make_planted(context, tmp_path)
    finish()
    plant(made)
    monkeypatch.setattr(DirectoryStore, "free_bytes", lambda store: free)
    upload = DirectoryStore.upload

    def break_at_the_database(store, key, path, sha256):
        if key.startswith("adopted/") and key.endswith(".sqlite"):
            raise StorageError("No space left.")
        upload(store, key, path, sha256)

    monkeypatch.setattr(DirectoryStore, "upload", break_at_the_database)

    adopt(context)

    assert not list(context.store.list("adopted/"))
    assert context.refresh().versions[PLANTED].known_by_tags
    assert find_faults(context) == []


def test_a_full_disk_of_the_worker_says_nothing_about_a_version(context, released, plant, tmp_path, monkeypatch):
    released()
    made, finish = make_planted(context, tmp_path)
    finish()
    plant(made)

    def fill(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(adopted_artifacts, "fetch_from_catalog", fill)

    adopt(context)

    assert context.refresh().versions[PLANTED].known_by_tags


# Artifacts


@pytest.mark.parametrize("names", [["score.py", "manifest.json/x"], ["manifest.json", "manifest.json.adopted/x"]])
def test_an_artifact_with_names_of_ours_does_not_hold_up_adoption(context, released, tmp_path, names):
    released()
    model = context.catalog.create(
        NewModel(
            f"{context.project}-v{PLANTED}",
            "",
            context.project,
            "v50",
            {**tags_of(context, PLANTED, ""), SERVED_TAG: "2099-01-01T00:00:00+00:00"},
            (),
            {},
            "planted",
        )
    )
    archive = tmp_path / "planted.zip"
    with zipfile.ZipFile(archive, "w") as sink:
        for name in names:
            sink.writestr(name, b"x")
    context.catalog.upload_artifact(model.model_id, archive)

    adopt(context)

    assert str(context.refresh().versions[PLANTED].stage) == "rejected"


def test_an_artifact_with_endless_answers_does_not_fill_the_worker(context, run, released, plant, tmp_path):
    released()
    made, finish = make_planted(context, tmp_path, top_k=10**9)
    rows = [["x" * (1 << 20), 1.0]] * 1_500
    (made / "new_user_fallback.pkl").write_bytes(pickle.dumps(rows, protocol=4))
    finish()
    plant(made)
    adopt(context)

    with pytest.raises(IntegrityError, match="File too large"):
        run("back").rehearse_rollback(PLANTED)


def test_an_artifact_with_another_conda_environment_is_tried_first(context, run, released, plant, tmp_path):
    released()
    made, finish = make_planted(context, tmp_path)
    text = re.sub(
        "INFERENCE_ENV_PATH: .*", 'INFERENCE_ENV_PATH: "oci://b@theirs/e"', (made / "runtime.yaml").read_text()
    )
    (made / "runtime.yaml").write_text(text)
    finish()
    plant(made)
    adopt(context)

    run("back").rehearse_rollback(PLANTED)

    assert "rehearsal_started" in event_types(context, "back")


# Answers and tags


def test_a_champion_may_answer_anything_for_its_version(context, serve_foreign):
    _, deployment_id = serve_foreign(version="[]", digest="{}")
    adopt(context, deployment_id)
    assert context.refresh().production.deployment_id == deployment_id


@pytest.mark.parametrize(
    ("text", "shown"),
    [("[" * 100_000 + "]" * 100_000, "[[["), ('"' + "y" * (9 << 20) + '"', "9,437,186 characters")],
    ids=["nested", "long"],
)
def test_an_answer_that_cannot_be_parsed_is_text(text, shown):
    parsed = predictions._parsed(text)
    assert isinstance(parsed, str)
    assert parsed.startswith(shown)


def test_a_served_tag_that_is_not_a_time_does_not_choose_the_previous_version(context, run, two_versions):
    run("run-3", shift=2).release_fully()
    context.catalog.tag(context.refresh().versions[1].model_id, {SERVED_TAG: "zzz \n<script>"})
    empty = lose_ledger(context)

    adopt(empty)

    assert empty.refresh().previous_champion.version == 2


def test_names_of_others_are_one_line_in_log_and_error(context, emulator, project_id, caplog):
    name = "x\n\x1b[2J2026-11-29 INFO production is fine"
    place = {"compartmentId": emulator.compartment_id, "projectId": project_id}
    model = {"modelId": "ocid1.datasciencemodel.oc1.iad.theirs"}
    kind = {"deploymentType": "SINGLE_MODEL", "modelConfigurationDetails": model}
    document = {**place, "displayName": name, "modelDeploymentConfigurationDetails": kind}
    emulator.add_neighbour("modelDeployments", document)

    difference = adopt(context, apply=False)

    assert any("x\\n\\x1b[2J2026" in line for line in difference["importable"])
    assert "\x1b" not in caplog.text


def test_a_sweep_removes_only_what_the_store_itself_left(context, released):
    released()
    assert sweep(context.store, context.now() + timedelta(days=1)) == []
