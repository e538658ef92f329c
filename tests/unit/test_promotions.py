"""The calls of a promotion, before they are sent and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from events import (
    PRODUCTION,
    TEST,
    answered,
    asked,
    chain,
    champion_restored,
    closed,
    complete,
    deployed,
    of,
    opened,
    opened_rollback,
    promoted,
    registered,
    resize_started,
    resized,
    restore_started,
    serving,
    switch_failed,
    switch_started,
    validated,
)

from recdeploy_ops.domain.events import ReleaseOutcome
from recdeploy_ops.domain.promotions import Observed, Way, choose_way, list_calls
from recdeploy_ops.domain.sizes import RESIZE_PART

if TYPE_CHECKING:
    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.promotions import Call

RESIZED = {RESIZE_PART: "from 1 x A to 2 x A"}
SKIPPED = {"deployment_id": None, "url": None, "lease": None}
SWITCH, PROBE, RESIZE = (
    ("UpdateModelDeployment", PRODUCTION),
    ("Predict", PRODUCTION),
    ("UpdateModelDeployment", PRODUCTION),
)
DELETE, TAG = ("DeleteModelDeployment", TEST), ("UpdateModelDeployment", PRODUCTION)
MODEL = ("UpdateModel", "m2")


def second(*events: Event, parts: dict[str, str] | None = None, test: Any = None) -> tuple[Any, ...]:
    """Return the second release, once it is asked about, and what follows."""
    question = asked(2, parts=parts or {"seed": "42"})
    return of("run-2", opened(2), registered(2), test or deployed(), validated(), question, *events)


def calls(*parts: Any, run_id: str = "run-2", observed: Observed | None = None) -> tuple[Call, ...]:
    return list_calls(chain(*parts), run_id, answers=60, observed=observed)


def states(found: tuple[Call, ...]) -> list[str]:
    return [str(call.state) for call in found]


@pytest.mark.parametrize(
    ("champion", "tested", "way"),
    [
        (serving(), deployed(), Way.MODEL),
        (serving(), deployed(**SKIPPED), Way.MODEL),
        (None, deployed(), Way.ROLE),
        (None, deployed(**SKIPPED), Way.CREATION),
    ],
)
def test_the_way_follows_from_what_is_there(champion: Any, tested: Any, way: Way) -> None:
    assert choose_way(champion, tested) is way


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((*complete(1), *second()), [MODEL, SWITCH, PROBE, DELETE, MODEL, TAG]),
        ((*complete(1), *second(parts=RESIZED)), [MODEL, SWITCH, PROBE, RESIZE, DELETE, PROBE, MODEL, TAG]),
        ((*complete(1), *second(test=deployed(**SKIPPED))), [MODEL, SWITCH, PROBE, MODEL, TAG]),
        (
            second(),
            [MODEL, ("UpdateModelDeployment", TEST), ("Predict", TEST), MODEL, ("UpdateModelDeployment", TEST)],
        ),
        (
            second(test=deployed(**SKIPPED)),
            [MODEL, ("CreateModelDeployment", ""), ("Predict", ""), MODEL, ("UpdateModelDeployment", "")],
        ),
    ],
    ids=["second", "resized", "without test", "first", "first without test"],
)
def test_before_the_answer_every_call_is_planned(parts: Any, expected: list[tuple[str, str]]) -> None:
    found = calls(*parts)

    assert [(call.operation, call.target) for call in found] == expected
    assert set(states(found)) == {"planned"}
    assert "60 answers in a row" in found[2].what
    assert "v2 and the digest d2" in found[2].what


@pytest.mark.parametrize(
    "parts",
    [
        of("run-2", opened(2)),
        of("run-2", opened(2), registered(2)),
        (*complete(1), *of("run-2", opened_rollback(1))),
        (*complete(1), *second(closed(ReleaseOutcome.REJECTED, 2))),
    ],
    ids=["too early", "not deployed", "a rollback", "rejected"],
)
def test_without_a_promotion_there_are_no_calls(parts: Any) -> None:
    assert calls(*parts) == ()


def test_a_switch_that_has_begun_may_have_been_sent() -> None:
    found = calls(*complete(1), *second(answered(version=2), switch_started(2)))

    assert states(found) == ["not recorded", "begun", "planned", "planned", "planned", "planned"]


def test_once_it_is_promoted_the_rest_is_known_step_by_step() -> None:
    begun = (answered(version=2), switch_started(2), promoted(2), resize_started(2))
    assert states(calls(*complete(1), *second(*begun, parts=RESIZED))) == [
        *("not recorded", "done", "done", "begun", "not recorded", "begun", "planned", "planned")
    ]
    assert states(calls(*complete(1), *second(*begun, resized(), parts=RESIZED)))[3] == "done"


def test_a_size_that_production_already_had_is_not_requested() -> None:
    found = calls(*complete(1), *second(answered(version=2), switch_started(2), promoted(2), resized(), parts=RESIZED))

    assert (states(found)[3], found[3].note) == ("not sent", "production already had this size")


class TestOfAClosedRelease:
    PARTS = (*complete(1), *second(answered(version=2), switch_started(2), promoted(2), closed(version=2)))

    def test_only_oci_can_say_what_became_of_tags_and_the_test_deployment(self) -> None:
        unknown = "not recorded"
        assert states(calls(*self.PARTS)) == [unknown, "done", "done", unknown, unknown, unknown]

    def test_what_oci_says_is_shown(self) -> None:
        last = chain(*self.PARTS)[-1].seq
        observed = Observed({TEST: "DELETED"}, {"m2": last, PRODUCTION: last})
        found = calls(*self.PARTS, observed=observed)
        assert states(found) == ["done"] * 6
        assert (found[3].note, found[4].note) == ("OCI says DELETED", f"OCI's tags name entry {last}")

    def test_what_oci_does_not_confirm_has_failed(self) -> None:
        found = calls(*self.PARTS, observed=Observed({TEST: "ACTIVE"}, {"m2": 0, PRODUCTION: 3}))
        assert states(found) == ["failed", "done", "done", "failed", "failed", "failed"]

    def test_a_deployment_that_was_created_is_named_by_its_promotion(self) -> None:
        parts = second(answered(version=2), switch_started(2), promoted(2), closed(version=2), test=deployed(**SKIPPED))
        assert [call.target for call in calls(*parts)] == ["m2", PRODUCTION, PRODUCTION, "m2", PRODUCTION]


class TestOfAFailedSwitch:
    BEGUN = (answered(version=2), switch_started(2), switch_failed())

    def test_says_why_and_that_the_rest_was_not_sent(self) -> None:
        found = calls(*complete(1), *second(*self.BEGUN))
        assert states(found) == ["not recorded", "failed", *["not sent"] * 4]
        assert found[1].note == "no capacity"

    def test_ends_with_the_restoration(self) -> None:
        begun = calls(*complete(1), *second(*self.BEGUN, restore_started(1)))
        done = calls(*complete(1), *second(*self.BEGUN, restore_started(1), champion_restored(1)))
        assert [(call.what, str(call.state)) for call in (begun[-1], done[-1])] == [
            ("restore the champion: serving v1", "begun"),
            ("restore the champion: serving v1", "done"),
        ]

    def test_that_was_closed_has_not_been_restored(self) -> None:
        found = calls(*complete(1), *second(*self.BEGUN, restore_started(1), closed(ReleaseOutcome.FAILED, 2)))
        assert states(found)[-1] == "failed"


def test_a_switch_that_was_left_open_has_failed() -> None:
    found = calls(*complete(1), *second(answered(version=2), switch_started(2), closed(ReleaseOutcome.FAILED, 2)))

    assert states(found) == ["not recorded", "failed", *["not sent"] * 4]


def test_of_a_release_that_was_reopened_the_switch_is_planned_again() -> None:
    failed = (answered(version=2), switch_started(2), switch_failed(), champion_restored(1))
    found = calls(*complete(1), *second(*failed, closed(ReleaseOutcome.FAILED, 2), opened(2)))

    assert states(found) == ["not recorded", *["planned"] * 5]
    assert found[1].target == PRODUCTION
