"""The serving artifact: template, recommendations and fallback become a verified, deterministic folder and zip."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.storage.bundles import write_manifest

if TYPE_CHECKING:
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.recommendations import Ranking

TEMPLATE = Path(__file__).parents[3] / "include" / "score_template"
FORMAT = 1  # of the files; score.py reads this one only
DATABASE = "recommendations.sqlite"
RUNTIME = "runtime.yaml"
FALLBACK = "new_user_fallback.pkl"
PICKLE_PROTOCOL = 4


def build_artifact(
    results_folder: Path,
    extract_folder: Path,
    folder: Path,
    *,
    settings: Settings,
    version: int,
    top_k: int,
) -> str:
    """Write the artifact that a model deployment serves into ``folder``; equal input gives equal bytes.

    Args:
        results_folder: the operator's ``recommendations.csv``, and ``new_users.csv`` if it wrote one.
        extract_folder: the ``users.parquet``, ``items.parquet`` and ``interactions.parquet`` of the training.
        folder: empty, or created here.
        settings: name the project, the columns and the conda environment.
        version: of the model.
        top_k: length of a list if the request has none.

    Returns:
        The digest: sha256 of ``manifest.json``.

    Raises:
        TrainingFailedError: the operator's files are missing, or cannot be served.
        StorageError: ``folder`` is not empty.
    """
    from recdeploy_ops.artifacts import recommendation_database  # pyarrow: only building needs it

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StorageError(f"{folder} is not empty: an artifact is built in a new folder.")
    shutil.copyfile(TEMPLATE / "score.py", folder / "score.py")
    (folder / RUNTIME).write_text(_describe_runtime(settings), encoding="utf-8")
    readme = _filled("README.md", {"project": settings.project_name, "version": str(version)})
    (folder / "README.md").write_text(readme, encoding="utf-8")
    popular = recommendation_database.write_lists(results_folder, extract_folder, folder / DATABASE, settings.source)
    fallback, origin = recommendation_database.choose_new_user_list(
        results_folder, settings.source, top_k, popular=lambda: popular, extract_folder=extract_folder
    )
    write_fallback(folder, fallback)
    facts = {
        "format": FORMAT,
        "project": settings.project_name,
        "version": version,
        "top_k": top_k,
        "fallback": origin,
    }
    return write_manifest(folder, facts)


def has_own_runtime(folder: Path, settings: Settings) -> bool:
    """Return whether an artifact asks OCI for the conda environment of the settings, and for nothing else.

    ``score.py`` runs in that environment: one that somebody else made can replace any module.
    """
    expected = _describe_runtime(settings).encode()
    path = folder / RUNTIME
    return path.is_file() and path.stat().st_size == len(expected) and path.read_bytes() == expected


def write_fallback(folder: Path, ranking: Ranking) -> None:
    """Write ``new_user_fallback.pkl``: a list of ``[product_id, rating]``, best first."""
    rows = [[item, rating] for item, rating in ranking]
    (folder / FALLBACK).write_bytes(pickle.dumps(rows, protocol=PICKLE_PROTOCOL))


def _describe_runtime(settings: Settings) -> str:
    environment = settings.serving.conda_environment.model_dump()
    return _filled(RUNTIME, {name: json.dumps(value) for name, value in environment.items()})


def _filled(name: str, values: dict[str, str]) -> str:
    return Template((TEMPLATE / name).read_text(encoding="utf-8")).substitute(values)
