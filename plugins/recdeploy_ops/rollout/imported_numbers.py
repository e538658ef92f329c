"""Choose the number of a production that this project did not make: the shop's own, or a free one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.ledger.foreign_state_file import HIGHEST_NUMBER, find_foreign_state_file
from recdeploy_ops.storage.backups import highest_backup, list_foreign_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.records import Deployment
    from recdeploy_ops.domain.versions import Version

log = logging.getLogger(__name__)


def choose_number(
    context: ReleaseContext, deployment: Deployment, versions: Mapping[int, Version], requested: int | None
) -> int:
    """Return the number for what a deployment serves, which is none of the known versions.

    That is the requested one; else the one in the state file of the shop's own manager, unless something else has it;
    else the next above all that anybody has used.

    Args:
        context: of the run.
        deployment: production.
        versions: those of the ledger and the catalog.
        requested: by a person, or None.

    Raises:
        SettingsError: something else has the requested number, or it is not a version number.
    """
    if requested is not None:
        why = _why_not(context, deployment, versions, requested)
        if why:
            raise SettingsError(why, Remedy("Name another version, or none, and it gets a free one"))
        return requested
    state_file = find_foreign_state_file(context.store, context.project)
    number = state_file.number_of(deployment.deployment_id, deployment.model_id) if state_file else None
    if state_file and number:
        why = _why_not(context, deployment, versions, number)
        if not why:
            return number
        log.warning("%s calls what production serves v%s, but %s", state_file.uri, number, why)
    return max([*versions, context.state.highest_version, highest_used(context)]) + 1


def highest_used(context: ReleaseContext) -> int:
    """Return the highest number that the shop's own manager has used: in its state file, or for a backup."""
    state_file = find_foreign_state_file(context.store, context.project)
    return max(highest_backup(context.store), state_file.highest_number if state_file else 0)


def require_number(version: Version, requested: int | None) -> None:
    """Refuse another number for what production serves.

    Raises:
        SettingsError: the ledger or the catalog already has a number for it.
    """
    if requested not in {None, version.number}:
        raise SettingsError(
            f"The ledger has what production serves as v{version.number}, not as v{requested}: a number never changes.",
            Remedy("Leave version out"),
        )


def _why_not(
    context: ReleaseContext, deployment: Deployment, versions: Mapping[int, Version], number: int
) -> str | None:
    """Return why a number cannot be used, in words; None if it can."""
    if not 0 < number <= HIGHEST_NUMBER:
        return f"v{number} is not a version number: it must be from 1 to {HIGHEST_NUMBER:,}."
    if number in versions:
        return f"v{number} is taken: it is the model {versions[number].model_id or 'of another version'}."
    if number <= context.state.highest_version:
        return f"v{number} is taken: a release of the ledger had that number."
    for backup in list_foreign_folders(context.store, context.ledger.readable_entries()):
        if backup.version == number and deployment.model_id not in backup.read_metadata(context.store):
            return f"v{number} is taken: {backup.prefix} is a backup of another version, as far as its metadata says."
    return None
