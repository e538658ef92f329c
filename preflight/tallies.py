"""What the gates said in many trials, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scipy import stats

from recdeploy_ops.domain.gates.verdicts import GateReport, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recdeploy_ops.domain.gates.verdicts import Finding


@dataclass
class Tally:
    """The verdicts of some trials of one kind.

    Attributes:
        what: was tried, in words.
        is_damage: whether something was damaged, so that PASS is wrong; otherwise HOLD and FAIL are.
        is_missed: whether the gates may miss this damage.
        must_fail: whether a HOLD is not enough.
        verdicts: number of trials by their worst verdict.
        gates: number of trials by gate and verdict, without PASS.
    """

    what: str
    is_damage: bool
    is_missed: bool = False
    must_fail: bool = False
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    gates: dict[str, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, findings: Iterable[Finding]) -> None:
        """Count one trial."""
        report = GateReport(tuple(findings))
        self.verdicts[report.verdict] += 1
        for finding in report.findings:
            if finding.verdict is not Verdict.PASS:
                self.gates[finding.gate][finding.verdict] += 1

    @property
    def trials(self) -> int:
        """Return how many trials there were."""
        return self.verdicts.total()

    @property
    def caught(self) -> float:
        """Return the share of trials that are not PASS, or that are FAIL if they must be."""
        if self.must_fail:
            return self.verdicts[Verdict.FAIL] / self.trials
        return 1 - self.verdicts[Verdict.PASS] / self.trials

    def interval(self, *verdicts: Verdict) -> tuple[float, float]:
        """Return the exact 95 % interval of the share of trials with one of these verdicts (Clopper and Pearson)."""
        count = sum(self.verdicts[verdict] for verdict in verdicts)
        low, high = stats.binomtest(count, self.trials).proportion_ci(0.95, method="exact")
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "what": self.what,
            "is_damage": self.is_damage,
            "is_missed": self.is_missed,
            "must_fail": self.must_fail,
            "trials": self.trials,
            "verdicts": {str(verdict): self.verdicts[verdict] for verdict in Verdict},
            "gates": {
                gate: {str(verdict): count for verdict, count in counts.items()} for gate, counts in self.gates.items()
            },
        }


def describe_honest(tallies: Iterable[Tally]) -> str:
    """Return a Markdown table of trials in which nothing was damaged."""
    lines = [
        "| nothing is damaged | trials | wrong FAIL | wrong HOLD | which gates |",
        "| --- | --- | --- | --- | --- |",
    ]
    for tally in tallies:
        cells = [_rate(tally, Verdict.FAIL), _rate(tally, Verdict.HOLD), _name_gates(tally)]
        lines.append(f"| {tally.what} | {tally.trials} | {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_damages(tallies: Iterable[Tally]) -> str:
    """Return a Markdown table of trials in which something was damaged."""
    lines = ["| damage | trials | caught | of these FAIL | which gates |", "| --- | --- | --- | --- | --- |"]
    for tally in tallies:
        known = " (may be missed)" if tally.is_missed else ""
        caught, failed = _rate(tally, Verdict.HOLD, Verdict.FAIL), tally.verdicts[Verdict.FAIL] / tally.trials
        lines.append(f"| {tally.what}{known} | {tally.trials} | {caught} | {failed:.0%} | {_name_gates(tally)} |")
    return "\n".join(lines)


def _rate(tally: Tally, *verdicts: Verdict) -> str:
    share = sum(tally.verdicts[verdict] for verdict in verdicts) / tally.trials
    low, high = tally.interval(*verdicts)
    return f"{100 * share:.3g} % [{100 * low:.1f}, {100 * high:.1f}]"


def _name_gates(tally: Tally) -> str:
    """Return the gates by how often they did not pass, those of fewer than one trial in a hundred left out."""
    shares = {gate: counts.total() / tally.trials for gate, counts in tally.gates.items()}
    named = sorted((gate for gate, share in shares.items() if share >= 0.01), key=lambda gate: -shares[gate])
    return ", ".join(f"{gate} {shares[gate]:.0%}" for gate in named) or "none"
