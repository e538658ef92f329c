"""A notebook's methods that record what OCI has: a deployment that another manager made, or a change by hand."""

from __future__ import annotations

import logging
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from recdeploy_ops.deployment_manager.production_managers import ProductionManager
from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.domain.errors import SettingsError, StateMismatchError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.ledger.foreign_state_file import DEPLOYMENT, MODEL
from recdeploy_ops.steps import adopt_production

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

PREDICT = "/predict"


class ImportManager(ProductionManager):
    """Imports deployments and repairs the ledger. Takes the arguments of `ProductionManager`.

    Production itself keeps serving, unchanged. What a caller says about it is compared with OCI, and refused if OCI has
    something else.
    """

    def import_existing_deployment(
        self,
        deployment_id: str,
        model_id: str | None = None,
        endpoint: str | None = None,
        version: int | None = None,
        description: str = "",
    ) -> list[str]:
        """Import an existing deployment as production, with its version number and the backups of its manager.

        Args:
            deployment_id: OCID of the deployment.
            model_id: OCID of the model that it serves; compared with OCI.
            endpoint: its URL, with or without ``/predict``; compared with OCI.
            version: its number; by default that of the ``deployment_state.json`` in ``backups/``, else a free one.
            description: recorded in the ledger.

        Returns:
            The changes of the ledger, and what its manager has left running, one line each.

        Raises:
            StateMismatchError: it is not ACTIVE, or OCI has another model or URL for it.
            SettingsError: the number is another version's.
            LockHeldError: a release is in progress.
        """
        self._compare(deployment_id, model_id, endpoint)
        return self._adopt(deployment_id, version, description)

    def repair_production_state(
        self,
        deployment_id: str | None = None,
        model_id: str | None = None,
        endpoint: str | None = None,
        version: int | None = None,
    ) -> list[str]:
        """Bring the ledger in line with OCI, e.g. after changes by hand; return what differed.

        Args:
            deployment_id: OCID of production; by default the ledger's, or the one that is tagged as production.
            model_id: as in `import_existing_deployment`.
            endpoint: as in `import_existing_deployment`.
            version: as in `import_existing_deployment`.

        Raises:
            StateMismatchError: it is not ACTIVE, or OCI has another model or URL for it.
            SettingsError: more than one deployment could be production, or the number is another version's.
            LockHeldError: a release is in progress.
        """
        if deployment_id is None and (model_id or endpoint):
            raise SettingsError(
                "A model or a URL does not name a deployment.", Remedy("Name its OCID as deployment_id as well")
            )
        if deployment_id is not None:
            self._compare(deployment_id, model_id, endpoint)
        return self._adopt(deployment_id, version)

    def repair_production_state_from_backup(self, backup: int | str | Path | None = None) -> list[str]:
        """Record the deployment in a backup's ``metadata.json`` as production; return what differed.

        Args:
            backup: a version number, or the name or path of a backup's folder; by default the newest backup.

        Raises:
            SettingsError: no such backup exists, or it does not name a deployment.
            StateMismatchError: that deployment is not ACTIVE, or serves another model than when it was backed up.
            LockHeldError: a release is in progress.
        """
        stored = self._find_backup(backup)
        text = repr(stored["production_deployment"])
        deployment_ids, model_ids = DEPLOYMENT.findall(text), MODEL.findall(text)
        if not deployment_ids:
            raise SettingsError(
                f"{stored['backup_path']}/metadata.json does not name a deployment.",
                Remedy("Name its OCID: manager.repair_production_state('ocid1...')"),
            )
        self._compare(deployment_ids[0], model_ids[0] if model_ids else None, None)
        known = self.context.refresh().production
        is_known = known is not None and known.deployment_id == deployment_ids[0]
        return self._adopt(deployment_ids[0], None if is_known else stored["version"])

    def _find_backup(self, wanted: int | str | Path | None) -> dict[str, Any]:
        """Return the newest backup of a version or with a folder's name, as `list_backups` has it."""
        backups = self.list_backups()
        if isinstance(wanted, int):
            backups = [backup for backup in backups if backup["version"] == wanted]
        elif wanted is not None:
            backups = [backup for backup in backups if PurePath(backup["backup_path"]).name == PurePath(wanted).name]
        if not backups:
            raise SettingsError(
                f"No backup {'exists' if wanted is None else f'is {wanted}'} below {self.context.store.uri}/backups.",
                Remedy("Look at manager.list_backups()"),
            )
        return backups[-1]

    def _compare(self, deployment_id: str, model_id: str | None, endpoint: str | None) -> None:
        """Refuse a model or a URL that OCI does not have for a deployment."""
        if not model_id and not endpoint:
            return
        self.context.ledger.require_project()
        with self._session.explaining():
            deployment = self.context.deployments.get(deployment_id)
            said = {
                "model": (model_id, deployment.model_id),
                "URL": (endpoint and endpoint.strip().rstrip("/").removesuffix(PREDICT), deployment.url),
            }
            wrong = [
                f"the {what} {known}, not {given}"
                for what, (given, known) in said.items()
                if given not in {None, "", known}
            ]
            if wrong:
                raise StateMismatchError(
                    f"{deployment.name} ({deployment_id}) has {' and '.join(wrong)}.",
                    Remedy(f"Call manager.repair_production_state({deployment_id!r}) to record what OCI has"),
                )

    def _adopt(self, deployment_id: str | None, version: int | None, note: str = "") -> list[str]:
        """Record what OCI has; return the difference from the ledger."""
        if version is not None and type(version) is not int:
            raise SettingsError(f"version must be a whole number, not {version!r}.")
        run_id = f"adopt-{uuid4().hex[:12]}"  # the ledger may be lost or damaged: its length does not tell runs apart
        how: dict[str, Any] = {"deployment_id": deployment_id, "version": version, "note": escaped(note)}
        done = self._session.finish(adopt_production.advance, run_id, apply=True, **how)
        return [*done["difference"], *done.get("importable", []), *done.get("left", [])]
