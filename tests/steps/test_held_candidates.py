"""A candidate on HOLD or FAIL: what a person is asked, what an answer needs, and where the report is."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, nullcontext

import pytest
from steps.factories import USERS, damage, delete_stored, event_types, reopen, served

from recdeploy_ops.approvals.fingerprints import PAGE_PART
from recdeploy_ops.approvals.pages import find_page
from recdeploy_ops.domain.errors import (
    AnswerRefusedError,
    GateFailedError,
    KeyNotFoundError,
    MissingInputError,
)
from recdeploy_ops.domain.events import ApprovalRequested, DataChecked
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.evaluation.champions import FIRST_RELEASE
from recdeploy_ops.evaluation.release_report import page_key
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.keys import run_prefix

DAG = "recommender_retrain"


def read_page(context, run_id):
    return find_page(context.store, context.ledger, DAG, run_id).decode()


def lose_users(run, share=2):
    """Delete the interactions of some users from the shop."""
    with closing(sqlite3.connect(run.database)) as shop, shop:
        shop.executemany("DELETE FROM interactions WHERE user_id = ?", [(user,) for user in USERS[:share]])


@pytest.mark.parametrize("comment", ["", "  \n"])
def test_a_hold_is_not_promoted_without_a_comment(validated, comment):
    release = validated(2)
    release.ask()
    with pytest.raises(AnswerRefusedError, match=r"v2: it is on HOLD.*has no comment\. Say in the comment why"):
        release.record_answer(Decision.PROMOTE, comment=comment)
    assert "approval_answered" not in event_types(release.context, release.run_id)

    release.record_answer(Decision.PROMOTE, comment="only chance")
    release.promote()
    release.close()
    assert served(release.context) == 2


def test_a_hold_may_be_rejected_without_a_comment(validated):
    release = validated(2)
    release.answer(Decision.REJECT, comment="")
    release.reject()
    release.close()
    assert served(release.context) == 1


def test_where_every_check_must_pass_a_hold_cannot_be_promoted(validated):
    release = validated(2)
    gates = release.context.settings.gates.model_copy(update={"require_pass": True})
    release.context = reopen(release.context, release.run_id, gates=gates)
    release.ask()
    with pytest.raises(AnswerRefusedError, match=r"v2: it is on HOLD.*gates\.require_pass"):
        release.record_answer(Decision.PROMOTE, comment="please")


def test_the_question_begins_with_the_verdict_and_names_the_report(validated):
    release = validated(2)
    body = release.ask().body
    asked = release.context.release.require(ApprovalRequested)
    assert body.startswith("### ⚠️\u00a0**HOLD** A person must look before v2 may replace v1 in production")
    assert page_key(release.run_id, asked.parts[PAGE_PART]) in body
    assert asked.verdict == "HOLD"

    page = read_page(release.context, release.run_id)
    assert "A person must look before v2 may replace v1 in production" in page
    stored = json.loads(release.context.store.read(page_key(release.run_id, asked.parts[PAGE_PART])[:-4] + "json"))
    assert stored["verdict"] == "HOLD"
    assert {"gate", "value", "interval", "users"} <= stored["findings"][0].keys()


@pytest.mark.parametrize("harm", ["changed", "deleted"])
def test_a_report_that_is_not_the_one_that_was_read_stops_the_promotion(validated, harm):
    release = validated(2)
    release.answer(Decision.PROMOTE)
    key = page_key(release.run_id, release.context.release.require(ApprovalRequested).parts[PAGE_PART])
    if harm == "changed":
        damage(release.context.store, key)
    else:
        release.context.store.delete(key)
    with pytest.raises(Exception, match=r"page of evidence|is gone"):
        release.promote()


def test_a_failed_gate_leaves_a_report_and_asks_nobody(run, released):
    released()
    second = run("run-2", shift=1)
    lose_users(second)
    second.plan()
    with pytest.raises(GateFailedError, match="history_lost"):
        second.extract()
    second.close()

    page = read_page(second.context, second.run_id)
    assert "v2 is rejected" in page
    assert "approved interactions" in page
    assert "approval_requested" not in event_types(second.context, second.run_id)


def read_findings(release):
    report = read_report(release.context.store, release.context.release.require(DataChecked))
    return {finding["gate"]: finding for finding in report["findings"]}


@pytest.mark.parametrize("lose", [lambda run: None, lose_users], ids=["whole", "rows lost"])
def test_rows_are_compared_by_their_hashes_when_the_champions_extract_is_gone(run, released, lose, caplog):
    released()
    delete_stored(run("run-1").context, f"{run_prefix('run-1', 'extract')}/")
    second = run("run-2", shift=1)
    lose(second)
    second.plan()
    with pytest.raises(GateFailedError) if lose is lose_users else nullcontext():
        second.extract()

    found = read_findings(second)
    assert found["history_lost"]["verdict"] == ("FAIL" if lose is lose_users else "PASS")
    assert found["items_renamed"]["verdict"] == "PASS"
    assert found["newest_rows"]["unmeasured"].startswith("the data of the champion v1 cannot be read")


@pytest.mark.parametrize("damaged", [False, True])
def test_without_extract_and_hashes_nothing_is_compared(run, released, damaged):
    released()
    context = run("run-1").context
    delete_stored(context, f"{run_prefix('run-1', 'extract')}/")
    hashes = f"{run_prefix('run-1', 'row-hashes')}/"
    if damaged:
        for stored in list(context.store.list(hashes)):
            damage(context.store, stored.key)
    else:
        delete_stored(context, hashes)
    second = run("run-2", shift=1)
    second.plan()
    second.extract()
    assert read_findings(second)["history_lost"]["unmeasured"].startswith("the data of the champion v1 cannot be read")


def test_an_intended_change_is_held_and_named(run, released):
    released()
    second = run("run-2", shift=1, accept_change="two customers asked us to delete their data")
    lose_users(second)
    second.plan()
    second.extract()

    report = read_report(second.context.store, second.context.release.require(DataChecked))
    [lost] = [finding for finding in report["findings"] if finding["gate"] == "history_lost"]
    assert lost["verdict"] == "HOLD"
    assert lost["message"].endswith(
        "but bo triggered this run with accept_change: two customers asked us to delete their data"
    )


@pytest.mark.parametrize("accept_change", [None, "only purchases are known"])
def test_purchases_that_all_have_the_rating_one_are_rejected_with_the_remedy(run, accept_change):
    release = run("run-1", **({"accept_change": accept_change} if accept_change else {}))
    with closing(sqlite3.connect(release.database)) as shop, shop:
        shop.execute("UPDATE interactions SET rating = 1")
    release.plan()
    with pytest.raises(GateFailedError) as failed:
        release.extract()
    release.close()

    first_sentence = str(failed.value).partition(". ")[0]
    assert "Every interaction has the rating 1, so a model of ratings learns nothing" in first_sentence
    assert "let interactions.sql return a rating that differs" in first_sentence
    assert "model_trained" not in event_types(release.context, release.run_id)
    assert "Every interaction has the rating 1" in read_page(release.context, release.run_id)


@pytest.mark.parametrize(("dag", "run_id"), [(DAG, "no-such-run"), ("other_retrain", "run-2"), (DAG, "run-3")])
def test_there_is_no_report_of_another_dag_or_before_the_question(context, run, validated, dag, run_id):
    validated(2).close()
    run("run-3").plan()
    with pytest.raises(MissingInputError):
        find_page(context.store, context.ledger, dag, run_id)


def test_a_report_that_was_deleted_is_gone(validated):
    release = validated(2)
    release.ask()
    context = release.context
    context.store.delete(page_key(release.run_id, context.release.require(ApprovalRequested).parts[PAGE_PART]))
    with pytest.raises(KeyNotFoundError):
        read_page(context, release.run_id)


def test_an_answer_in_a_notebook_needs_no_comment(cells):
    cells.until_test()
    assert cells.manager.promote_to_production(comment="")["version"] == 1


def test_every_gate_that_needs_a_champion_says_so_of_a_first_release(context, validated):
    first = validated(1)
    first.ask()
    folder = run_prefix("run-1", "report")
    [key] = [
        stored.key for stored in context.store.list(f"{folder}/") if re.search(r"/[0-9a-f]{16}\.json$", stored.key)
    ]
    report = json.loads(context.store.read(key))

    found = {f["gate"] for f in report["findings"] if (f["verdict"], f["unmeasured"]) == ("HOLD", FIRST_RELEASE)}
    assert {"history_lost", "items_missing", "newest_user", "churn"} <= found
    [sentence] = [sentence for sentence in report["not_measured"] if FIRST_RELEASE in sentence]
    assert set(sentence.partition(": ")[0].split(", ")) == found
