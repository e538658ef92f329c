"""Runs ADS's operator in this process: the stock one, or with a model of ours in its factory."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.io
from surprise import SVD

from include.training.tables import preload_interactions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ADS, at import
    from include.training import models  # isort: skip - must come first, see there
    from ads.opctl.operator.lowcode.recommender.__main__ import operate
    from ads.opctl.operator.lowcode.recommender.model.factory import SVDOperatorModel
    from ads.opctl.operator.lowcode.recommender.operator_config import RecommenderOperatorConfig
logging.captureWarnings(capture=False)  # ADS enables it

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.edge_cases import Data

STOCK = SVDOperatorModel


def build(model: Any, data: Data, **options: Any) -> tuple[pd.DataFrame, dict[str, float], list[tuple[Any, Any]]]:
    """Call the model class directly; return recommendations, metrics, and the list for new users."""
    spec = SimpleNamespace(
        user_column="user",
        item_column="item",
        interaction_column="rating",
        top_k=data.top_k,
        interactions_data=SimpleNamespace(data=None),
        generate_report=True,
    )
    tables = SimpleNamespace(
        interactions=data.interactions.copy(),
        users=pd.DataFrame({"user": data.users}),
        items=pd.DataFrame({"item": data.items}),
    )
    if model is not STOCK:
        options["parameters"] = data.parameters
    built = model(SimpleNamespace(spec=spec), tables, **options)
    if model is STOCK:
        built.algo = SVD(**data.parameters.for_surprise())
    np.random.seed(data.seed)
    frame, metrics = built._build_model()
    return getattr(built, "_recommendations", frame), metrics, built._get_recommendations("__new_user__", data.top_k)


def run(model: Any, data: Data, folder: Path, file_type: str = "parquet", **options: Any) -> Path:
    """Run the whole operator in a new folder; return the folder of its outputs.

    Args:
        model: ADS's own model, or its replacement in the factory.
        data: the input.
        folder: the folder to create.
        file_type: ``parquet`` or ``csv``.
        options: ``generate_report``; all others are passed to the model.
    """
    folder.mkdir()
    tables = {
        "interactions": data.interactions,
        "users": pd.DataFrame({"user": data.users}),
        "items": pd.DataFrame({"item": data.items}),
    }
    for name, table in tables.items():
        write = table.to_parquet if file_type == "parquet" else table.to_csv
        write(folder / f"{name}.{file_type}", index=False)
    (folder / "outputs").mkdir()
    spec = {
        "user_data": {"url": f"users.{file_type}"},
        "item_data": {"url": f"items.{file_type}"},
        "interactions_data": {"url": f"interactions.{file_type}"},
        "output_directory": {"url": "outputs"},
        "top_k": data.top_k,
        "user_column": "user",
        "item_column": "item",
        "interaction_column": "rating",
        "generate_report": options.pop("generate_report", True),
    }
    config = RecommenderOperatorConfig.from_dict(
        {"kind": "operator", "type": "recommender", "version": "v1", "spec": spec}
    )
    registered = contextlib.nullcontext() if model is STOCK else models.registered(model, data.parameters, **options)
    plotly.io.templates.default = "plotly"  # as in a new process: the first report changes it
    with contextlib.chdir(folder), models.stdout_restored(), registered:
        if model is models.ExactModel:
            preload_interactions(config.spec)
        np.random.seed(data.seed)
        operate(config)
    return folder / "outputs"


def read_report(outputs: Path) -> str:
    """Return the report without what differs in each run: random ids and durations."""
    page = (outputs / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(drawn)", page)
    page = re.sub(r"T_[0-9a-f]{5}", "(drawn)", page)
    return re.sub(r"[\d.]+ secs", "(seconds)", page)
