"""The guide's module: ``from recommender_deployment_manager import RecommenderDeploymentManager, print_backups``.

It finds the product in the project of this file or, if the file was copied to ``/home/datascience`` as the guide says,
in the folder ``recdeploy`` beside it or the one that ``RECDEPLOY_HOME`` names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOMES = (Path(os.environ.get("RECDEPLOY_HOME") or HERE.parents[1]), HERE.parents[1], HERE / "recdeploy")


def _find_product() -> None:
    """Put the product's folder on the path, unless it is installed."""
    if importlib.util.find_spec("recdeploy_ops"):
        return
    for home in HOMES:
        if (home / "plugins" / "recdeploy_ops").is_dir():
            sys.path.append(str(home / "plugins"))
            return
    raise ImportError(
        f"The project recdeploy is not at {' or '.join(map(str, dict.fromkeys(HOMES)))}. Put the whole project there, "
        "or let the environment variable RECDEPLOY_HOME name its folder."
    )


_find_product()

from recdeploy_ops.deployment_manager import (  # noqa: E402 - found by the lines above
    CellOrderError,
    ModelDeployment,
    RecommenderDeploymentManager,
    print_backups,
)

__all__ = ["CellOrderError", "ModelDeployment", "RecommenderDeploymentManager", "print_backups"]
