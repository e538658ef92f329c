"""The models that the gates compare with, trained in a process of their own."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training.inputs import prepare_inputs
from recdeploy_ops.training.processes import quoted, run_process
from recdeploy_ops.training.runs import OPERATOR, training_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.inputs import Inputs
    from recdeploy_ops.training.processes import StopSignal

SCRIPT = OPERATOR.with_name("run_gate_models.py")
JOB = "job.json"
HELD_OUT = "held_out.parquet"
MEASURES = "gate_models.json"


@dataclass(frozen=True)
class Side:
    """The rows and the recipe of the candidate or of the champion.

    Attributes:
        extract: folder of the extract.
        recipe: the settings of its model, as a model's ``inputs`` have them under ``model``: ``recipe`` and what
            `Recipe.settings` names; the engine does not matter. Without ``recipe`` it is ADS's.
    """

    extract: Path
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class GateModel:
    """One training.

    Attributes:
        name: of the model.
        side: whose rows and recipe it has.
        seed: of its random numbers.
        depth: length of a list.
        is_backtest: whether the held-out interactions are left out, and only their users get lists.
    """

    name: str
    side: str
    seed: int
    depth: int
    is_backtest: bool


@dataclass(frozen=True)
class TrainedModels:
    """What the trainings gave.

    Attributes:
        inputs: the operator's inputs of each side.
        lists: by model: positions in the items of the side's inputs, int32 of shape (users, depth), -1 where a list is
            shorter. The users are those of the inputs or, of a backtest, the held-out ones.
        measures: by model: what its recipe measures.
    """

    inputs: Mapping[str, Inputs]
    lists: Mapping[str, NDArray[np.int32]]
    measures: Mapping[str, Mapping[str, Any]]


def train_gate_models(
    work: Path,
    sides: Mapping[str, Side],
    models: Sequence[GateModel],
    held_out: Sequence[tuple[str, str]],
    *,
    settings: Settings,
    report: Callable[[str], None],
    purpose: str = "for the gates",
    stop: StopSignal | None = None,
) -> TrainedModels:
    """Train models in one process: equal rows, recipe and seed give the lists that the operator would write.

    Args:
        work: an empty folder.
        sides: by name.
        models: to train.
        held_out: the pairs of user and item that backtests leave out.
        settings: names the columns and the timeout.
        report: called with each line of progress.
        purpose: of the models, in these lines.
        stop: ends the training when it is set.

    Raises:
        SourceDataError: the data cannot be trained on.
        TrainingFailedError: the process failed, was stopped, took too long, or left no lists.
    """
    inputs = {}
    for name, side in sides.items():
        (work / name).mkdir(parents=True)
        inputs[name] = prepare_inputs(side.extract, work / name, settings.source, report)
    users, items = (pa.array([pair[part] for pair in held_out], pa.string()) for part in range(2))
    columns = {settings.source.user_column: users, settings.source.item_column: items}
    pq.write_table(pa.table(columns), work / HELD_OUT)
    (work / JOB).write_text(json.dumps(_describe_job(sides, models, settings, purpose)), encoding="utf-8")
    last_lines = run_process(
        [sys.executable, "-P", "-X", "utf8", str(SCRIPT), JOB, "--end-with-parent"],
        name=f"The training of the models {purpose}",
        folder=work,
        environment=training_environment(work),
        timeout_seconds=settings.training.timeout_minutes * 60 * len(models),
        report=report,
        stop=stop,
    )
    try:
        lists = {model.name: np.load(work / f"{model.name}.npy", allow_pickle=False) for model in models}
        measures = json.loads((work / MEASURES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise TrainingFailedError(
            f"The training of the models {purpose} left no lists ({err}). {quoted(last_lines)}"
        ) from err
    return TrainedModels(inputs, lists, measures)


def _describe_job(
    sides: Mapping[str, Side], models: Sequence[GateModel], settings: Settings, purpose: str
) -> dict[str, Any]:
    source = settings.source
    return {
        "columns": {"user": source.user_column, "item": source.item_column, "rating": source.rating_column},
        "sides": {name: dict(side.recipe) for name, side in sides.items()},
        "purpose": purpose,
        "models": [asdict(model) for model in models],
    }
