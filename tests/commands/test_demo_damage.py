"""What a demo says about damage that it has planted: which gate saw it, and with which exit code it ends."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from demo.checks import Check
from demo.console import Console
from demo.damage_checks import check_damage
from demo.errors import DemoError
from demo.options import Options
from demo.releases import Outcome
from demo.reports import Report, make_report
from demo.sessions import Session
from recdeploy_ops.domain.freezes import Freeze, FreezeCause
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.champions import FIRST_RELEASE

if TYPE_CHECKING:
    from demo.options import Decision

SEEN, MISSED = "flipped", "week-half"
PLANTED = "the damage flipped (ratings are turned round)"


def finding(verdict: str, gate: str, message: str = "", run: str = "data") -> dict[str, str]:
    return {"run": run, "gate": gate, "verdict": verdict, "message": message}


PASSED = finding("PASS", "schema")
HELD = finding("HOLD", "churn", "much changed", "lists")
FAILED = finding("FAIL", "history_lost", "all is lost")
SLOW = finding("HOLD", "latency_p95", "slow", "TEST")
BROKEN = finding("FAIL", "server_errors", "500", "TEST")
FIRST = finding("HOLD", "quality", run="lists") | {"unmeasured": FIRST_RELEASE}


@pytest.mark.parametrize(
    ("name", "findings", "is_complete", "verdict", "gates", "is_expected", "says"),
    [
        (
            SEEN,
            [PASSED, FAILED],
            False,
            "FAIL",
            ["history_lost"],
            True,
            f"rejected {PLANTED}, as they are meant to: history_lost failed.",
        ),
        (SEEN, [HELD, FAILED, BROKEN], False, "FAIL", ["history_lost", "server_errors"], True, "rejected"),
        (SEEN, [FIRST, FAILED], False, "FAIL", ["history_lost"], True, "rejected"),
        (SEEN, [PASSED, HELD, SLOW], True, "HOLD", ["churn"], True, f"asked a person about {PLANTED}: HOLD of churn."),
        (SEEN, [FIRST, HELD], True, "HOLD", ["churn"], True, "HOLD of churn"),
        (SEEN, [PASSED], True, "PASS", [], False, f"No gate saw {PLANTED}: all of them passed the release."),
        (SEEN, [PASSED, SLOW], True, "PASS", [], False, "all of them passed"),
        (SEEN, [PASSED, FIRST], True, "PASS", [], True, "without a champion to compare with"),
        (MISSED, [PASSED], True, "PASS", [], True, "they may miss"),
        (MISSED, [HELD], True, "HOLD", ["churn"], True, "asked a person about the damage week-half"),
        (SEEN, [], False, "PASS", [], False, "failed before all gates had judged"),
        (MISSED, [PASSED], False, "PASS", [], False, "failed before all gates had judged"),
        (SEEN, [PASSED, HELD], False, "HOLD", ["churn"], False, "failed before all gates had judged"),
    ],
)
def test_what_the_gates_said_about_damage(
    name: str,
    findings: list[dict[str, str]],
    verdict: str,
    gates: list[str],
    says: str,
    *,
    is_complete: bool,
    is_expected: bool,
) -> None:
    damage_check = check_damage(name, findings, is_complete=is_complete)

    assert (damage_check.verdict, list(damage_check.gates), damage_check.is_expected) == (
        Verdict(verdict),
        gates,
        is_expected,
    )
    assert says in damage_check.text


class Inspector:
    """Stands for the checks from outside, of which one may fail."""

    def __init__(self, ended: str | None, findings: list[dict[str, str]], *, is_whole: bool = True) -> None:
        self._release = SimpleNamespace(outcome=ended, version=2)
        self._findings = findings
        self._check = Check("production is as it must be", is_whole, "v1")

    def state(self) -> Any:
        return SimpleNamespace(releases={"run": self._release})

    def production(self) -> None:
        return None

    def findings(self, _: str) -> list[dict[str, str]]:
        return self._findings

    def page(self, _: str) -> Path:
        return Path("/demo/storage/page.html")

    def inspect(self, _: str, decision: Decision, __: None) -> list[Check]:
        return [Check(f"decided: {decision}", True, ""), self._check]

    def inspect_unchanged(self, _: None) -> list[Check]:
        return [self._check]


def report(
    state: str,
    ended: str | None,
    findings: list[dict[str, str]],
    *,
    damage: str | None = SEEN,
    decision: Decision | None = "promote",
    is_whole: bool = True,
) -> Report:
    inspector: Any = Inspector(ended, findings, is_whole=is_whole)
    return make_report(inspector, Outcome("run", state), [], decision=decision, before=None, damage=damage)


@pytest.mark.parametrize("decision", ["promote", None])
@pytest.mark.parametrize(
    ("state", "ended", "findings", "damage", "succeeded"),
    [
        ("success", "promoted", [PASSED], None, True),
        ("failed", "failed", [FAILED], None, False),
        ("failed", "failed", [FAILED], SEEN, True),
        ("success", "promoted", [HELD], SEEN, True),
        ("success", "promoted", [PASSED], SEEN, False),
        ("success", "promoted", [PASSED], MISSED, True),
        ("failed", "failed", [HELD], SEEN, False),
    ],
    ids=["honest", "honest, rejected", "rejected", "asked", "passed", "passed a missed one", "failed otherwise"],
)
def test_the_demo_succeeds_if_a_gate_saw_the_damage(
    state: str,
    ended: str,
    findings: list[dict[str, str]],
    damage: str | None,
    decision: Decision | None,
    *,
    succeeded: bool,
) -> None:
    assert report(state, ended, findings, damage=damage, decision=decision).succeeded == succeeded
    assert not report(state, ended, findings, damage=damage, decision=decision, is_whole=False).succeeded


def test_the_summary_names_the_gates_and_the_report() -> None:
    summary = json.loads(report("failed", "failed", [FAILED, HELD, PASSED]).summary)

    assert summary["gates"] == {"HOLD": ["churn"], "FAIL": ["history_lost"]}
    assert summary["report"] == "/demo/storage/page.html"
    assert (summary["damage"]["damage"], summary["damage"]["gates"]) == (SEEN, ["history_lost"])
    assert json.loads(report("success", "promoted", [PASSED], damage=None).summary)["damage"] is None


def test_damage_that_was_promoted_is_named_as_the_next_champion() -> None:
    promoted = report("success", "promoted", [HELD]).damage_check

    assert "the next release is compared with damaged data" in promoted
    assert promoted.endswith("The report: file:///demo/storage/page.html")
    assert "next release" not in report("success", "rejected", [HELD], decision="reject").damage_check
    assert report("success", "promoted", [PASSED], damage=None).damage_check == ""


@pytest.mark.parametrize(("succeeded", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ("promote", ["SUMMARY", "SIGHTING"]),
        (None, ["SIGHTING", "lingers", "CONCLUSION", "SIGHTING"]),
    ],
)
def test_the_demo_ends_with_what_the_gates_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    decision: Decision | None,
    said: list[str],
    code: int,
    *,
    succeeded: bool,
) -> None:
    session, services = Session(Options(home=tmp_path, decision=decision), Console()), MagicMock()
    services.are_kept = services.are_running = services.start.return_value.attached = False
    ended = Report(succeeded, [], "SUMMARY", "CONCLUSION", "SIGHTING")
    monkeypatch.setattr(session, "_services", services)
    monkeypatch.setattr(session, "_release", lambda _: ended)
    monkeypatch.setattr(session, "_linger", lambda _: Console().say("lingers"))
    monkeypatch.setattr("demo.sessions.signal.signal", lambda *_: None)

    assert session.run() == code

    assert capsys.readouterr().out.split() == said
    assert (tmp_path / "summary.json").read_text(encoding="utf-8") == "SUMMARY"


@pytest.mark.parametrize(
    ("damage", "production", "says"),
    [("flipped", None, True), ("flipped", "v1", False), (None, None, False)],
    ids=["damage in a first release", "damage later", "an honest first release"],
)
def test_a_first_release_with_damage_is_announced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: str | None,
    production: str | None,
    *,
    says: bool,
) -> None:
    session, running = Session(Options(home=tmp_path, damage=damage), Console()), MagicMock()
    running.cloud.production.return_value = production
    for name in ("Inspector", "AirflowApi", "ReleaseRun", "make_report"):
        monkeypatch.setattr(f"demo.sessions.{name}", MagicMock())
    monkeypatch.setattr(session, "_follow", MagicMock())

    session._release(running)

    assert ("there is no champion to compare with" in capsys.readouterr().out) == says


@pytest.mark.parametrize(("decision", "is_refused"), [("promote", True), ("reject", False), (None, False)])
def test_a_promotion_is_not_begun_in_vain_while_promotions_are_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decision: Decision | None, *, is_refused: bool
) -> None:
    session = Session(Options(home=tmp_path, decision=decision), Console())
    for name in ("AirflowApi", "ReleaseRun", "make_report"):
        monkeypatch.setattr(f"demo.sessions.{name}", MagicMock())
    follow = MagicMock()
    monkeypatch.setattr(session, "_follow", follow)
    freeze = Freeze(FreezeCause.ROLLBACK, "production went from v2 to v1", "ann", "2026-03-02T03:12:00+00:00")
    inspector = SimpleNamespace(state=lambda: SimpleNamespace(freezes=(freeze,)))
    monkeypatch.setattr("demo.sessions.Inspector", lambda cloud, home: inspector)

    if is_refused:
        with pytest.raises(DemoError, match=r"production went from v2 to v1\..*make resume REASON="):
            session._release(MagicMock())
    else:
        session._release(MagicMock())
    assert follow.called != is_refused
