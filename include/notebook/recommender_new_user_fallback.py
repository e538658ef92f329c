"""The guide's helper: the list for new users, from the operator's report or from what is recommended most often.

`RecommenderDeploymentManager.build_artifact` does this by itself; this is for artifacts that are put together by hand.
``score.py`` returns the list when a user is not in the model.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import recommender_deployment_manager  # noqa: F401 - puts the product on the path

from recdeploy_ops.artifacts.artifact import FALLBACK, NEW_USERS, write_fallback  # isort: skip
from recdeploy_ops.storage.bundles import MANIFEST, write_manifest  # isort: skip
from recdeploy_ops.artifacts.recommendation_database import Popularity, rank_by_popularity  # isort: skip
from recdeploy_ops.training.recommendations import read_lists  # isort: skip
from recdeploy_ops.settings import load_settings  # isort: skip

__all__ = ["FALLBACK", "build_and_save_new_user_fallback", "build_new_user_fallback"]

Ranking = list[tuple[str, float]]


def build_new_user_fallback(results_dir: str | Path, top_k: int | None = None) -> tuple[Ranking, str]:
    """Return products and ratings for new users, best first, and where they come from.

    Args:
        results_dir: with ``recommendations.csv`` and, if the operator's report had the list, ``new_users.csv``.
        top_k: length of the list; by default the settings'.
    """
    settings = load_settings()
    wanted, source = top_k or settings.training.top_k, settings.source
    report = Path(results_dir) / NEW_USERS
    if report.exists():
        with report.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))[:wanted]
        return [(row[source.item_column], float(row[source.rating_column])) for row in rows], NEW_USERS
    vocabulary: dict[str, int] = {}
    ratings: dict[int, list[float]] = defaultdict(list)
    for lists in read_lists(Path(results_dir), source, vocabulary):
        for item, rating in zip(lists.items.tolist(), lists.ratings.tolist(), strict=True):
            ratings[item].append(rating)
    popular = [
        Popularity(item, len(ratings[number]), sum(ratings[number]) / len(ratings[number]))
        for item, number in vocabulary.items()
    ]
    return rank_by_popularity(popular, wanted), "popularity"


def build_and_save_new_user_fallback(
    results_dir: str | Path, artifact_dir: str | Path, top_k: int | None = None
) -> Ranking:
    """Write ``new_user_fallback.pkl`` into an artifact, bring its manifest in line, and return the list."""
    ranking, origin = build_new_user_fallback(results_dir, top_k)
    folder = Path(artifact_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_fallback(folder, ranking)
    manifest = folder / MANIFEST
    if manifest.exists():
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        write_manifest(folder, {**{key: facts[key] for key in facts if key != "files"}, "fallback": origin})
    return ranking
