"""The gate over training: does the model explain the ratings that were held out?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.gates.bounds import Most, Thresholds
from recdeploy_ops.domain.gates.scales import plain
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TrainingThresholds(Thresholds):
    """Bounds of the explained variance.

    Attributes:
        drop: how far it may be below the champion's.
        explains: the champion explains something above this: a candidate that then explains nothing fails.
    """

    drop: Most = Most(0.03)
    explains: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.explains <= 1:
            raise ValueError("explains must be between 0 and 1")


def explained_variance(metrics: Mapping[str, object]) -> float | None:
    """Return 1 - MSE / variance of the held-out ratings, of a training's ``metrics.json``; None if it is unknown.

    It has no unit, so a changed scale of the ratings does not hide in it. 0 is what their mean explains.
    """
    rmse, variance = metrics.get("rmse"), metrics.get("variance")
    if not isinstance(rmse, int | float) or not isinstance(variance, int | float) or not variance > 0:
        return None
    return 1 - rmse**2 / variance


def judge_training(
    own: float | None, champion: float | None, ratings: int, bounds: TrainingThresholds, *, why: str
) -> Finding:
    """Judge the explained variance. It says whether anything was learned, not how well items are ranked.

    Args:
        own: the candidate's; None if it is unknown.
        champion: the champion's; None if it is unknown.
        ratings: that were held out.
        bounds: of the settings.
        why: the reason if ``champion`` is None.
    """
    gate, unit = "explained_variance", "ratings"
    drop = bounds.drop.describe(plain)
    threshold = f"below the champion's: {drop}; FAIL if <= 0 where the champion's is > {bounds.explains:g}"
    if own is None or not math.isfinite(own):
        reason = "the error is unknown, or the held-out ratings are all equal"
        return Finding(
            gate, Verdict.HOLD, None, threshold, f"Not measured: {reason}.", ratings, unit, unmeasured=reason
        )
    message = f"The model explains {plain(own)} of the variance of the held-out ratings"
    if champion is None:
        message += f"; the champion's is unknown: {why}"
        return Finding(gate, Verdict.HOLD, own, threshold, message + ".", ratings, unit, unmeasured=why)
    message += f"; the champion's explained {plain(champion)}"
    if own <= 0 and champion > bounds.explains:
        message += ". It learned nothing: look at training.learning_rate, training.epochs and the scale of the ratings"
        return Finding(gate, Verdict.FAIL, own, threshold, message + ".", ratings, unit)
    verdict = bounds.drop.judge(champion - own)
    if verdict is not Verdict.PASS:
        message += ". It learned less: look at what changed in the settings of training and in the ratings"
    return Finding(gate, verdict, own, threshold, message + ".", ratings, unit)
