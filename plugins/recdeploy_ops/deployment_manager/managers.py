"""`RecommenderDeploymentManager`: the guide's methods; each runs one or a few steps of a release."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals import questions
from recdeploy_ops.approvals.answers import NO_TEST
from recdeploy_ops.deployment_manager import decisions, folders, imported_artifacts
from recdeploy_ops.deployment_manager.backup_lists import LOCAL
from recdeploy_ops.deployment_manager.endpoints import ModelDeployment, delete_other_sizes, find_endpoint
from recdeploy_ops.deployment_manager.overrides import choose_size, default_params
from recdeploy_ops.deployment_manager.training_managers import TrainingManager
from recdeploy_ops.domain.errors import CellOrderError, SettingsError
from recdeploy_ops.domain.events import (
    ModelRegistered,
    ProductionBackedUp,
    Promoted,
    TestDeployed,
)
from recdeploy_ops.rollout.planning import plan_version
from recdeploy_ops.steps import (
    check_candidate,
    close_release,
    deploy_test,
    evaluate_candidate,
    register_model,
    validate_test,
)
from recdeploy_ops.steps.deploy_test import TEST_FAILED
from recdeploy_ops.storage.bundles import open_bundle

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger_state import Release

log = logging.getLogger(__name__)


class RecommenderDeploymentManager(TrainingManager):
    """Retrains, tests, promotes and rejects from a notebook. Takes the arguments of `ProductionManager`.

    A session makes one release at a time. It holds the release lock from `backup_current_artifacts`, `extract_data` or
    `save_new_model` until `promote_to_production` or `cleanup_test_deployment`.
    """

    def get_next_version(self) -> int:
        """Return the version number of this session's open release, or else of the next release.

        Raises:
            StateMismatchError: OCI's production is not what the ledger says, or an unknown shop may already be served.
        """
        own = self._session.own()
        with self._session.explaining():
            return plan_version(self._session.context(own.run_id if own else "")).version

    def backup_current_artifacts(self, version: int | None = None) -> Path | None:
        """Take the release lock and back up what production serves; return the backup's folder.

        Args:
            version: the version in production; no other can be backed up.

        Returns:
            The folder, a verified local copy if the storage is remote; None on the first run.

        Raises:
            SettingsError: another version is in production, or `artifact_dir` or `results_dir` has files that are not
                replaced.
            LockHeldError: another release is in progress.
        """
        for folder in (self.artifact_dir, self.results_dir):  # not only after the training
            folders.require_replaceable(folder)
        if version and self.current_version and version != self.current_version:
            raise SettingsError(
                f"v{version} is not in production, v{self.current_version} is: only the version in production can be "
                "backed up. Earlier versions already have backups: manager.list_backups()."
            )
        release = self._session.open(default_params(self.settings))
        prefix = release.require(ProductionBackedUp).prefix
        if prefix is None:
            log.warning("No previous version to backup: this is normal on the first run.")
            return None
        if self.settings.storage.startswith(LOCAL):
            return Path(self.settings.storage.removeprefix(LOCAL)) / prefix
        copy = self.artifact_dir.parent / prefix
        backup = open_bundle(self.context.store, prefix, made_by="backup_production")
        folders.fetch_folder(self.context.store, backup, copy)
        return copy

    def save_new_model(
        self, model: Any, version: int, num_users: int, num_products: int, is_test: bool = True, accept_change: str = ""
    ) -> str:
        """Check a model, register it in the Model Catalog and return its OCID.

        Args:
            model: an artifact folder, or an ADS ``GenericModel`` that has one.
            version: as returned by `get_next_version`.
            num_users: users that it was trained on.
            num_products: products that it was trained on.
            is_test: whether `deploy_model` makes a test deployment; else the model goes straight into production.
            accept_change: as in `extract_data`, whose reason stays valid; for a change that only the lists show.

        Raises:
            SettingsError: it is not an artifact of this project, or not of this version.
            GateFailedError: the candidate gate said FAIL.
            LockHeldError: another release is in progress.
        """
        folder = imported_artifacts.folder_of(model)
        release = self._session.open(default_params(self.settings))
        if version != release.version:
            raise SettingsError(
                f"This release makes v{release.version}, not v{version}: that number is taken. Run Cell 1 again "
                "(next_version = manager.get_next_version()), then Cell 8."
            )
        intended = accept_change or release.retrain_params.accept_change
        release = self._session.change_params(release, skip_test_deployment=not is_test, accept_change=intended)
        counts = {"users": num_users, "items": num_products}
        context = self._session.context(release.run_id)
        top_k = imported_artifacts.import_artifact(context, folder, self.results_dir, counts)
        release = self._session.change_params(context.release, top_k=top_k)
        imported_artifacts.compare_counts(release, counts)
        self._session.finish(check_candidate.advance, release.run_id)
        self._session.finish(evaluate_candidate.advance, release.run_id)
        return str(self._session.finish(register_model.advance, release.run_id)["model_id"])

    def deploy_model(
        self,
        model: Any,  # noqa: ARG002 - the guide's cells pass it; the registered model is deployed
        model_id: str,
        version: int,
        is_test: bool = True,
        instance_shape: str | None = None,
        ocpus: float | None = None,
        memory_gb: float | None = None,
    ) -> ModelDeployment:
        """Deploy a saved model to a test deployment and return that once it is ACTIVE.

        With ``is_test=False`` here or in `save_new_model`, the model goes straight into production: this call is then
        the approval.

        Args:
            model: as given to `save_new_model`.
            model_id: as returned by `save_new_model`.
            version: as given to `save_new_model`.
            is_test: whether to make a test deployment.
            instance_shape: of the test deployment, and of production after a promotion; by default the settings'.
            ocpus: per instance; by default the settings'.
            memory_gb: per instance; by default the settings'.

        Raises:
            CellOrderError: this session did not save this model.
            DeploymentFailedError: OCI could not create the deployment; quotes OCI.
        """
        release = self._session.require_undecided(TEST_FAILED)
        saved = release.get(ModelRegistered)
        if saved is None or (saved.model_id, saved.version) != (model_id, version):
            has = f"has saved v{saved.version} as {saved.model_id}" if saved else "has not saved a model"
            raise CellOrderError(f"{TEST_FAILED}: this session {has}, not v{version} as {model_id}. Run Cell 9 first.")
        skip = release.retrain_params.skip_test_deployment or not is_test
        size = choose_size(self.settings, instance_shape=instance_shape, ocpus=ocpus, memory_gb=memory_gb)
        release = self._session.change_params(release, **size, skip_test_deployment=skip)
        self._session.finish(delete_other_sizes, release.run_id)
        self._session.finish(deploy_test.advance, release.run_id)
        if skip:
            return self._deploy_without_test(release)
        return find_endpoint(self.context, TestDeployed, release.run_id)

    def validate_test(self) -> str:
        """Probe the test deployment, ask for a decision, and return the evidence for it (Markdown).

        Logs the reasons of a HOLD first; `show_report` has all that was measured. If the test deployment was skipped,
        Cell 10 was the decision, and the evidence says so.

        Raises:
            CellOrderError: no test deployment exists.
            GateFailedError: an answer is wrong: reject the candidate with Cell 13.
        """
        decided = self._session.newest()
        if decided and decided.get(Promoted) and decided.retrain_params.skip_test_deployment:
            return questions.describe_evidence(self.context, decided, [decisions.SKIPPED])
        release = self._session.require_undecided("There is no test deployment to validate")
        self._session.finish(validate_test.advance, release.run_id)
        return decisions.ask(self._session, release.run_id).body

    def promote_to_production(
        self, test_deployment_id: str | None = None, comment: str = "promoted from a notebook"
    ) -> dict[str, Any]:
        """Switch production to the tested version, verify it, delete the test deployment; the caller is the approver.

        Args:
            test_deployment_id: OCID of the test deployment; by default this session's. To approve another person's
                release, pass the OCID of its test deployment.
            comment: recorded with the approval: why each reason of a HOLD does not matter.

        Returns:
            ``version``, ``url`` and ``digest`` of what production serves.

        Raises:
            CellOrderError: no such test deployment exists.
            GateFailedError: the test deployment gave a wrong answer.
            PromotionFailedError: the switch failed; says what production serves now.
        """
        release = self._session.find_tested(test_deployment_id) or self._session.require(NO_TEST)
        tested = release.get(TestDeployed)
        known = tested.deployment_id if tested else None
        if known is None:
            raise CellOrderError(f"{NO_TEST}: run Cells 9-10 first.")
        if test_deployment_id not in {None, known}:
            raise CellOrderError(f"{NO_TEST} {test_deployment_id}: this session's is {known} (v{release.version}).")
        return decisions.promote_release(self._session, release.run_id, comment)

    def cleanup_test_deployment(self, reason: str = "rejected from a notebook") -> None:
        """Reject the candidate, delete the test deployment and free the release lock; production stays as it is.

        Args:
            reason: recorded in the ledger.

        Raises:
            DeploymentFailedError: the test deployment could not be deleted; says what is left.
        """
        release = self._session.newest()
        if release is None:
            log.warning("No test deployment to clean up.")
            return
        if release.is_open:
            decisions.reject_release(self._session, release.run_id, reason)
        self._session.finish(close_release.advance, release.run_id)

    def _deploy_without_test(self, release: Release) -> ModelDeployment:
        self._session.finish(validate_test.advance, release.run_id)
        decisions.promote_release(self._session, release.run_id, decisions.WITHOUT_TEST)
        return find_endpoint(self.context, Promoted, release.run_id)
