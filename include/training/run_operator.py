"""Run ADS's recommender operator on a configuration file, seeded.

Started by ``recdeploy_ops.training`` in a process of its own, because the operator redirects standard output for
good, draws from the global random numbers, and hides errors of writing. By hand::

    cd folder/with/the/inputs && python include/training/run_operator.py recommender.yaml --seed 42
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = Path(__file__).resolve().parents[2]
RECIPES = ("svd", "ease", "als")
ENGINES = ("exact", "stock")


def main() -> None:
    """Parse the command line and run the operator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the operator's recommender.yaml; its paths start in the current folder")
    parser.add_argument("--seed", type=int, required=True, help="the same data and seed give the same bytes")
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="svd: ADS's own")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="of svd: ADS's own, or the same bytes")
    parser.add_argument("--factors", type=int, help="per user and per item, of svd and als")
    parser.add_argument("--epochs", type=int, help="how often svd or als goes over the ratings")
    parser.add_argument("--learning-rate", type=float, help="of svd")
    parser.add_argument("--regularization", type=float, help="of svd and als; ease chooses its own")
    parser.add_argument("--weight", type=float, help="of als: confidence of one interaction")
    parser.add_argument("--implicit", action="store_true", help="ratings are counts of purchases, for ease and als")
    parser.add_argument("--refit", action="store_true", help="train on all ratings once the metrics are measured")
    parser.add_argument("--ensemble", type=int, default=1, help="of svd: number of models to average")
    parser.add_argument(
        "--compare-new-users", action="store_true", help="of svd: compare its list for new users with popular items"
    )
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    if arguments.refit and arguments.engine == "stock":
        parser.error("--refit needs --engine exact: the stock model is never trained on all ratings")
    if arguments.ensemble > 1 and (arguments.engine == "stock" or arguments.recipe != "svd"):
        parser.error("--ensemble needs --recipe svd and --engine exact: ADS's own model is one")
    if arguments.implicit and arguments.recipe == "svd":
        parser.error("--implicit needs --recipe ease or als: svd predicts ratings")
    if arguments.end_with_parent:
        end_with_parent()
    sys.path.append(str(HOME))
    run_operator(arguments.config, arguments.seed, vars(arguments))


def run_operator(config_file: str, seed: int, model: Mapping[str, Any]) -> None:
    """Run the operator's own ``operate`` and write its metrics to ``measures.json``.

    Args:
        config_file: path of the operator's configuration.
        seed: of Python's and numpy's random numbers, from which scikit-surprise and ALS draw.
        model: the recipe and its settings, by the names of the command line.

    Raises:
        SystemExit: the data do not fit into memory.
    """
    started = time.monotonic()
    # Importing creates millions of objects that stay: collecting garbage among them takes a fifth of the time.
    gc.disable()
    from include.training.models import registered  # first, see there

    from ads.opctl.operator.lowcode.recommender.__main__ import operate  # isort: skip
    from ads.opctl.operator.lowcode.recommender.operator_config import RecommenderOperatorConfig  # isort: skip
    from include.training.progress import tell
    from include.training.tables import preload_interactions

    gc.enable()
    gc.freeze()
    config = RecommenderOperatorConfig.from_yaml(uri=config_file)
    recipe = model["recipe"]
    tell(
        f"ADS is loaded ({time.monotonic() - started:.1f} s, {time.process_time():.1f} s of CPU since the start); "
        f"training with the seed {seed}, recipe {recipe}" + (f", engine {model['engine']}" if recipe == "svd" else "")
    )
    registration = _choose_model(config.spec, model, seed)
    _seed(seed)
    if model["engine"] == "exact":
        preload_interactions(config.spec)
    with registered(**registration):
        operate(config)
    tell(f"The operator has ended after {time.monotonic() - started:.1f} s")


def _choose_model(spec: Any, model: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the arguments with which ADS's factory gets the model, once it is known to fit into memory."""
    from include.training.evidence_models import EvidenceModel
    from include.training.models import ExactModel, StockModel
    from include.training.recipes import SvdTrainer, trainer_of

    trainer, recipe = trainer_of(model), model["recipe"]
    _require_memory(spec, model["engine"] if recipe == "svd" else recipe, trainer.factors)
    if not isinstance(trainer, SvdTrainer):
        return {"model": EvidenceModel, "name": recipe, "recipe": recipe, "trainer": trainer}
    if model["engine"] == "stock":
        return {"model": StockModel, "parameters": trainer.parameters}
    settings = trainer.recipe
    return {
        "model": ExactModel,
        "parameters": settings.parameters,
        "refit": settings.refit,
        "fit": settings.fit,
        "ensemble": settings.ensemble,
        "new_users_seed": seed if model.get("compare_new_users") else None,
    }


def _require_memory(spec: Any, kind: str, factors: int) -> None:
    from include.training.memory import TooLargeError, require_memory
    from include.training.progress import tell
    from include.training.tables import size_of

    size = size_of(spec, factors)
    if size is None:
        return
    try:
        tell(require_memory(size, kind))
    except TooLargeError as err:
        sys.exit(str(err))


def _seed(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)


def end_with_parent() -> None:
    """From now on kill this process group when the parent has ended in any way, which closes its end of the pipe."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
