"""One training: inputs, the operator's configuration, the process, its outputs."""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from recdeploy_ops.domain.new_users import POPULARITY, choose_new_users
from recdeploy_ops.domain.recipes import RECIPES
from recdeploy_ops.training.inputs import prepare_inputs
from recdeploy_ops.training.outputs import read_measures, verify_new_users, verify_outputs
from recdeploy_ops.training.popular_items import write_popular_items
from recdeploy_ops.training.processes import run_process
from recdeploy_ops.training.recommendations import NEW_USERS, RECOMMENDATIONS
from recdeploy_ops.training.reports import write_new_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.new_users import NewUserList
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.inputs import Inputs
    from recdeploy_ops.training.processes import StopSignal

OPERATOR = Path(__file__).parents[3] / "include" / "training" / "run_operator.py"
PARTIAL = ".partial"
CONFIG = "recommender.yaml"
OUTPUTS = "outputs"
RESULTS = (RECOMMENDATIONS, "report.html", "metrics.json", CONFIG, NEW_USERS)
# Passed on from the environment, without Airflow's connections and keys.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
# Kept between runs: compiled code, and matplotlib's list of fonts.
CACHES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
# One thread in libraries: the order of a summation is part of the result, and the exact engine has its own threads.
# Unbuffered: errors and other lines stay in order.
FIXED = {
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}


