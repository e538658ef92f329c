"""The training step: what it records, and when it uses earlier results again."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from recdeploy_ops.domain.events import ModelTrained
from recdeploy_ops.steps import run_ads_operator
from recdeploy_ops.training import runs

# Recommends what a user has not rated, and writes a line each time it runs.
OPERATOR = """
    import json, pathlib
    import pyarrow.parquet as pq

    read = lambda name: pq.read_table(f"{name}.parquet").to_pydict()
    users, items = read("users")["user_id"], read("items")["product_id"]
    rated = set(zip(*(read("interactions")[column] for column in ("user_id", "product_id"))))
    import csv
    with open("outputs/recommendations.csv", "w", newline="", encoding="utf-8") as stream:
        rows = [(user, item, 4.5) for user in users for item in items if (user, item) not in rated]
        csv.writer(stream).writerows([("user_id", "product_id", "rating"), *rows])
    pathlib.Path("outputs/report.html").write_text("<html/>")
    pathlib.Path("measures.json").write_text(json.dumps({"rmse": 0.9, "mae": 0.7, "variance": 1.2, "finite": True}))
    with open(%r, "a") as stream:
        stream.write("run\\n")
"""


@pytest.fixture
def count(tmp_path, monkeypatch):
    """Returns how often the operator has run."""
    log = tmp_path / "runs.txt"
    operator = tmp_path / "operator.py"
    operator.write_text(textwrap.dedent(OPERATOR) % str(log), encoding="utf-8")
    monkeypatch.setattr(runs, "OPERATOR", operator)
    return lambda: log.read_text().count("run")


@pytest.fixture
def extracted(run):
    """A run whose data is extracted and checked."""
    extracted = run("run-1")
    extracted.plan()
    extracted.extract()
    return extracted


def with_training(context, **training):
    changed = context.settings.training.model_copy(update=training)
    return replace(context, settings=context.settings.model_copy(update={"training": changed}))


def test_the_engine_is_recorded_with_its_settings_and_equal_ones_are_not_trained_twice(extracted, count):
    context = extracted.context
    first = run_ads_operator.advance(context)

    assert context.release.require(ModelTrained).inputs["model"] == {
        "recipe": "svd",
        "engine": "exact",
        "refit": False,
        "factors": 100,
        "epochs": 20,
        "learning_rate": 0.005,
        "regularization": 0.02,
        "ensemble": 1,
    }
    assert run_ads_operator.advance(with_training(context, timeout_minutes=99)) == first
    assert count() == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": "stock"},
        {"refit": True},
        {"recipe": "ease"},
        {"factors": 50},
        {"learning_rate": 0.01},
        {"ensemble": 3},
    ],
)
def test_changed_settings_of_the_model_train_it_again(extracted, count, changed):
    run_ads_operator.advance(extracted.context)
    run_ads_operator.advance(with_training(extracted.context, **changed))

    assert count() == 2
    assert changed.items() <= extracted.context.release.require(ModelTrained).inputs["model"].items()
