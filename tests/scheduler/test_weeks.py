"""A first release, and three runs of the next week: all that gates can say, and what a person is asked then."""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
import pytest
from rest import APPROVAL
from weeks import COMMENT, HOSTILE, REASON

from demo.homes import DAG_ID
from recdeploy_ops.domain.events import ApprovalAnswered, ApprovalRequested, Promoted, ReleaseOpened
from recdeploy_ops.evaluation.pages import clean

if TYPE_CHECKING:
    from services import EndedRun
    from weeks import Weeks

pytestmark = pytest.mark.more

GATES = ("check_data", "check_candidate", "evaluate_candidate", "validate_test")
RUNS = ("first", "failed", "accepted", "normal")


def require_unchanged(seen: EndedRun) -> None:
    """Require that production is as before the run, and that nothing of the run is left."""
    assert seen.after == seen.before
    assert {answer["model_version"] for answer in seen.answers.values()} == {int(seen.before.version)}
    assert (seen.tests, seen.holder) == ([], None)


def test_a_first_release_is_held_for_what_only_a_champion_could_show_and_promoted_with_a_comment(weeks: Weeks) -> None:
    first = weeks.first
    seen, held = first.seen, first.select("HOLD")

    assert first.report["verdict"] == "HOLD"
    assert all("this is the first release, so there is no champion to compare with" in said for said in held.values())
    assert first.select("FAIL") == {}
    assert (seen.outcome.state, seen.outcome.answers) == ("success", 1)
    assert (seen.event(ApprovalAnswered).comment, seen.event(Promoted).version) == (COMMENT, 1)
    assert seen.before is None
    assert int(seen.after.version) == 1
    assert (seen.tests, seen.holder) == ([], None)


def test_a_hold_that_is_promoted_without_a_comment_is_asked_again_with_the_reason(weeks: Weeks) -> None:
    first = weeks.first
    asked, again = first.asked["body"], first.asked_again["body"]

    assert asked.startswith("### ⚠️\u00a0**HOLD** A person must look before v1 may become the first version")
    assert again.startswith(
        "> **Note:** Refusing to promote v1: it is on HOLD, and the answer has no comment. Say in the"
    )
    assert asked in again
    assert not first.asked_again["response_received"]
    assert "approval_answered" not in first.kinds
    assert first.seen.kinds.count("approval_answered") == 1


def test_a_failed_gate_rejects_and_nobody_is_asked(weeks: Weeks) -> None:
    failed = weeks.failed
    tasks = failed.seen.outcome.tasks

    assert set(failed.select("FAIL")) == {"items_renamed"}
    assert failed.report["headline"] == f"v{failed.report['version']} is rejected"
    assert failed.seen.outcome.state == "failed"
    assert [name for name, task in tasks.items() if task.state == "failed"] == ["check_data"]
    assert tasks[APPROVAL].state == "upstream_failed"
    assert "approval_requested" not in failed.seen.kinds
    assert failed.seen.kinds[-2:] == ["release_rejected", "release_closed"]
    require_unchanged(failed.seen)


def test_an_intended_change_is_held_with_its_reason_and_the_name_in_ledger_report_and_question(weeks: Weeks) -> None:
    accepted = weeks.accepted
    opened = accepted.seen.event(ReleaseOpened)
    question = weeks.installation.admin.question(accepted.seen.run_id)

    said = f"It would be rejected, but admin triggered this run with accept_change: {REASON}"
    assert accepted.select("FAIL") == {}
    assert accepted.select("HOLD")["items_renamed"].endswith(said)
    assert (opened.params.accept_change, opened.triggered_by) == (REASON, "admin")
    assert html.escape(said) in accepted.page
    assert "<b>on purpose" not in accepted.page
    assert "triggered this run with accept" in question["body"]
    assert accepted.seen.event(ApprovalRequested).verdict == "HOLD"


def test_a_hold_is_rejected_without_a_comment(weeks: Weeks) -> None:
    seen = weeks.accepted.seen
    answer = seen.event(ApprovalAnswered)

    assert (answer.decision, answer.by, answer.comment) == ("Reject", "approver", "")
    assert (seen.outcome.state, seen.outcome.tasks["promote"].state) == ("success", "skipped")
    require_unchanged(seen)


def test_hostile_titles_are_text_in_the_report_and_in_the_question(weeks: Weeks) -> None:
    accepted = weeks.accepted
    body = weeks.installation.admin.question(accepted.seen.run_id)["body"]

    assert set(HOSTILE) <= set(accepted.report["blast_radius"]["titles"].values())
    for title in HOSTILE:
        assert html.escape(clean(title)).replace("&quot;", "&#34;") in accepted.page
    assert "script>alert" in body
    for tag in ("<script", "<img", "\u202e"):
        assert tag not in accepted.page
        assert tag not in "".join(body.split("`")[::2]).replace("\\<", "")


def test_a_normal_week_passes_every_gate_and_is_promoted_without_a_comment(weeks: Weeks) -> None:
    normal = weeks.normal
    seen = normal.seen
    version = seen.event(Promoted).version

    assert normal.report["verdict"] == "PASS"
    assert {finding["verdict"] for finding in normal.report["findings"]} == {"PASS"}
    assert (seen.outcome.state, seen.outcome.answers) == ("success", 1)
    assert seen.event(ApprovalAnswered).comment == ""
    assert (int(seen.before.version), int(seen.after.version)) == (1, version)
    assert seen.after.url == seen.before.url
    assert {answer["model_version"] for answer in seen.answers.values()} == {version}
    assert (seen.tests, seen.holder) == ([], None)


@pytest.mark.parametrize("name", RUNS)
def test_the_button_is_on_the_approval_or_on_the_gate_that_said_fail(weeks: Weeks, name: str) -> None:
    run_id, admin = getattr(weeks, name).seen.run_id, weeks.installation.admin
    links = {task: admin.links(run_id, task)["Report"] for task in (*GATES, APPROVAL)}

    [shown] = [task for task, address in links.items() if address]
    assert shown == ("check_data" if name == "failed" else APPROVAL)
    assert links[shown] == f"{weeks.installation.running.airflow_url}/recdeploy/report/{DAG_ID}/{run_id}"


@pytest.mark.parametrize("name", RUNS)
def test_readers_of_the_dag_get_the_report_and_nobody_else(weeks: Weeks, name: str) -> None:
    judged, url = getattr(weeks, name), weeks.installation.running.airflow_url
    path = f"/recdeploy/report/{DAG_ID}/{judged.seen.run_id}"
    answer = weeks.installation.viewer.get(path)

    assert answer.text == judged.page
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert policy.endswith("frame-ancestors 'self'; sandbox allow-same-origin")
    assert answer.headers["cache-control"] == "no-store"
    assert httpx.get(url + path, trust_env=False).status_code == HTTPStatus.UNAUTHORIZED
