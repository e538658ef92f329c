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
    from include.training.factors import Hyperparameters

HOME = Path(__file__).resolve().parents[2]
ENGINES = ("exact", "stock")


def main() -> None:
    """Parse the command line and run the operator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the operator's recommender.yaml; its paths start in the current folder")
    parser.add_argument("--seed", type=int, required=True, help="the same data and seed give the same bytes")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="stock: ADS's own; exact: the same bytes")
    parser.add_argument("--factors", type=int, default=100, help="per user and per item")
    parser.add_argument("--epochs", type=int, default=20, help="how often SGD goes over the ratings")
    parser.add_argument("--learning-rate", type=float, default=0.005, help="of SGD")
    parser.add_argument("--regularization", type=float, default=0.02, help="of SGD")
    parser.add_argument("--refit", action="store_true", help="train on all ratings once the metrics are measured")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    if arguments.refit and arguments.engine == "stock":
        parser.error("--refit needs --engine exact: the stock model is never trained on all ratings")
    if arguments.end_with_parent:
        end_with_parent()
    sys.path.append(str(HOME))
    from include.training.factors import Hyperparameters

    parameters = Hyperparameters(arguments.factors, arguments.epochs, arguments.learning_rate, arguments.regularization)
    run_operator(arguments.config, arguments.seed, arguments.engine, parameters, refit=arguments.refit)


def run_operator(config_file: str, seed: int, engine: str, parameters: Hyperparameters, *, refit: bool) -> None:
    """Run the operator's own ``operate`` and write its metrics to ``measures.json``.

    Args:
        config_file: path of the operator's configuration.
        seed: of Python's and numpy's random numbers, from which scikit-surprise draws.
        engine: ``stock`` for ADS's own model, ``exact`` for the same result from arrays.
        parameters: of the SGD.
        refit: whether to train on all ratings once the metrics are measured.

    Raises:
        SystemExit: the data do not fit into memory.
    """
    started = time.monotonic()
    # Importing creates millions of objects that stay: collecting garbage among them takes a fifth of the time.
    gc.disable()
    from include.training.models import ExactModel, StockModel, registered  # first, see there

    from ads.opctl.operator.lowcode.recommender.__main__ import operate  # isort: skip
    from ads.opctl.operator.lowcode.recommender.operator_config import RecommenderOperatorConfig  # isort: skip
    from include.training.progress import tell
    from include.training.tables import preload_interactions

    gc.enable()
    gc.freeze()
    config = RecommenderOperatorConfig.from_yaml(uri=config_file)
    tell(
        f"ADS is loaded ({time.monotonic() - started:.1f} s, {time.process_time():.1f} s of CPU since the start); "
        f"training with the seed {seed}, engine {engine}"
    )
    _require_memory(config.spec, engine, parameters.factors)
    _seed(seed)
    if engine == "stock":
        with registered(StockModel, parameters):
            operate(config)
    else:
        preload_interactions(config.spec)
        with registered(ExactModel, parameters, refit=refit):
            operate(config)
    tell(f"The operator has ended after {time.monotonic() - started:.1f} s")


def _require_memory(spec: Any, engine: str, factors: int) -> None:
    from include.training.memory import TooLargeError, require_memory
    from include.training.progress import tell
    from include.training.tables import size_of

    size = size_of(spec, factors)
    if size is None:
        return
    try:
        tell(require_memory(size, engine))
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
