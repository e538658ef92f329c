"""Whether the gates see the damage that was planted in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.champions import FIRST_RELEASE
from simulation.damages import DAMAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENDPOINT = "TEST"  # the gates of the test deployment: they judge how it answers, not the data


@dataclass(frozen=True)
class DamageCheck:
    """What the gates of one release said about a damage.

    Attributes:
        damage: its name.
        verdict: FAIL if the gates rejected it, HOLD if they asked a person, PASS if they did not see it.
        gates: the gates that saw it: those that rejected it or, if none did, those that asked a person.
        is_expected: whether the gates did what they are known to do.
        text: the same in words.
    """

    damage: str
    verdict: Verdict
    gates: tuple[str, ...]
    is_expected: bool
    text: str


def check_damage(name: str, findings: Sequence[Mapping[str, Any]], *, is_complete: bool) -> DamageCheck:
    """Return what the gates said about a damage.

    Args:
        name: of the damage.
        findings: of all gates that have run, with the name of their run.
        is_complete: whether every step of the release succeeded, so that no gate was left out.
    """
    planted = f"the damage {name} ({DAMAGES[name].what})"
    if rejected := _gates(findings, Verdict.FAIL):
        text = f"The gates rejected {planted}, as they are meant to: {_list(rejected)} failed."
        return DamageCheck(name, Verdict.FAIL, rejected, is_expected=True, text=text)
    held = _gates(findings, Verdict.HOLD)
    verdict = Verdict.HOLD if held else Verdict.PASS
    if not is_complete:
        text = f"The release failed before all gates had judged {planted}; no gate has rejected it."
        return DamageCheck(name, verdict, held, is_expected=False, text=text)
    if held:
        text = f"The gates asked a person about {planted}: HOLD of {_list(held)}."
        return DamageCheck(name, verdict, held, is_expected=True, text=text)
    is_first = any(_is_of_first_release(finding) for finding in findings)
    if is_first:
        why = "this was a first release, without a champion to compare with."
    elif DAMAGES[name].is_missed:
        why = "it is one that they may miss."
    else:
        why = "all of them passed the release."
    text = f"No gate saw {planted}: {why}"
    return DamageCheck(name, verdict, held, is_expected=is_first or DAMAGES[name].is_missed, text=text)


def _gates(findings: Sequence[Mapping[str, Any]], verdict: Verdict) -> tuple[str, ...]:
    """Return the gates with a verdict, without the questions that a release raises whatever its data."""
    return tuple(
        str(finding["gate"])
        for finding in findings
        if finding["verdict"] == verdict
        and (verdict is Verdict.FAIL or not (_is_of_first_release(finding) or finding["run"] == ENDPOINT))
    )


def _is_of_first_release(finding: Mapping[str, Any]) -> bool:
    return finding.get("unmeasured") == FIRST_RELEASE


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
