"""The ledger is lost, and rebuilt from what OCI has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scheduler.adoptions import LostLedger

pytestmark = pytest.mark.more


def test_the_difference_is_shown_before_anything_is_written(lost_ledger: LostLedger) -> None:
    shown, version = lost_ledger.shown, lost_ledger.before.production.version

    assert shown.outcome.state == "success"
    assert shown.result["applied"] is False
    assert any(
        line.startswith(f"production: the ledger has nothing, OCI has v{version} ")
        for line in shown.result["difference"]
    )
    assert all(line in shown.log for line in shown.result["difference"])
    assert shown.entries == []


def test_the_shown_difference_is_written_as_one_entry(lost_ledger: LostLedger) -> None:
    applied = lost_ledger.applied

    assert applied.outcome.state == "success"
    assert applied.result == {"difference": lost_ledger.shown.result["difference"], "applied": True}
    assert applied.entries == ["ledger_started", "adopted"]


def test_the_rebuilt_ledger_knows_production_and_the_previous_champion(lost_ledger: LostLedger) -> None:
    before, after = lost_ledger.before, lost_ledger.after

    for name in ("version", "digest", "model_id", "deployment_id", "url"):
        assert getattr(after.production, name) == getattr(before.production, name)
        assert getattr(after.previous_champion, name) == getattr(before.previous_champion, name)
    assert after.highest_version >= max(before.versions)
    assert after.holder is None
    for number, version in after.versions.items():
        assert (version.digest, version.artifact) == (before.versions[number].digest, before.versions[number].artifact)


def test_the_rebuilt_ledger_is_whole_and_named_by_productions_tags(lost_ledger: LostLedger) -> None:
    assert lost_ledger.faults == []


def test_production_serves_while_the_ledger_is_rebuilt(lost_ledger: LostLedger) -> None:
    assert lost_ledger.production_after == lost_ledger.production_before
    assert lost_ledger.answer["model_version"] == lost_ledger.before.production.version
