"""A release taken as far as a test needs it, with results made by hand instead of trained."""

from __future__ import annotations

import csv
import tempfile
import zipfile
from pathlib import Path

from shops import make_shop, source_of

from recdeploy_ops.approvals import answers, questions
from recdeploy_ops.domain.events import ModelTrained
from recdeploy_ops.domain.params import RetrainParams, RollbackParams
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.locks import Opening
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import (
    backup_production,
    build_artifact,
    check_candidate,
    check_data,
    close_release,
    deploy_test,
    extract,
    plan_release,
    plan_rollback,
    promote,
    register_model,
    rehearse_rollback,
    reject,
    roll_back,
    validate_test,
)
from recdeploy_ops.storage.bundles import store_bundle, write_manifest
from recdeploy_ops.storage.directories import DirectoryStore

PARAMS = {
    "top_k": 2,
    "seed": 42,
    "instance_shape": "VM.Standard.E4.Flex",
    "ocpus": 1,
    "memory_gb": 16,
    "instance_count": 1,
    "skip_test_deployment": False,
    "approval_timeout_hours": 1,
}
USERS = ["0205616461", "A39HTATAQ9V7YF", "ユーザー7", "5e7f6f4e-6b0a-4a4e-9d43-5d0c4dbb1e02", "NaN", "1e5"]
PRODUCTS = ["p-1", "p-2", "00420", "p,4", 'p"5', "<b>p6</b>"]


def shop(folder: Path) -> Path:
    """A shop in which each user has rated two products."""
    interactions = [
        (user, PRODUCTS[(number + step) % len(PRODUCTS)], 3.0 + step, f"2026-11-{10 + number:02d} 10:00:00")
        for number, user in enumerate(USERS)
        for step in range(2)
    ]
    return make_shop(
        folder / "shop.db",
        interactions=interactions,
        users=[(user, f"name of {user}") for user in USERS],
        products=[(product, f"title of {product}", "things") for product in PRODUCTS],
        kind="TEXT",
    )


def exchange(emulator, model_id):
    """Put another artifact into the catalog behind OCI's back."""
    [path] = [
        path
        for path in (emulator.data_dir / "artifacts").rglob("*")
        if path.is_file() and model_id in str(path) and zipfile.is_zipfile(path)
    ]
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["score.py"] += b"\n# exchanged\n"
    path.unlink()  # a snapshot may have the same file by another name
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def damage(store, key, content=b"damaged"):
    """Overwrite a stored object behind the store's back: a file in place, so that its hard links change with it."""
    if not isinstance(store, DirectoryStore):
        store.replace(key, content)
        return
    path = store._path(key)
    path.chmod(0o600)
    path.write_bytes(content)


class Run:
    """One run of the release process, step by step, as the operators take it.

    ``shift`` makes the lists of different runs differ, as retraining on new data would.
    """

    def __init__(self, context, run_id, folder, *, shift=0, **params):
        self.context, self.run_id, self.shift = context.of_run(run_id), run_id, shift
        self.params = {**PARAMS, **params}
        self.database = folder / "shop.db"
        if not self.database.exists():
            shop(folder)

    def plan(self, has_ended=lambda holder: False):
        return self._finish(
            plan_release, opening=Opening("recommender_retrain", RetrainParams(**self.params), "bo", has_ended)
        )

    def back_up(self):
        return self._finish(backup_production)

    def extract(self):
        self.back_up()
        self._finish(extract, source=source_of(self.database))
        self._finish(check_data)

    def train(self):
        settings = self.context.settings
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = settings.source
            with (folder / "recommendations.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow([source.user_column, source.item_column, source.rating_column])
                for number, user in enumerate(USERS):
                    for rank in range(self.params["top_k"]):
                        product = PRODUCTS[(number + 2 + (self.shift + rank) % 4) % len(PRODUCTS)]
                        writer.writerow([user, product, 4.5 - rank])
            write_manifest(folder, {"inputs": {"seed": self.params["seed"]}})
            bundle = store_bundle(self.context.store, self.context.prefix("results"), folder)
        self.context.record(ModelTrained(bundle.prefix, bundle.digest, inputs={}, metrics={"rmse": 0.9}))

    def make(self):
        self.extract()
        self.train()
        self._finish(build_artifact)
        self._finish(check_candidate)

    def register(self):
        self.plan()
        self.make()
        self._finish(register_model)

    def validate(self):
        self.register()
        self.test()

    def test(self):
        self._finish(deploy_test)
        return self.validate_test()

    def validate_test(self):
        return self._finish(validate_test)

    def ask(self, *, attempt=1):
        return questions.ask(self.context, attempt=attempt)

    def record_answer(self, decision, *, by="ann", comment="", attempt=1):
        reply = answers.Answer(decision, by, self.context.now(), comment, timed_out=False)
        answers.record_answer(self.context, reply, attempt=attempt)

    def answer(self, decision, *, comment="", attempt=1):
        question = self.ask(attempt=attempt)
        self.record_answer(decision, comment=comment, attempt=attempt)
        return question

    def promote(self):
        return self._finish(promote)

    def roll_back(self, version="previous", *, has_ended=lambda holder: False):
        """Take the run as a rollback, from its plan to its end."""
        self.rehearse_rollback(version, has_ended=has_ended)
        done = self.switch_back()
        self.close()
        return done

    def rehearse_rollback(self, version="previous", *, has_ended=lambda holder: False, require_approval=False):
        self.plan_rollback(version, has_ended=has_ended, require_approval=require_approval)
        self._finish(rehearse_rollback)

    def plan_rollback(self, version="previous", *, has_ended=lambda holder: False, require_approval=False):
        params = RollbackParams(version, "it looks odd", require_approval, approval_timeout_hours=1)
        self._finish(plan_rollback, opening=Opening("recommender_rollback", params, "bo", has_ended))

    def ask_rollback(self, *, attempt=1):
        return questions.ask_rollback(self.context, attempt=attempt)

    def switch_back(self):
        return self._finish(roll_back)

    def reject(self):
        return self._finish(reject)

    def close(self):
        return self._finish(close_release)

    def release_fully(self):
        """Take the run from its plan to a verified production."""
        self.validate()
        self.answer(Decision.PROMOTE)
        self.promote()
        self.close()

    def _finish(self, step, **arguments):
        return finish(self.context, lambda: step.advance(self.context, **arguments))
