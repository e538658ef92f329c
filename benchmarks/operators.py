"""ADS's operator run inside this process: stock as it comes, or with a model of ours in its factory."""

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
    warnings.simplefilter("ignore")  # of its own, at import
    from include.training import models  # isort: skip - before what follows, see there
    from ads.opctl.operator.lowcode.recommender.__main__ import operate
    from ads.opctl.operator.lowcode.recommender.model.factory import SVDOperatorModel
    from ads.opctl.operator.lowcode.recommender.operator_config import RecommenderOperatorConfig
logging.captureWarnings(capture=False)  # ADS switches it on

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.edge_cases import Data

STOCK = SVDOperatorModel


def build(model: Any, data: Data, **options: Any) -> tuple[pd.DataFrame, dict[str, float], list[tuple[Any, Any]]]:
    """Call the model class itself: recommendations, metrics, and the list for new users."""
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
    made = model(SimpleNamespace(spec=spec), tables, **options)
    if model is STOCK:
        made.algo = SVD(**data.parameters.for_surprise())
    np.random.seed(data.seed)
    frame, metrics = made._build_model()
    return getattr(made, "_recommendations", frame), metrics, made._get_recommendations("__new_user__", data.top_k)


def run(model: Any, data: Data, folder: Path, file_type: str = "parquet", **options: Any) -> Path:
    """Run the whole operator in a folder of its own; return where its outputs are.

    Args:
        model: ADS's own, or what takes its place in the factory.
        data: what to train on.
        folder: is made.
        file_type: ``parquet`` or ``csv``.
        options: ``generate_report``; the rest goes to the model.
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
    made = contextlib.nullcontext() if model is STOCK else models.registered(model, data.parameters, **options)
    plotly.io.templates.default = "plotly"  # as in a process of its own: the first report changes it
    with contextlib.chdir(folder), models.stdout_restored(), made:
        if model is models.ExactModel:
            preload_interactions(config.spec)
        np.random.seed(data.seed)
        operate(config)
    return folder / "outputs"


def read_report(outputs: Path) -> str:
    """The report without what is different each time: drawn ids and the seconds that it took."""
    page = (outputs / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(drawn)", page)
    page = re.sub(r"T_[0-9a-f]{5}", "(drawn)", page)
    return re.sub(r"[\d.]+ secs", "(seconds)", page)
