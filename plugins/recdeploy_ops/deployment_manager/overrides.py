"""Notebook overrides of the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recdeploy_ops.domain import release_status
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.params import RetrainParams
from recdeploy_ops.settings import ServingSettings, Settings, TrainingSettings

BACKUPS = "/backups"


def adapt_settings(settings: Settings, project_name: str | None, backup_root: str | Path | None) -> Settings:
    """Return the settings with another project or storage.

    Args:
        settings: as the file has them.
        project_name: e.g. ``Product Recommender``, for the project ``product-recommender``.
        backup_root: folder or URI of the backups, directly below the storage root.

    Raises:
        SettingsError: one of them cannot be used.
    """
    changes: dict[str, Any] = {}
    if project_name:
        changes["project_name"] = re.sub(r"[^a-z0-9]+", "-", project_name.lower()).strip("-")
    if backup_root:
        changes["storage"] = _storage_of(str(backup_root))
    if not changes:
        return settings
    try:
        return Settings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as err:
        raise SettingsError(f"{', '.join(changes)} of the manager cannot be used: {_describe(err)}.") from err


def title_of(slug: str, project_name: str | None) -> str:
    """Return the project's name for people: as it was given, unless it was given as a slug or not at all."""
    return project_name if project_name and project_name != slug else release_status.title_of(slug)


def default_params(settings: Settings) -> RetrainParams:
    """Return the defaults of the DAG's form."""
    serving, training = settings.serving, settings.training
    return RetrainParams(
        top_k=training.top_k,
        seed=training.seed,
        instance_shape=serving.instance_shape,
        ocpus=serving.ocpus,
        memory_gb=serving.memory_gb,
        instance_count=serving.instance_count,
        skip_test_deployment=False,
        approval_timeout_hours=settings.release.approval_timeout_hours,
        autoscaling=serving.size.autoscaling,
    )


def choose_size(settings: Settings, **chosen: Any) -> dict[str, Any]:
    """Return the size of a deployment; a value that is None is taken from the settings.

    Raises:
        SettingsError: a value would not be valid in the settings.
    """
    serving = settings.serving.model_dump()
    size = {name: serving[name] if value is None else value for name, value in chosen.items()}
    try:
        ServingSettings.model_validate({**serving, **size})
    except ValidationError as err:
        raise SettingsError(f"These parameters of deploy_model (Cell 10) cannot be used: {_describe(err)}.") from err
    return size


def require_top_k(settings: Settings, top_k: int) -> int:
    """Return the length of lists if it would be valid in the settings.

    Raises:
        SettingsError: it would not.
    """
    try:
        return TrainingSettings.model_validate({**settings.training.model_dump(), "top_k": top_k}).top_k
    except ValidationError as err:
        raise SettingsError(f"top_k cannot be used: {_describe(err)}.") from err


def _storage_of(backup_root: str) -> str:
    uri = backup_root if "://" in backup_root else Path(backup_root).expanduser().absolute().as_uri()
    if not uri.rstrip("/").endswith(BACKUPS):
        raise SettingsError(
            f"backup_root must be named 'backups' (it is {backup_root!r}): it is a folder of the storage root with the "
            "ledger beside it. Leave it out to use the storage of the settings."
        )
    return uri.rstrip("/").removesuffix(BACKUPS)


def _describe(err: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in err.errors())
