"""The guide's helper: the list for new users, from the operator's report or from the most recommended products.

`RecommenderDeploymentManager.build_artifact` does this by itself; this is for artifacts that are built by hand.
``score.py`` returns the list to users who are not in the model.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import recommender_deployment_manager  # noqa: F401 - puts the product on the path

from recdeploy_ops.artifacts.artifact import FALLBACK, write_fallback  # isort: skip
from recdeploy_ops.deployment_manager.own_recommendations import read_new_user_list, read_recommendations  # isort: skip
from recdeploy_ops.storage.bundles import MANIFEST, write_manifest  # isort: skip
from recdeploy_ops.artifacts.recommendation_database import choose_new_user_list, count_popularity  # isort: skip
from recdeploy_ops.settings import load_settings  # isort: skip
from recdeploy_ops.training.recommendations import NEW_USERS, RECOMMENDATIONS  # isort: skip

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FALLBACK", "build_and_save_new_user_fallback", "build_new_user_fallback"]

Ranking = list[tuple[str, float]]


def build_new_user_fallback(
    results_dir: str | Path,
    top_k: int | None = None,
    *,
    recommendations_df: DataFrame | None = None,
    new_user_csv_path: str | Path | None = None,
) -> tuple[Ranking, str]:
    """Return products and ratings for new users, best first, and where they come from.

    If the operator's report had no list, these are the products that are recommended most often. They may be fewer
    than ``top_k``: only `build_artifact` fills up the list with other rated products, from the extract.

    Args:
        results_dir: with ``recommendations.csv`` and, if the operator's report had the list, ``new_users.csv``.
        top_k: length of the list; by default the settings'.
        recommendations_df: the recommendations, in place of those in ``results_dir``.
        new_user_csv_path: the list for new users, in place of the one in ``results_dir``.

    Raises:
        SettingsError: what is given instead of a file lacks a column, or has a value that cannot be used.
        TrainingFailedError: the same of a file in ``results_dir``.
    """
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        own, lists = Path(results_dir), Path(results_dir)
        if recommendations_df is not None:
            own = lists = Path(scratch)
            read_recommendations(recommendations_df, settings.source).to_csv(lists / RECOMMENDATIONS, index=False)
        if new_user_csv_path is not None:
            own = Path(scratch)
            read_new_user_list(new_user_csv_path, settings.source).to_csv(own / NEW_USERS, index=False)
        return choose_new_user_list(
            own,
            settings.source,
            top_k or settings.training.top_k,
            popular=lambda: count_popularity(lists, settings.source),
            extract_folder=None,
        )


def build_and_save_new_user_fallback(
    results_dir: str | Path,
    artifact_dir: str | Path,
    recommendations_df: DataFrame | None = None,
    new_user_csv_path: str | Path | None = None,
    *,
    top_k: int | None = None,
) -> Ranking:
    """Write ``new_user_fallback.pkl`` into an artifact, update its manifest, and return the list.

    Takes the arguments of `build_new_user_fallback`.
    """
    ranking, origin = build_new_user_fallback(
        results_dir, top_k, recommendations_df=recommendations_df, new_user_csv_path=new_user_csv_path
    )
    folder = Path(artifact_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_fallback(folder, ranking)
    manifest = folder / MANIFEST
    if manifest.exists():
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        write_manifest(folder, {**{key: facts[key] for key in facts if key != "files"}, "fallback": origin})
    return ranking
