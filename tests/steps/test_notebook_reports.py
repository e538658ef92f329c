"""What a notebook says of a release on HOLD or FAIL: the reasons first, then where the report is, and its page."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from shops import source_of
from steps.cells import Cells, newest_release
from steps.factories import USERS

from recdeploy_ops.domain.errors import CellOrderError, GateFailedError
from recdeploy_ops.domain.events import ApprovalAnswered, DataChecked
from recdeploy_ops.domain.gates.verdicts import Verdict

REASON = "two customers asked us\nto delete their data <b>"


class Frame(HTMLParser):
    """Collects the attributes of each tag."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def second(manager, cells, tmp_path):
    """The cells of a second release, before which two users have lost their interactions."""
    cells.release()
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.executemany("DELETE FROM interactions WHERE user_id = ?", [(user,) for user in USERS[:2]])
    return Cells(manager, tmp_path, shift=1)


def test_the_reasons_of_a_hold_come_first_and_then_the_path_of_the_report(manager, cells, caplog):
    cells.until_test()
    caplog.clear()
    caplog.set_level(logging.INFO, logger="recdeploy_ops.deployment_manager")

    manager.validate_test()

    said = [record.message for record in caplog.records if record.name.endswith("shown_reports")]
    assert said[0] == "HOLD: A person must look before v1 may become the first version in production"
    assert said[1].startswith("- HOLD ")
    assert all(line.startswith("- HOLD ") for line in said[1:-1])
    path = Path(said[-1].removeprefix("Report: "))
    assert path.is_file()
    assert "A person must look before v1" in path.read_text(encoding="utf-8")
    assert str(manager.show_report()).splitlines() == said


def test_who_promotes_without_a_look_at_the_evidence_sees_the_reasons_too(manager, cells, caplog):
    cells.until_test()
    caplog.clear()

    manager.promote_to_production(comment="the first one")

    said = [record for record in caplog.records if record.name.endswith("shown_reports")]
    assert said[0].message.startswith("HOLD: A person must look")
    assert {record.levelname for record in said} == {"WARNING"}
    assert newest_release(manager).require(ApprovalAnswered).comment == "the first one"


def test_the_page_is_shown_in_a_frame_that_runs_nothing(manager, cells):
    cells.until_test()
    manager.validate_test()
    report = manager.show_report()

    tags = Frame(report._repr_html_()).tags
    assert [tag for tag, _ in tags] == ["iframe", "div"]
    frame = tags[0][1]
    assert frame["sandbox"] is None  # no permission: no script, no access to the notebook, no link out of the frame
    assert frame["srcdoc"] == Path(report.path).read_text(encoding="utf-8")
    assert unescape(report._repr_html_()).count("<script") == 0


def test_there_is_no_report_before_a_gate_has_failed_or_a_person_is_asked(manager, cells):
    with pytest.raises(CellOrderError, match="No report exists yet: Cell 11 writes it"):
        manager.show_report()
    cells.until_trained()
    with pytest.raises(CellOrderError, match="No report exists yet"):
        manager.show_report()


def test_a_failed_gate_has_a_report_and_an_intended_change_may_be_accepted(manager, second):
    second.prepare()
    source = source_of(second.folder / "shop.db")
    with pytest.raises(GateFailedError, match="history_lost"):
        manager.extract_data(source)
    failed = manager.show_report()
    assert (failed.verdict, failed.headline) == (Verdict.FAIL, "v2 is rejected")
    assert failed.reasons[0].startswith("FAIL history_lost: ")

    manager.extract_data(source, accept_change=REASON)

    release = newest_release(manager)
    assert release.require(DataChecked).verdict is Verdict.HOLD
    assert release.retrain_params.accept_change == REASON
    with pytest.raises(CellOrderError, match="No report exists yet"):
        manager.show_report()


def test_an_accepted_change_stays_accepted_in_later_cells_and_cannot_forge_a_line(manager, second):
    second.prepare()
    second.train(accept_change=REASON)
    second.save()
    second.deploy()
    manager.validate_test()

    assert newest_release(manager).retrain_params.accept_change == REASON
    report = manager.show_report()
    [lost] = [reason for reason in report.reasons if reason.startswith("HOLD history_lost: ")]
    assert lost.endswith("with accept_change: two customers asked us\ufffdto delete their data <b>")
    assert len(str(report).splitlines()) == len(report.reasons) + 2


def test_a_change_that_only_the_lists_show_may_be_accepted_when_the_model_is_saved(manager, cells):
    cells.until_trained()
    cells.save(accept_change="another recipe")

    assert newest_release(manager).retrain_params.accept_change == "another recipe"
