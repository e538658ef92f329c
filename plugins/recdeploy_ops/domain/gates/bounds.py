"""The bounds of gates as the settings have them, and judging a number by them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar

from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Thresholds:
    """Base of the dataclasses whose fields are settings: pydantic refuses unknown names."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid"}


@dataclass(frozen=True)
class Most(Thresholds):
    """An upper bound.

    Attributes:
        hold: above it a person must look.
        fail: above it the candidate is rejected; None if it never is.
    """

    hold: float
    fail: float | None = None

    def __post_init__(self) -> None:
        _require_finite(self.hold, self.fail)
        if self.fail is not None and self.fail < self.hold:
            raise ValueError(f"fail must be at least hold, which is {self.hold:g}")

    def judge(self, value: float) -> Verdict:
        """Return the verdict on a number; NaN is a HOLD."""
        if self.fail is not None and value > self.fail:
            return Verdict.FAIL
        return Verdict.PASS if value <= self.hold else Verdict.HOLD

    def describe(self, show: Callable[[float], str]) -> str:
        """Return the bound as text, e.g. ``HOLD > 2 %, FAIL > 10 %``."""
        return f"HOLD > {show(self.hold)}" + (f", FAIL > {show(self.fail)}" if self.fail is not None else "")


@dataclass(frozen=True)
class Least(Thresholds):
    """A lower bound.

    Attributes:
        hold: below it a person must look.
        fail: below it the candidate is rejected; None if it never is.
    """

    hold: float
    fail: float | None = None

    def __post_init__(self) -> None:
        _require_finite(self.hold, self.fail)
        if self.fail is not None and self.fail > self.hold:
            raise ValueError(f"fail must be at most hold, which is {self.hold:g}")

    def judge(self, value: float) -> Verdict:
        """Return the verdict on a number; NaN is a HOLD."""
        if self.fail is not None and value < self.fail:
            return Verdict.FAIL
        return Verdict.PASS if value >= self.hold else Verdict.HOLD

    def describe(self, show: Callable[[float], str]) -> str:
        """Return the bound as text, e.g. ``HOLD < 60 %, FAIL < 25 %``."""
        return f"HOLD < {show(self.hold)}" + (f", FAIL < {show(self.fail)}" if self.fail is not None else "")


def normal_half_width(error: float) -> float:
    """Return half the width of the 95 % interval of a normal estimate with this standard error."""
    return NormalDist().inv_cdf(0.975) * error


def judge(
    gate: str,
    value: float | None,
    bound: Most | Least,
    message: str,
    *,
    count: int,
    unit: str = "users",
    scale: Scale = Scale.SHARE,
    interval: tuple[float, float] | None = None,
    can_fail: bool = True,
) -> Finding:
    """Judge one number by its bound; one that is absent or not finite is a HOLD.

    Args:
        gate: the gate's name.
        value: the measured number.
        bound: from the settings.
        message: one sentence for a person: what was measured, and what to do if it is out of bounds.
        count: how many users, rows or items the number stands for.
        unit: what is counted.
        scale: of the number and its bound.
        interval: 95 % confidence interval, where the number is sampled.
        can_fail: False if there is too little evidence for a FAIL: it is then a HOLD.
    """
    verdict = Verdict.HOLD if value is None or not math.isfinite(value) else bound.judge(value)
    if verdict is Verdict.FAIL and not can_fail:
        verdict = Verdict.HOLD
    number = value if value is not None and math.isfinite(value) else None
    return Finding(gate, verdict, number, bound.describe(scale.show), message, count, unit, interval, scale)


def with_advice(seen: str, value: float, bound: Most | Least, advice: str) -> str:
    """Return a sentence about a value, with what to do if it is out of bounds."""
    if not math.isfinite(value):
        return f"{seen}: this cannot be judged."
    return f"{seen}." if bound.judge(value) is Verdict.PASS else f"{seen}: {advice}."


def not_measured(gate: str, why: str) -> Finding:
    """Return the HOLD of a gate that could not measure anything, with the reason."""
    return Finding(gate, Verdict.HOLD, None, "measured", f"Not measured: {why}.", 0, unmeasured=why)


def _require_finite(*numbers: float | None) -> None:
    if any(number is not None and not (math.isfinite(number) and number >= 0) for number in numbers):
        raise ValueError("it must be a finite number, 0 or more")
