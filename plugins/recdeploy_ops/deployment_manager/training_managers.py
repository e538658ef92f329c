"""A notebook's methods that make a model: data, training or recommendations of one's own, and the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.deployment_manager import folders, own_recommendations
from recdeploy_ops.deployment_manager.import_managers import ImportManager
from recdeploy_ops.deployment_manager.overrides import default_params, require_top_k
from recdeploy_ops.deployment_manager.sources import source_of
from recdeploy_ops.domain.events import ArtifactBuilt, ModelTrained
from recdeploy_ops.steps import build_artifact, check_data, extract, run_ads_operator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pandas import DataFrame

    from recdeploy_ops.domain.events import StoredEvent
    from recdeploy_ops.extraction import Source


class TrainingManager(ImportManager):
    """Extracts, trains and builds the artifact. Takes the arguments of `ProductionManager`."""

    def extract_data(self, connection: Mapping[str, Any] | Source, accept_change: str = "") -> dict[str, int]:
        """Extract interactions, users and items, and judge them; return the rows of each.

        Args:
            connection: the guide's ``connection_parameters``, or a `Source`.
            accept_change: why data and lists differ from the champion's on purpose; empty if they should not.

        Raises:
            SourceDataError: a table or column is missing, a table is empty, or a value cannot be used.
            GateFailedError: the data gate said FAIL.
        """
        source: Any = connection if hasattr(connection, "batches") else source_of(connection)
        opened = self._session.open(default_params(self.settings))
        release = self._session.change_params(opened, accept_change=accept_change or None)
        summary = self._session.finish(extract.advance, release.run_id, source=source)
        self._session.finish(check_data.advance, release.run_id)
        return {table: summary[table] for table in ("interactions", "users", "items")}

    def train_model(self, top_k: int | None = None, seed: int | None = None) -> dict[str, Any]:
        """Train with the ADS operator on the extract; leave its results in `results_dir`, return its metrics.

        Args:
            top_k: recommendations per user; by default the settings'.
            seed: the same data and seed give the same bytes; by default the settings'.

        Raises:
            CellOrderError: nothing was extracted.
            SettingsError: `results_dir` has other files than results of this project.
            TrainingFailedError: the operator failed, or left outputs that cannot be used.
        """
        folders.require_replaceable(self.results_dir)
        release = self._session.require_undecided("There is nothing to train on")
        chosen = {name: value for name, value in (("top_k", top_k), ("seed", seed)) if value is not None}
        release = self._session.change_params(release, **chosen)
        summary = self._session.finish(run_ads_operator.advance, release.run_id)
        self._fetch(ModelTrained, self.results_dir)
        return dict(summary["metrics"])

    def take_recommendations(
        self,
        recommendations: str | Path | DataFrame,
        top_k: int | None = None,
        new_user_csv_path: str | Path | None = None,
    ) -> dict[str, int]:
        """Take recommendations that a person's own code has made, in place of `train_model`.

        The release goes on with `build_artifact`: artifact, gates and approval are those of every release. After
        `extract_data` the lists are judged against the data; without it the data gate says HOLD.

        Args:
            recommendations: path of a CSV file, or a pandas table, with the columns of user, product and rating that
                the settings name; ``score`` stands for the rating too. Lists are sorted by rating.
            top_k: length of the lists, from 1 to 1,000; by default that of the longest. Longer ones are cut.
            new_user_csv_path: a CSV file of products and ratings for new users, best first; by default the products
                that are recommended most often.

        Returns:
            ``users``, ``items`` and ``rows`` of the lists, for `save_new_model`.

        Raises:
            SettingsError: the file cannot be used, or `results_dir` has other files than results of this project.
            LockHeldError: another release is in progress.
        """
        folders.require_replaceable(self.results_dir)
        source = self.settings.source
        table = own_recommendations.read_recommendations(recommendations, source)
        new_users = own_recommendations.read_new_user_list(new_user_csv_path, source) if new_user_csv_path else None
        length = require_top_k(self.settings, top_k or own_recommendations.longest_list(table, source))
        opened = self._session.open(default_params(self.settings))
        release = self._session.change_params(opened, top_k=length)
        context = self._session.context(release.run_id)
        with self._session.explaining():
            counts = own_recommendations.store_recommendations(context, table, new_users, length)
        self._fetch(ModelTrained, self.results_dir)
        return counts

    def build_artifact(self) -> Path:
        """Build the serving artifact from the results into `artifact_dir`, and return that folder.

        Raises:
            CellOrderError: nothing was trained.
            SettingsError: `artifact_dir` has other files than an artifact of this project.
        """
        folders.require_replaceable(self.artifact_dir)
        release = self._session.require_undecided("There is nothing to build an artifact from")
        self._session.finish(build_artifact.advance, release.run_id)
        self._fetch(ArtifactBuilt, self.artifact_dir)
        return self.artifact_dir

    def _fetch(self, kind: type[StoredEvent], folder: Path) -> None:
        release = self._session.require("The release is gone")
        folders.fetch_folder(self.context.store, self._session.context(release.run_id).open_bundle(kind), folder)
