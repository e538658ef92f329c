"""Thresholds that the settings may not have, and what numbers without a value are judged to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.domain.gates.behaviour import ListThresholds
from recdeploy_ops.domain.gates.bounds import Least, Most, judge, with_advice
from recdeploy_ops.domain.gates.newest import NewestThresholds
from recdeploy_ops.domain.gates.quality import QualityThresholds
from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.training import TrainingThresholds
from recdeploy_ops.domain.gates.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("thresholds", "changes", "words"),
    [
        (Most, {"hold": 0.2, "fail": 0.1}, "fail must be at least hold, which is 0.2"),
        (Most, {"hold": math.nan}, "a finite number"),
        (Most, {"hold": 0.1, "fail": math.inf}, "a finite number"),
        (Least, {"hold": 0.2, "fail": 0.3}, "fail must be at most hold, which is 0.2"),
        (Least, {"hold": -0.1}, "a finite number, 0 or more"),
        (ListThresholds, {"strangers_slack": 1.1}, "strangers_slack and least_floor must be between 0 and 1"),
        (ListThresholds, {"least_floor": math.nan}, "strangers_slack and least_floor must be between 0 and 1"),
        (ListThresholds, {"fewest_users": 0}, "fewest_users and fewest_in_slice must be at least 1"),
        (ListThresholds, {"fewest_in_slice": -1}, "fewest_users and fewest_in_slice must be at least 1"),
        (NewestThresholds, {"fewest_windows": 9}, "fewest_windows must be between 1 and windows"),
        (NewestThresholds, {"windows": 105}, "windows at most 104"),
        (NewestThresholds, {"volume_factor": math.inf}, "volume_factor and fewest_pairs must be at least 1"),
        (NewestThresholds, {"fewest_pairs": 0}, "volume_factor and fewest_pairs must be at least 1"),
        (NewestThresholds, {"unknown_items": 1.5}, "a share must be between 0 and 1"),
        (NewestThresholds, {"item_factor": 0.5}, "a factor must be at least 1"),
        (QualityThresholds, {"margin": 0}, "margin must be between 0 and 1"),
        (QualityThresholds, {"held_out_share": 0.6}, "held_out_share between 0 and 0.5"),
        (QualityThresholds, {"seeds": 1}, "seeds must be between 2 and 50"),
        (QualityThresholds, {"depth": 0}, "a number of users, hits or items must be at least 1"),
        (QualityThresholds, {"fewest_interactions": 1}, "fewest_interactions at least 2"),
        (QualityThresholds, {"held_out_share": 0.05}, "nothing is held out"),
        (QualityThresholds, {"most_users": 199}, "most_users must be at least fewest_users, which is 200"),
        (TrainingThresholds, {"explains": 1.1}, "explains must be between 0 and 1"),
    ],
)
def test_thresholds_that_contradict_each_other_are_refused(
    thresholds: Callable[..., object], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        thresholds(**changes)


@pytest.mark.parametrize(
    ("value", "verdict", "message"),
    [
        (0.05, Verdict.PASS, "0.05 is lost."),
        (0.15, Verdict.HOLD, "0.15 is lost: look."),
        (0.3, Verdict.FAIL, "0.3 is lost: look."),
        (math.nan, Verdict.HOLD, "nan is lost: this cannot be judged."),
    ],
)
def test_a_number_that_cannot_be_judged_is_held(value: float, verdict: Verdict, message: str) -> None:
    bound = Most(0.1, 0.2)
    seen = with_advice(f"{value:g} is lost", value, bound, "look")
    finding = judge("loss", value, bound, seen, count=7, scale=Scale.NUMBER)
    assert (finding.verdict, finding.message, finding.users) == (verdict, message, 7)
    assert finding.value == (None if math.isnan(value) else value)
    assert finding.threshold == "HOLD > 0.1, FAIL > 0.2"
