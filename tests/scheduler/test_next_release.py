"""A release that replaces another, and the rollback to that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.rollbacks import RESUMED
from special_shop import SPECIAL_USERS

from recdeploy_ops.domain.events import Promoted, PromotionsResumed

if TYPE_CHECKING:
    from scheduler.releases import Switched
    from services import Installation


def test_the_next_release_answers_at_the_same_url(next_release: Switched) -> None:
    seen = next_release.seen

    assert seen.outcome.state == "success"
    assert seen.after.url == seen.before.url
    assert seen.after.ocid == seen.before.ocid
    assert int(seen.after.version) == seen.event(Promoted).version > int(seen.before.version)
    assert seen.tests == []
    assert seen.holder is None


def test_the_next_release_serves_what_its_params_made(installation: Installation, next_release: Switched) -> None:
    lists = installation.recommendations(next_release.seen)
    answers = next_release.seen.answers

    for user in SPECIAL_USERS:
        answered = [(item["product_id"], item["rating"]) for item in answers[user]["recommendations"]]
        assert answered == lists[user]
        assert len(answered) == 5


def test_a_client_sees_no_error_and_one_change_of_version(next_release: Switched, plain_rollback: Switched) -> None:
    for switched in (next_release, plain_rollback):
        switched.require_one_change(answers=20)


def test_the_earlier_version_answers_at_the_same_url_without_an_approval(plain_rollback: Switched) -> None:
    seen = plain_rollback.seen

    plain_rollback.require_rolled_back()
    assert seen.outcome.tasks["request_approval"].state == "success"
    assert "approval_requested" not in seen.kinds


def test_promotions_hold_after_it_until_a_person_resumes_them_in_airflow(
    installation: Installation, plain_rollback: Switched
) -> None:
    history = installation.releases().history()
    rolled_back = next(entry.seq for entry in history if entry.run_id == plain_rollback.seen.run_id)
    resumed = next(entry.event for entry in history[rolled_back:] if isinstance(entry.event, PromotionsResumed))

    assert resumed == PromotionsResumed(reason=RESUMED, by="admin")
