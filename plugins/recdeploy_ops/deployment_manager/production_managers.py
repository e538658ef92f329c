"""A notebook's methods for the current production: look at it, list its backups, roll it back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.context import open_context
from recdeploy_ops.deployment_manager import folders
from recdeploy_ops.deployment_manager.backup_lists import read_backups
from recdeploy_ops.deployment_manager.guide_states import GuideState, describe_guide_state
from recdeploy_ops.deployment_manager.notebook_sessions import SESSION, NotebookSession
from recdeploy_ops.deployment_manager.overrides import adapt_settings, title_of
from recdeploy_ops.deployment_manager.shown_reports import read_shown_report
from recdeploy_ops.domain.events import NOTEBOOK
from recdeploy_ops.domain.params import RollbackParams
from recdeploy_ops.domain.production_checks import reconcile
from recdeploy_ops.domain.release_status import NO_PRODUCTION, describe_progress, summarise
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.oci_clients.callers import name_caller
from recdeploy_ops.oci_clients.profiles import find_profile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollbacks.runs import switch_back
from recdeploy_ops.rollout.existing_shops import find_existing_shop
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.settings import load_settings
from recdeploy_ops.steps import close_release
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.deployment_manager.shown_reports import ShownReport
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.settings import Settings

log = logging.getLogger(__name__)

PHASE_MARK = "🩺"  # begins the line that the guide's summary does not have


class ProductionManager:
    """Looks at production, lists backups and rolls back.

    Args:
        project_name: e.g. ``Product Recommender``; by default the one in the settings.
        backup_root: folder or URI named ``backups``; ledger and releases are beside it. By default below the settings'
            ``storage``, which Airflow uses as well.
        artifact_dir: local folder of the current artifact, replaced as a whole; by default
            ``~/recommender_model_artifact``. A folder with other files is refused.
        results_dir: the same for the current results; by default ``~/results``.
        settings: by default those that ``RECDEPLOY_SETTINGS`` names, else ``include/recommender.yaml``.
        oci: by default from ``AIRFLOW_CONN_OCI_DEFAULT``, ``~/.oci/config`` or the resource principal.
        session: identifies the kernel.

    Raises:
        SettingsError: a setting or credential is missing or wrong; says what to set.
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
        self.title = title_of(self.settings.project_name, project_name)
        oci = oci or OciSession(find_profile(self.settings.connections.oci))
        self.context = open_context(self.settings, open_store(self.settings.storage, oci), oci, NOTEBOOK)
        self.artifact_dir = Path(artifact_dir or Path.home() / "recommender_model_artifact").expanduser().absolute()
        self.results_dir = Path(results_dir or Path.home() / "results").expanduser().absolute()
        self._session = NotebookSession(self.context, name_caller(oci.profile.key), session)

    @property
    def current_version(self) -> int:
        """Return the version in production; 0 if there is none."""
        serving = self.context.refresh().production
        return serving.version if serving else 0

    def show_report(self) -> ShownReport:
        """Return the report of this session's newest release, as the last expression of a cell: Jupyter shows its page.

        Raises:
            CellOrderError: there is none: Cell 11 writes it, or an earlier cell whose gate says FAIL.
        """
        with self._session.explaining():
            return read_shown_report(self.context, self._session.newest())

    def rollback_artifacts(self, version: int) -> bool:
        """Replace `artifact_dir` and `results_dir` by a version; production stays as it is.

        If only a backup of another manager has the version, its files are restored as they are, with a warning.

        Returns:
            Whether storage has an undamaged copy of that version.

        Raises:
            SettingsError: one of the folders has other files; both stay as they are.
        """
        prefix = folders.restore(self.context, version, self.artifact_dir, self.results_dir)
        if prefix is None:
            uri = self.context.store.uri
            log.error("Rollback failed - backup not found: %s does not have an undamaged copy of v%s.", uri, version)
            return False
        log.info("%s and %s have v%s again, from %s.", self.artifact_dir, self.results_dir, version, prefix)
        return True

    def roll_back_production(self, version: int | str = "previous", reason: str = "") -> dict[str, Any]:
        """Rehearse a rollback, switch production to an earlier version at the same URL, and verify it.

        Args:
            version: a number, or ``previous``.
            reason: recorded in the ledger.

        Returns:
            ``version``, ``url`` and ``digest`` of what production serves.

        Raises:
            CellOrderError: this session has an unfinished rollback to another version or with another reason.
            SettingsError: no such version exists.
            LockHeldError: another release is past its approval.
            PromotionFailedError: the switch failed; says what production serves now.
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

    @property
    def state(self) -> GuideState:
        """Return the guide's state, read from the ledger; it cannot be written. See `describe_guide_state`.

        Raises:
            StateMismatchError: as `get_deployment_summary`.
        """
        return describe_guide_state(self._compare_with_oci(), self.context.history())

    def get_deployment_summary(self) -> str:
        """Return what is in production and on TEST, in the guide's layout; log which storage it was read from.

        Without a production it also says which storage that is, and what may serve the shop nevertheless.

        Raises:
            StateMismatchError: OCI has a production that the ledger does not know, or it belongs to another project,
                or its ledger is not in this storage.
        """
        state = self._compare_with_oci()
        log.info("Reading the releases of %s in %s", self.settings.project_name, self.context.store.uri)
        summary = summarise(state, self.settings.project_name, self.title)
        lines = [line for line in summary.splitlines() if not line.startswith(PHASE_MARK)]
        if state.production is None:
            after = lines.index(NO_PRODUCTION) + 1
            lines[after:after] = [f"   {line}" for line in self._explain_no_production()]
        return "\n".join(lines)

    def _compare_with_oci(self) -> LedgerState:
        """Return the state of the ledger; refuse if OCI has a production that it does not know."""
        state = self.context.refresh()
        with self._session.explaining():
            production = find_production(self.context)
            if state.production is None:
                reconcile(state, production)
        return state

    def _explain_no_production(self) -> list[str]:
        """Return where the ledger was looked for, and what may serve the shop already."""
        shop = find_existing_shop(self.context)
        lines = [*shop.describe(), shop.remedy.describe(Audience.NOTEBOOK)] if shop else []
        return [f"Storage: {self.context.store.uri}", *lines]

    def list_backups(self) -> list[dict[str, Any]]:
        """Return the complete backups, oldest first, and those that another manager made.

        Returns:
            For each: ``version``, ``timestamp``, ``backup_path``, ``files`` (how many), ``digest``, ``is_verified``
            and ``production_deployment`` (what served it: ``model_id``, ``deployment_id``, ``endpoint``, ...). Nothing
            verifies the files of another manager's backup: its ``digest`` is empty, and its ``production_deployment``
            is its ``metadata.json``.

        Raises:
            SettingsError: the storage belongs to another project.
            StateMismatchError: there is none, and OCI has a production whose ledger is not in this storage.
        """
        self.context.ledger.require_project()
        backups = read_backups(self.context.store, self.context.ledger.readable_entries())
        if not backups:
            self._compare_with_oci()
            log.info("No backup is below %s/backups.", self.context.store.uri)
        return backups

    def resume_release(self) -> str:
        """Continue the release that an ended kernel of yours has left open; return a sentence about it."""
        release = self._session.resume()
        done = describe_progress(release)
        return f"This session continues v{release.version} (run {release.run_id}), which {done}."

    def abandon_release(self) -> str:
        """Close the open release of any of your kernels, delete its test deployment; return a sentence about it."""
        release = self._session.abandon()
        return f"The release v{release.version} (run {release.run_id}) is closed, and the release lock is free."
