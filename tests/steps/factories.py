"""Releases with results made by hand; what tests look at, and what other people and teams do in OCI."""

from __future__ import annotations

import csv
import tempfile
import zipfile
from pathlib import Path

import oci
from shops import make_shop, source_of

from recdeploy_ops.approvals import answers, questions
from recdeploy_ops.artifacts.archives import zip_artifact
from recdeploy_ops.context import open_context, utc_now
from recdeploy_ops.domain.events import ModelTrained
from recdeploy_ops.domain.params import RetrainParams, RollbackParams
from recdeploy_ops.domain.records import Decision, Role, Shape
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.oci_clients.deployments import NewDeployment
from recdeploy_ops.oci_clients.models import NewModel
from recdeploy_ops.oci_clients.tags import ROLE_TAG
from recdeploy_ops.rollout.locks import Opening
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import (
    adopt_production,
    backup_production,
    bake,
    build_artifact,
    check_candidate,
    check_data,
    close_release,
    deploy_test,
    evaluate_candidate,
    extract,
    freeze_promotions,
    housekeeping,
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
from recdeploy_ops.storage.keys import LEDGER
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.upkeep.erasing import erase
from recdeploy_ops.upkeep.traces import describe_customer, plan_erasure

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
SHAPE = Shape("VM.Standard.E4.Flex", 1, 16, 1)
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


def create_project(emulator):
    """Create a project in the emulator, and return its OCID."""
    client = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
    details = oci.data_science.models.CreateProjectDetails(compartment_id=emulator.compartment_id, display_name="shop")
    return client.create_project(details).data.id


def create_bucket(emulator, session, name="shop"):
    """Create a bucket in the emulator, and return its URI."""
    details = oci.object_storage.models.CreateBucketDetails(name=name, compartment_id=emulator.compartment_id)
    session.object_storage.create_bucket(emulator.namespace, details)
    return f"oci://{name}@{emulator.namespace}"


def extra_of(emulator, project_id):
    """Return the extra of an `oci` connection to the emulator."""
    return {
        "auth": "api_key",
        **emulator.config,
        "compartment_id": emulator.compartment_id,
        "project_id": project_id,
        "service_endpoint": emulator.url,
    }


def reopen(context, run_id="test", *, now=utc_now, session=None, **changes):
    """Return the context of a process that remembers nothing, with these changes of the settings."""
    settings, session = context.settings.model_copy(update=changes), session or context.catalog._session
    return open_context(settings, open_store(settings.storage, session), session, run_id, now)


def with_ignored(context, *deployment_ids):
    """Open the same storage with settings that ignore deployments."""
    release = context.settings.release.model_copy(update={"ignored_deployments": deployment_ids})
    return reopen(context, release=release)


def adopt(context, deployment_id=None, *, apply=True, **how):
    """Let `recommender_adopt` run."""
    own = context.of_run("adopt")
    return finish(own, lambda: adopt_production.advance(own, deployment_id=deployment_id, apply=apply, **how))


def tidy_up(context, *, ended=False):
    """Let housekeeping run; ``ended`` says whether the run that holds the lock has ended."""
    own = context.of_run("housekeeping")
    return finish(own, lambda: housekeeping.advance(own, has_ended=lambda holder: ended))


def answer_of(context, user=USERS[0]):
    """Return the body that production answers a user with."""
    ask = context.deployments.asker(find_production(context).url, timeout_seconds=10, fresh=True)
    return ask({"user_id": user}).body


def served(context, user=USERS[0]):
    """Return the version that production answers a user with."""
    return answer_of(context, user)["model_version"]


def require_agreement(context, version):
    """Require that production serves this version, and that the ledger has it too."""
    assert served(context) == context.refresh().production.version == version


def served_to_all(context):
    """Return the versions that production answers the users with."""
    return {served(context, user) for user in USERS}


def living(context, role=None):
    """Return the deployments of a role, or all, that are not deleted."""
    present = [d for d in context.deployments.all() if not d.lifecycle_state.is_deleted]
    return [d for d in present if role is None or d.tags.get(ROLE_TAG) == role]


def living_tests(context):
    """Return the names of the test deployments."""
    return [d.name for d in living(context, Role.TEST)]


def event_types(context, run_id):
    """Return the types of a run's events, in order."""
    return [str(entry.type) for entry in context.history() if entry.run_id == run_id]


def find_faults(context):
    """Return what the audit says of the ledger."""
    return audit(context.store, tagged_heads=find_tagged_heads(context))


def switch_by_hand(context, emulator, version=1):
    """Let a person switch production in OCI's console."""
    context.deployments.switch_model(find_production(context), context.refresh().versions[version].model_id)
    emulator.wait_until_idle()


def deactivate_production(context, emulator):
    """Let a person deactivate production in OCI's console."""
    deactivate(context, emulator, find_production(context).deployment_id)


def deactivate(context, emulator, deployment_id):
    """Let a person deactivate a deployment in OCI's console."""
    context.deployments._client.deactivate_model_deployment(deployment_id)
    emulator.wait_until_idle()


def delete_production(context, emulator):
    """Let a person delete production in OCI's console."""
    context.deployments.delete(find_production(context))
    emulator.wait_until_idle()


def delete_model(context, version):
    """Delete a version's model from the catalog."""
    context.catalog._client.delete_model(context.refresh().versions[version].model_id)


def erase_user(context, user):
    """Erase a customer from everything that is stored; return the plan of what would be left."""
    own = context.of_run("erase")
    own.refresh()
    customer = describe_customer(own, user)
    return erase(own, customer, plan_erasure(own, customer), by="ann", reason="request 7")


def delete_stored(context, prefix):
    """Delete every stored object below a prefix."""
    for stored in list(context.store.list(prefix)):
        context.store.delete(stored.key)


def lose_ledger(context):
    """Delete the ledger, and return the context of a process that never read it."""
    delete_stored(context, LEDGER)
    return reopen(context)


def lose_version(context, version=1):
    """Lose a version in the catalog, where it was built, and in the backups."""
    delete_model(context, version)
    for prefix in (context.refresh().versions[version].artifact, f"backups/v{version}_"):
        delete_stored(context, prefix)


def register_foreign(context, folder, name="theirs", *, version_set="theirs", tags=None, metadata=()):
    """Register an artifact's folder as anyone with access to the catalog can, and return the model's OCID."""
    model = context.catalog.create(NewModel(name, "", version_set, "v", tags or {}, metadata, {}, name))
    archive = folder.parent / f"{name}.zip"
    zip_artifact(folder, archive)
    context.catalog.upload_artifact(model.model_id, archive)
    return model.model_id


def deploy_foreign(context, emulator, model_id, name="a demo", *, tags=None):
    """Deploy a model as anyone with access to the compartment can, and return the deployment's OCID."""
    new = NewDeployment(name, "", model_id, SHAPE, 10, {}, {}, tags or {}, name)
    deployment_id = context.deployments.create(new)
    emulator.wait_until_idle()
    assert context.deployments.get(deployment_id).lifecycle_state == "ACTIVE"
    return deployment_id


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

    ``shift`` makes the lists of different runs differ, as retraining on new data would. ``inputs`` are those of its
    training, without which no model is trained for the gates. ``finish`` takes a step to its end.
    """

    def __init__(self, context, run_id, folder, *, shift=0, inputs=None, finish=finish, **params):
        self.context, self.run_id, self.shift = context.of_run(run_id), run_id, shift
        self.inputs = inputs or {}
        self.params = {**PARAMS, **params}
        self.finish = finish
        self.database = folder / "shop.db"
        if not self.database.exists():
            shop(folder)

    def plan(self, has_ended=lambda holder: False):
        opening = Opening("recommender_retrain", RetrainParams(**self.params), "bo", has_ended)
        return self._take(plan_release, opening=opening)

    def back_up(self):
        return self._take(backup_production)

    def extract(self):
        self.back_up()
        self._take(extract, source=source_of(self.database))
        return self.check_data()

    def check_data(self):
        return self._take(check_data)

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
        self.context.record(ModelTrained(bundle.prefix, bundle.digest, inputs=self.inputs, metrics={"rmse": 0.9}))

    def build(self):
        self.train()
        self._take(build_artifact)
        self._take(check_candidate)
        self._take(evaluate_candidate)

    def make(self):
        self.extract()
        self.build()

    def register(self):
        self.plan()
        self.make()
        self.register_model()

    def register_model(self):
        return self._take(register_model)

    def validate(self):
        self.register()
        self.test()

    def test(self):
        self.deploy_test()
        return self.validate_test()

    def deploy_test(self):
        return self._take(deploy_test)

    def validate_test(self):
        return self._take(validate_test)

    def ask(self, *, attempt=1):
        return questions.ask(self.context, attempt=attempt)

    def record_answer(self, decision, *, by="ann", comment="seen", attempt=1):
        reply = answers.Answer(decision, by, self.context.now(), comment, timed_out=False)
        answers.record_answer(self.context, reply, attempt=attempt)

    def answer(self, decision, *, comment="seen", attempt=1):
        question = self.ask(attempt=attempt)
        self.record_answer(decision, comment=comment, attempt=attempt)
        return question

    def promote(self):
        return self._take(promote)

    def promote_fully(self, *, attempt=1):
        """Take the run from its validated version to a verified production."""
        self.answer(Decision.PROMOTE, attempt=attempt)
        self.promote()
        self.close()

    def reject_fully(self, *, comment=""):
        """Have a person reject the run's version."""
        self.answer(Decision.REJECT, comment=comment)
        self.reject()
        self.close()

    def roll_back(self, version="previous", *, has_ended=lambda holder: False):
        """Take the run as a rollback, from its plan to its end."""
        self.rehearse_rollback(version, has_ended=has_ended)
        done = self.switch_back()
        self.close()
        return done

    def rehearse_rollback(self, version="previous", *, has_ended=lambda holder: False, require_approval=False):
        self.plan_rollback(version, has_ended=has_ended, require_approval=require_approval)
        self.rehearse()

    def plan_rollback(self, version="previous", *, has_ended=lambda holder: False, require_approval=False):
        params = RollbackParams(version, "it looks odd", require_approval, approval_timeout_hours=1)
        return self._take(plan_rollback, opening=Opening("recommender_rollback", params, "bo", has_ended))

    def rehearse(self):
        return self._take(rehearse_rollback)

    def ask_rollback(self, *, attempt=1):
        return questions.ask_rollback(self.context, attempt=attempt)

    def switch_back(self):
        return self._take(roll_back)

    def bake(self):
        return self._take(bake)

    def reject(self):
        return self._take(reject)

    def close(self):
        return self._take(close_release)

    def freeze(self, reason="Black Friday", *, by="bo"):
        """Let a person freeze promotions, as this run; returns the task's summary."""
        return self._take(freeze_promotions, freeze=True, reason=reason, by=by, asked_at=self.context.now())

    def resume(self, reason="it is over", *, by="bo", asked_at=None):
        """Let a person resume promotions, as this run; returns the task's summary."""
        asked_at = asked_at or self.context.now()
        return self._take(freeze_promotions, freeze=False, reason=reason, by=by, asked_at=asked_at)

    def keep_house(self):
        """Take the run as one of housekeeping, while no run has ended."""
        return self._take(housekeeping, has_ended=lambda holder: False)

    def release_fully(self):
        """Take the run from its plan to a verified production."""
        self.validate()
        self.promote_fully()

    def _take(self, step, **arguments):
        return self.finish(self.context, lambda: step.advance(self.context, **arguments))
