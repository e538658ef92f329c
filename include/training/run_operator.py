"""Run ADS's recommender operator on a configuration file, seeded.

Started by ``recdeploy_ops.training`` in a process of its own, because the operator redirects standard output
for good, draws from the global random numbers, and hides when it could not write. By hand::

    cd folder/with/the/inputs && python include/training/run_operator.py recommender.yaml --seed 42
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

PROGRESS_SECONDS = 5.0
MEASURES = "measures.json"


def main() -> None:
    """Parse the command line and run the operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the operator's recommender.yaml; its paths start in the current folder")
    parser.add_argument("--seed", type=int, required=True, help="the same data and seed give the same bytes")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    if arguments.end_with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    run_operator(arguments.config, arguments.seed)


def run_operator(config_file: str, seed: int) -> None:
    """Run the operator's own ``operate`` and leave what it measured in ``measures.json``.

    Args:
        config_file: path of the operator's configuration.
        seed: of Python's and numpy's random numbers, from which scikit-surprise draws.
    """
    started = time.monotonic()
    # The factory first: the models and their base import each other.
    from ads.opctl.operator.lowcode.recommender.model import factory  # isort: skip
    from ads.opctl.operator.lowcode.recommender.__main__ import operate
    from ads.opctl.operator.lowcode.recommender.operator_config import RecommenderOperatorConfig

    model = watched(factory.SVDOperatorModel)
    factory.RecommenderOperatorModelFactory._MAP[factory.SupportedModels.SVD] = model
    config = RecommenderOperatorConfig.from_yaml(uri=config_file)
    tell(f"ADS is loaded ({time.monotonic() - started:.1f} s); training with the seed {seed}")
    _seed(seed)
    operate(config)
    tell(f"The operator has ended after {time.monotonic() - started:.1f} s")


def watched(stock: type[Any]) -> type[Any]:
    """Return a model class that computes what ``stock`` does, tells its progress and keeps its metrics."""

    class WatchedModel(stock):  # type: ignore[misc]  # ADS has no types
        """The stock model under observation."""

        def _build_model(self) -> tuple[Any, dict[str, float]]:
            self._scored = 0
            self._started = self._told = time.monotonic()
            tell(f"Fitting {len(self.interactions):,} interactions of {len(self.users):,} users")
            frame, metrics = super()._build_model()
            measures = {"rmse": float(metrics["RMSE"]), "mae": float(metrics["MAE"])}
            Path(MEASURES).write_text(json.dumps(measures), encoding="utf-8")
            tell(f"Scored all users: {len(frame):,} recommendations")
            return frame, metrics

        def _get_recommendations(self, user_id: str, n: int) -> list[tuple[str, float]]:
            found: list[tuple[str, float]] = super()._get_recommendations(user_id, n)
            self._count_user()
            return found

        def _count_user(self) -> None:
            now = time.monotonic()
            if not self._scored:
                self._started = now
            self._scored += 1
            if now - self._told >= PROGRESS_SECONDS:
                self._told = now
                total, done = len(self.users), self._scored
                rate = done / max(now - self._started, 1e-3)
                share, left = done / total, (total - done) / rate
                tell(f"Scored {done:,} of {total:,} users ({share:.0%}), {rate:,.0f}/s, {left:,.0f} s left")

    return WatchedModel


def tell(line: str) -> None:
    """Write a line of progress, also after ADS has redirected ``sys.stdout``."""
    print(line, file=sys.__stdout__, flush=True)


def _seed(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)


def _end_with_parent() -> None:
    """Kill this process group when the parent is gone, however it ended: its end of the pipe closes then."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
