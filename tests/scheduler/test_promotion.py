"""The first release that a person promotes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from rest import APPROVAL
from special_shop import SPECIAL_PRODUCTS, SPECIAL_USERS, UNKNOWN_USER, USERS

from recdeploy_ops.domain.events import Promoted

if TYPE_CHECKING:
    from services import EndedRun, Installation

TOP_K = 10
STEPS = [
    "ledger_started",
    "release_opened",
    "production_backed_up",
    "data_extracted",
    "data_checked",
    "model_trained",
    "artifact_built",
    "candidate_checked",
    "gate_models_trained",
    "candidate_evaluated",
    "model_registered",
    "test_deployed",
    "test_validated",
    "approval_requested",
    "approval_answered",
    "switch_started",
    "promoted",
    "bake_ended",
    "release_closed",
]


def test_a_promoted_release_is_a_successful_run(first_release: EndedRun) -> None:
    assert first_release.outcome.state == "success"
    states = {name: task.state for name, task in first_release.outcome.tasks.items()}
    assert states.pop("reject") == "skipped"
    assert set(states.values()) == {"success"}


def test_the_ledger_has_every_step_once_and_in_order(first_release: EndedRun) -> None:
    assert first_release.kinds == STEPS


def test_every_user_gets_the_list_of_the_runs_file(installation: Installation, first_release: EndedRun) -> None:
    lists = installation.recommendations(first_release)
    answers = first_release.answers
    assert set(lists) == set(USERS)

    assert set(answers) == {*SPECIAL_USERS, UNKNOWN_USER}
    for user in SPECIAL_USERS:
        answer = answers[user]
        assert answer["user_id"] == user
        assert [(item["product_id"], item["rating"]) for item in answer["recommendations"]] == lists[user]
        assert answer["count"] == TOP_K
        assert answer["message"] != answers[UNKNOWN_USER]["message"]


def test_special_products_come_from_the_database_to_the_answer_unchanged(first_release: EndedRun) -> None:
    products = {item["product_id"] for user in SPECIAL_USERS for item in first_release.answers[user]["recommendations"]}

    assert products >= set(SPECIAL_PRODUCTS)


def test_a_user_id_without_its_leading_zero_gets_the_fallback(first_release: EndedRun) -> None:
    answer = first_release.answers[UNKNOWN_USER]

    assert answer["user_id"] == UNKNOWN_USER
    assert answer["message"] == "Recommendations for new user (popular items)"
    assert answer["count"] == TOP_K


def test_a_promotion_leaves_no_test_deployment_and_no_lock(first_release: EndedRun) -> None:
    assert first_release.tests == []
    assert first_release.holder is None


def test_the_decision_is_passed_on_with_its_author_and_time(
    installation: Installation, first_release: EndedRun
) -> None:
    decision = installation.admin.xcom(first_release.run_id, APPROVAL, "decision")
    promoted = first_release.event(Promoted)

    assert (decision["decision"], decision["by"], decision["comment"]) == ("Promote", "approver", "ship it")
    assert datetime.fromisoformat(decision["at"]).tzinfo is not None
    assert decision["digest"] == promoted.digest == first_release.answers[SPECIAL_USERS[0]]["digest"]
    assert promoted.approved_by == "approver"


def test_hostile_names_are_shown_as_text(installation: Installation, first_release: EndedRun) -> None:
    body = installation.admin.question(first_release.run_id)["body"]

    assert "`<img src=y onerror=alert(2)>`" in body or "`[y](javascript:alert(2))`" in body
    link = re.escape(f"[Open the report]({installation.running.airflow_url}/recdeploy/report/")
    lines = [line for line in body.splitlines() if not re.fullmatch(rf"{link}[\w/-]+\)", line)]
    assert len(lines) == len(body.splitlines()) - 1
    for line in lines:
        outside = "".join(line.split("`")[::2])
        assert "<" not in outside
        assert "](" not in outside


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"top_k": 0}, "top_k"),
        ({"top_k": "10"}, "top_k"),
        ({"seed": -1}, "seed"),
        ({"instance_shape": "a big one"}, "instance_shape"),
        ({"approval_timeout_hours": 0}, "approval_timeout_hours"),
    ],
)
def test_a_param_out_of_range_is_refused_at_the_trigger(
    installation: Installation, params: dict[str, object], named: str
) -> None:
    answer = installation.admin.try_trigger(params)

    assert answer.status_code == 400
    assert f"Invalid input for param {named}" in answer.json()["detail"]
