"""What a notebook does to production as it is: look at it, roll it back, repair what the ledger says of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.context import open_context
from recdeploy_ops.deployment_manager import folders
from recdeploy_ops.deployment_manager.backup_lists import read_backups
from recdeploy_ops.deployment_manager.notebook_sessions import SESSION, NotebookSession
from recdeploy_ops.deployment_manager.overrides import adapt_settings
from recdeploy_ops.domain.events import NOTEBOOK
from recdeploy_ops.domain.params import RollbackParams
from recdeploy_ops.domain.release_plan import reconcile
from recdeploy_ops.domain.release_status import describe_progress, summarise
from recdeploy_ops.oci_clients.callers import name_caller
from recdeploy_ops.oci_clients.profiles import find_profile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollbacks.runs import switch_back
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.settings import load_settings
from recdeploy_ops.steps import adopt_production, close_release
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.settings import Settings

log = logging.getLogger(__name__)

PHASE_MARK = "🩺"  # of a line that the guide's summary does not have
ROLLBACK_FAILED = "Rollback failed - backup not found"


class ProductionManager:
    """Looks at production, lists backups, rolls back, and repairs the ledger after changes by hand.

    Args:
        project_name: e.g. ``Product Recommender``; by default the one in the settings.
        backup_root: folder or URI named ``backups``; ledger and releases lie beside it. By default below the
            settings' ``storage``, which Airflow uses as well.
        artifact_dir: local folder of the current artifact, replaced as a whole; by default
            ``~/recommender_model_artifact``. A folder that holds anything else is refused.
        results_dir: the same of the current results; by default ``~/results``.
        settings: by default those that ``RECDEPLOY_SETTINGS`` names, else ``include/recommender.yaml``.
        oci: by default as ``AIRFLOW_CONN_OCI_DEFAULT``, ``~/.oci/config`` or the resource principal says.
        session: tells kernels apart.

    Raises:
        SettingsError: something is missing or wrong; says what to set.
    """

    def __init__(
        self,
        project_name: str | None = None,
        backup_root: str | Path | None = None,
        artifact_dir: str | Path | None = None,
        results_dir: str | Path | None = None,
        *,
        settings: Settings | None = None,
        oci: OciSession | None = None,
        session: str = SESSION,
    ) -> None:
        self.settings = adapt_settings(settings or load_settings(), project_name, backup_root)
        oci = oci or OciSession(find_profile(self.settings.connections.oci))
        self.context = open_context(self.settings, open_store(self.settings.storage, oci), oci, NOTEBOOK)
        self.artifact_dir = Path(artifact_dir or Path.home() / "recommender_model_artifact").expanduser().absolute()
        self.results_dir = Path(results_dir or Path.home() / "results").expanduser().absolute()
        self._session = NotebookSession(self.context, name_caller(oci.profile.key), session)

    @property
    def current_version(self) -> int:
        """Return the version in production, 0 when there is none."""
        serving = self.context.refresh().production
        return serving.version if serving else 0

    def rollback_artifacts(self, version: int) -> bool:
        """Make `artifact_dir` and `results_dir` hold a version again; production stays as it is.

        Returns:
            Whether there was a whole copy of that version, as the ledger knows it.

        Raises:
            SettingsError: one of the folders holds something else; both stay as they are.
        """
        place = folders.restore(self.context, version, self.artifact_dir, self.results_dir)
        if place is None:
            log.error("%s: there is no whole copy of v%s below %s.", ROLLBACK_FAILED, version, self.context.store.uri)
            return False
        log.info("%s and %s hold v%s again, from %s.", self.artifact_dir, self.results_dir, version, place)
        return True

    def roll_back_production(self, version: int | str = "previous", reason: str = "") -> dict[str, Any]:
        """Bring production at the same URL back to an earlier version, rehearsed first and verified after.

        Args:
            version: a number, or ``previous``.
            reason: kept in the ledger.

        Returns:
            ``version``, ``url`` and ``digest`` of what production serves.

        Raises:
            CellOrderError: this session has not finished another rollback.
            SettingsError: no such version exists.
            LockHeldError: another release is past its approval.
            PromotionFailedError: production did not verify; says what it serves now.
        """
        params = RollbackParams(
            version=version,
            reason=reason or "rolled back from a notebook",
            require_approval=False,
            approval_timeout_hours=self.settings.release.approval_timeout_hours,
        )
        run_id = self._session.open_rollback(params)
        done = switch_back(lambda advance: self._session.finish(advance, run_id))
        self._session.finish(close_release.advance, run_id)
        return done

    def get_deployment_summary(self) -> str:
        """Return what is in production and on TEST, in the guide's layout; the log names the storage that says so.

        Raises:
            StateMismatchError: production belongs to another project, or its ledger is not in this storage.
        """
        state = self.context.refresh()
        with self._session.explaining():
            production = find_production(self.context)
            if state.production is None:
                reconcile(state, production)
        log.info("The releases of %s are those in %s.", self.settings.project_name, self.context.store.uri)
        summary = summarise(state, self.settings.project_name)
        return "\n".join(line for line in summary.splitlines() if not line.startswith(PHASE_MARK))

    def list_backups(self) -> list[dict[str, Any]]:
        """Return the whole backups, oldest first.

        Returns:
            Of each: ``version``, ``timestamp``, ``backup_path``, ``files`` (how many), ``digest`` and
            ``production_deployment`` (what served it: ``model_id``, ``deployment_id``, ``endpoint``, ...).

        Raises:
            SettingsError: the storage belongs to another project.
        """
        self.context.ledger.require_project()
        return read_backups(self.context.store)

    def import_existing_deployment(self, deployment_id: str) -> list[str]:
        """Make a deployment that this project did not make its production; return what that changes in the ledger.

        Raises:
            StateMismatchError: it is not ACTIVE.
            LockHeldError: a release is in progress.
        """
        return self._adopt(deployment_id)

    def repair_production_state(self) -> list[str]:
        """Bring the ledger in line with what OCI has, e.g. after changes by hand; return what differed.

        Raises:
            SettingsError: it cannot be told which deployment is production.
            LockHeldError: a release is in progress.
        """
        return self._adopt(None)

    def resume_release(self) -> str:
        """Go on with the release that an ended kernel of yours has left open; return a sentence about it."""
        release = self._session.resume()
        done = describe_progress(release)
        return f"This session goes on with v{release.version} (run {release.run_id}), which {done}."

    def abandon_release(self) -> str:
        """Close the release that a kernel of yours has open, delete its TEST deployment; return a sentence about it."""
        release = self._session.abandon()
        return f"The release v{release.version} (run {release.run_id}) is closed, and the release lock is free."

    def _adopt(self, deployment_id: str | None) -> list[str]:
        """Show the difference, then take over what OCI has."""
        run_id = f"adopt-{self.context.now():%Y%m%dT%H%M%S}"
        context = self._session.context(run_id)
        with self._session.explaining():
            shown = adopt_production.advance(context, deployment_id=deployment_id, apply=False)
        self._session.finish(adopt_production.advance, run_id, deployment_id=deployment_id, apply=True)
        if not isinstance(shown, dict):
            return []  # it waits only when it writes
        return [*shown["difference"], *shown.get("importable", [])]
