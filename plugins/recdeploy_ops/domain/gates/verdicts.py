"""What a gate returns: a verdict with the number, the bound and how many users it stands for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from recdeploy_ops.domain.gates.scales import Scale


class Verdict(StrEnum):
    """PASS, HOLD (a person must look) or FAIL (rejected without asking), from best to worst."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    HOLD = "HOLD"
    FAIL = "FAIL"


SEVERITY = {Verdict.PASS: 0, Verdict.HOLD: 1, Verdict.FAIL: 2}


@dataclass(frozen=True)
class Finding:
    """One gate's answer.

    Attributes:
        gate: the gate's name, e.g. ``user_coverage``.
        verdict: PASS, HOLD or FAIL.
        value: the measured number; None if it could not be measured.
        threshold: the bound, as text with its direction, e.g. ``>= 0.999``.
        message: one sentence for a person: what, which (first examples), and what now.
        users: how many users, rows or requests the value stands for.
        unit: what ``users`` counts.
        interval: 95 % confidence interval of a sampled value.
        scale: of value, threshold and interval, which are written alike.
        unmeasured: why what the gate judges could not be measured, without a full stop; empty if it was.
        inapplicable: why the gate does not apply to the candidate's recipe; empty if it does. Its verdict is then PASS.
    """

    gate: str
    verdict: Verdict
    value: float | None
    threshold: str
    message: str
    users: int | None = None
    unit: str = "users"
    interval: tuple[float, float] | None = None
    scale: Scale = Scale.NUMBER
    unmeasured: str = ""
    inapplicable: str = ""


@dataclass(frozen=True)
class GateReport:
    """All findings of one gate run, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; no finding at all is a FAIL, never a PASS."""
        return max((f.verdict for f in self.findings), key=SEVERITY.__getitem__, default=Verdict.FAIL)

    def describe_failures(self) -> str:
        """Return the messages of the findings that say FAIL, on one line each."""
        failures = [f"{f.gate}: {f.message}" for f in self.findings if f.verdict is Verdict.FAIL]
        return "\n".join(failures) or "No gate returned a finding, which counts as FAIL."

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, for storage and the ledger."""
        return {"verdict": str(self.verdict), "findings": [asdict(f) for f in self.findings]}


def at_most(
    gate: str,
    value: float | None,
    bound: float,
    message: str,
    *,
    otherwise: Verdict = Verdict.FAIL,
    users: int | None = None,
    scale: Scale = Scale.NUMBER,
) -> Finding:
    """Judge ``value <= bound``; absent or NaN evidence counts as ``otherwise``."""
    passed = value is not None and math.isfinite(value) and value <= bound
    return Finding(
        gate, Verdict.PASS if passed else otherwise, value, f"<= {scale.show(bound)}", message, users, scale=scale
    )


def at_least(
    gate: str,
    value: float | None,
    bound: float,
    message: str,
    *,
    users: int | None = None,
) -> Finding:
    """Judge ``value >= bound``; absent or NaN evidence is a FAIL."""
    passed = value is not None and math.isfinite(value) and value >= bound
    return Finding(gate, Verdict.PASS if passed else Verdict.FAIL, value, f">= {bound:g}", message, users)