def train(
    extract_folder: Path,
    output_folder: Path,
    settings: Settings,
    *,
    top_k: int,
    seed: int,
    report: Callable[[str], None],
    stop: StopSignal | None = None,
) -> dict[str, Any]:
    """Train on an extract with the ADS recommender operator; equal rows and seed give equal bytes.

    Args:
        extract_folder: has ``interactions.parquet``, ``users.parquet`` and ``items.parquet``.
        output_folder: gets ``recommendations.csv``, ``report.html``, ``metrics.json``, the operator's
            ``recommender.yaml`` and, if there is such a list, ``new_users.csv``; all or none.
        settings: names the columns, the engine, its hyper-parameters and the timeout.
        top_k: recommendations per user.
        seed: of all random numbers.
        report: called with each line of the operator's output and of progress.
        stop: ends the training when it is set.

    Returns:
        The content of ``metrics.json``: what the recipe measures, ``users``, ``items``, ``interactions``, ``dropped``
        (rows left out, by reason), ``users_without_list``, ``recommendations`` (rows), ``top_k``, ``seed``, ``recipe``,
        ``engine`` (of svd), ``new_users`` (a `NewUserList`) and ``seconds``. A recipe that predicts ratings measures
        ``rmse`` and ``mae`` on the fifth of the interactions that ADS holds out, and their ``variance``; EASE its
        ``regularization`` and how it was chosen.

    Raises:
        SourceDataError: the data cannot be trained on.
        TrainingFailedError: the operator failed, was stopped, took too long, or left outputs that are
            missing, empty or not numbers.
    """
    started = time.monotonic()
    work = output_folder / PARTIAL
    shutil.rmtree(work, ignore_errors=True)
    (work / OUTPUTS).mkdir(parents=True)
    for name in RESULTS:
        (output_folder / name).unlink(missing_ok=True)
    try:
        inputs = prepare_inputs(extract_folder, work, settings.source, report)
        _write_config(work / CONFIG, settings, top_k)
        last_lines = run_process(
            [sys.executable, "-P", "-X", "utf8", str(OPERATOR), CONFIG, *_arguments(settings, seed)],
            name="The ADS operator",
            folder=work,
            environment=training_environment(work),
            timeout_seconds=settings.training.timeout_minutes * 60,
            report=report,
            stop=stop,
        )
        metrics = _verified(work, inputs, settings, last_lines, report)
        new_users = choose_new_users(
            settings.training.new_users,
            RECIPES[settings.training.recipe],
            metrics.pop("new_users", _unmeasured(settings)),
        )
        metrics |= {"top_k": top_k, "seed": seed, "recipe": settings.training.recipe}
        metrics |= {name: value for name, value in settings.model.items() if name == "engine"}
        metrics |= {"new_users": new_users.to_plain()}
        metrics |= {"seconds": round(time.monotonic() - started, 1)}
        _complete_new_users(work / OUTPUTS, new_users, settings, inputs, top_k, last_lines, report)
        _write_results(work, metrics)
        for name in RESULTS:
            if (work / OUTPUTS / name).exists():
                (work / OUTPUTS / name).replace(output_folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return metrics


def _write_config(path: Path, settings: Settings, top_k: int) -> None:
    """Write the operator's configuration, with relative paths, so that it is the same on every machine."""
    spec = {
        "user_data": {"url": "users.parquet"},
        "item_data": {"url": "items.parquet"},
        "interactions_data": {"url": "interactions.parquet"},
        "output_directory": {"url": OUTPUTS},
        "top_k": top_k,
        "user_column": settings.source.user_column,
        "item_column": settings.source.item_column,
        "interaction_column": settings.source.rating_column,
        "generate_report": True,
    }
    config = {"kind": "operator", "type": "recommender", "version": "v1", "spec": spec}
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _arguments(settings: Settings, seed: int) -> list[str]:
    """Return the operator's arguments, with the settings of the model, which ADS's configuration does not have."""
    arguments = ["--seed", str(seed)]
    compares = _unmeasured(settings) is None and RECIPES[settings.training.recipe].predicts_ratings
    for name, value in {**settings.model, "compare_new_users": compares}.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            arguments += [option] if value else []
        else:
            arguments += [option, str(value)]
    return [*arguments, "--end-with-parent"]


def _unmeasured(settings: Settings) -> dict[str, str] | None:
    """Return why both lists for new users are not compared; None if they are."""
    if settings.training.new_users == POPULARITY:
        return {"why": "training.new_users names the list"}
    if settings.training.engine == "stock":
        return {"why": "the engine stock trains ADS's own model only; training.engine exact compares them"}
    return None


def training_environment(work: Path) -> dict[str, str]:
    """Return the whole environment of a process that trains.

    Args:
        work: the folder in which it runs and may write.
    """
    # scikit-surprise, ADS and matplotlib write below HOME and the temporary folder.
    scratch = {"HOME": str(work), "TMPDIR": str(work), "PYTHONUSERBASE": site.getuserbase()}
    caches = {name: str(_cache_folder(work) / kind) for name, kind in CACHES.items()}
    passed_on = {name: os.environ[name] for name in (*PASSED_ON, *CACHES) if name in os.environ}
    return {**caches, **passed_on, **FIXED, **scratch}


def _cache_folder(work: Path) -> Path:
    """Return a folder that outlives this run, or the run's own if that is not writable."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recdeploy"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: without a home
        return work
    return folder


def _verified(
    work: Path, inputs: Inputs, settings: Settings, last_lines: list[str], report: Callable[[str], None]
) -> dict[str, Any]:
    measures = read_measures(work, last_lines, RECIPES[settings.training.recipe])
    counts = verify_outputs(work / OUTPUTS, inputs, settings.source, last_lines)
    if missing := len(inputs.users) - counts.users:
        report(f"{missing:,} users get no list: they have rated every item of the catalogue.")
    return {
        **measures,
        "users": len(inputs.users),
        "items": len(inputs.items),
        "interactions": inputs.interactions,
        "dropped": dict(inputs.dropped),
        "users_without_list": missing,
        "recommendations": counts.rows,
    }


def _complete_new_users(
    outputs: Path,
    new_users: NewUserList,
    settings: Settings,
    inputs: Inputs,
    top_k: int,
    last_lines: list[str],
    report: Callable[[str], None],
) -> None:
    """Verify the list for new users, or read it from the report, which is where the stock engine writes it.

    If new users get the most popular items, these replace the list of a recipe that predicts ratings. Other recipes
    list them anyway.
    """
    for sentence in new_users.describe():
        report(sentence)
    if new_users.kind == POPULARITY and RECIPES[settings.training.recipe].predicts_ratings:
        write_popular_items(
            outputs.parent / "interactions.parquet", outputs / NEW_USERS, inputs, settings.source, top_k
        )
    rows = verify_new_users(outputs, inputs, settings.source, top_k, last_lines)
    if rows is None:
        write_new_users(outputs / "report.html", outputs / NEW_USERS, inputs, settings.source, top_k, report)
    else:
        report(f"{NEW_USERS} has {rows} recommendations for new users.")


def _write_results(work: Path, metrics: dict[str, Any]) -> None:
    outputs = work / OUTPUTS
    (outputs / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shutil.copyfile(work / CONFIG, outputs / CONFIG)
