"""What was in production when, and what each release did: as the page of Airflow's UI shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from events import (
    ROLLBACK,
    START,
    adopted,
    answered,
    asked,
    chain,
    champion_restored,
    closed,
    complete,
    evaluated,
    model_restored,
    of,
    opened,
    opened_rollback,
    promoted,
    registered,
    rejected,
    rolled_back,
    switch_failed,
    switch_started,
    trained,
    validated,
)

from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.overviews import MOST, describe_overview
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.timelines import find_period, summarise_releases, trace_production

if TYPE_CHECKING:
    from recdeploy_ops.domain.entries import Entry

REASON = "orders fell by a third"
PARAMS = ROLLBACK.__class__("previous", REASON, require_approval=False, approval_timeout_hours=4.0)
BACK = of("back", opened_rollback(1, params=PARAMS), rolled_back(1, reason=REASON), closed(Outcome.ROLLED_BACK))
SERVED_TWICE = (*complete(1), *complete(2))
FAILED_SWITCH = of(
    "run-2",
    opened(2),
    registered(2),
    validated(),
    asked(2),
    answered(version=2),
    switch_started(2),
    switch_failed(),
    champion_restored(1),
    closed(Outcome.FAILED, 2),
)


def at(entries: list[Entry], seq: int) -> str:
    return entries[seq - 1].at.isoformat()


def shown(*parts: Any) -> list[tuple[int, str, str, str]]:
    """Return version, cause, who and why of each period."""
    periods = trace_production(chain(*parts))
    return [(period.serving.version, period.how, period.by, period.reason) for period in periods]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), []),
        (of("run-1", opened(1), registered(1), validated()), []),
        (complete(1), [(1, "promoted", "bo", "")]),
        ((*complete(1), *of("run-1", model_restored(1))), [(1, "promoted", "bo", "")]),
        ((*complete(1), *FAILED_SWITCH), [(1, "promoted", "bo", "")]),
        (
            (*SERVED_TWICE, *BACK),
            [(1, "promoted", "bo", ""), (2, "promoted", "bo", ""), (1, "rolled_back", "bo", REASON)],
        ),
        (
            of("run-1", opened(1), registered(1), validated(), asked(), answered(comment="ship it"), promoted(1)),
            [(1, "promoted", "ann", "ship it")],
        ),
        (of("adopt", adopted()), [(1, "adopted", "", "v1 serves, which the ledger does not know")]),
        (
            (*complete(1), *of("adopt", adopted(production=None, versions=(), difference=("it is gone",)))),
            [(1, "promoted", "bo", "")],
        ),
    ],
    ids=[
        "nothing",
        "candidate",
        "first",
        "same model again",
        "failed switch",
        "rollback",
        "approved",
        "adopted",
        "gone",
    ],
)
def test_each_period_says_which_version_served_and_who_decided_it(parts: Any, expected: Any) -> None:
    assert shown(*parts) == expected


def test_periods_meet_and_the_last_one_lasts() -> None:
    entries = chain(*SERVED_TWICE, *BACK)
    periods = trace_production(entries)
    starts = [period.serving.since for period in periods]
    assert [period.until for period in periods] == [*starts[1:], None]
    assert starts == [
        at(entries, seq) for seq, entry in enumerate(entries, 1) if entry.type in {"promoted", "rolled_back"}
    ]


@pytest.mark.parametrize(("minutes", "version"), [(0, None), (4.9, None), (5, 1), (9.9, 1), (10, 2), (10_000, 2)])
def test_the_version_at_a_moment_is_found(minutes: float, version: int | None) -> None:
    periods = trace_production(chain(*SERVED_TWICE))
    found = find_period(periods, START + timedelta(minutes=minutes))
    assert (found.serving.version if found else None) == version


def test_after_production_is_gone_nothing_is_found() -> None:
    entries = chain(*complete(1), *of("adopt", adopted(production=None, versions=())))
    periods = trace_production(entries)
    assert find_period(periods, entries[-1].at - timedelta(seconds=1)) is not None
    assert find_period(periods, entries[-1].at) is None


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (of("run-1", opened(1)), ("retrain", 1, None, "bo", "", "")),
        (of("run-1", opened(1, triggered_by=None)), ("retrain", 1, None, "", "", "")),
        (complete(1), ("retrain", 1, "promoted", "bo", "", "")),
        (BACK, ("rollback", 1, "rolled back", "bo", "", REASON)),
        (FAILED_SWITCH, ("retrain", 2, "failed", "bo", "ann", "no capacity")),
        (
            of("run-1", opened(1), asked(), answered(Decision.REJECT, comment="odd"), rejected(1, reason="odd lists")),
            ("retrain", 1, None, "bo", "ann", "odd lists"),
        ),
        ((*complete(1), *of("run-1", opened(1, opening=2))), ("retrain", 1, None, "bo", "", "")),
    ],
    ids=["open", "schedule", "promoted", "rollback", "failed", "rejected", "opened again"],
)
def test_a_release_says_what_it_did_by_whom_and_why(parts: Any, expected: Any) -> None:
    served = (
        () if any(part[0] == "run-1" for part in parts) else complete(1) if parts is FAILED_SWITCH else SERVED_TWICE
    )
    summary = summarise_releases(chain(*served, *parts))[-1]
    assert (
        summary.purpose,
        summary.version,
        summary.outcome,
        summary.triggered_by,
        summary.decided_by,
        summary.reason,
    ) == expected
    assert (summary.closed_at is None) == (summary.outcome is None)


class TestTheOverview:
    def test_of_an_empty_ledger_says_that_there_is_nothing(self) -> None:
        overview = describe_overview([], "shop", START)
        assert (overview["production"], overview["release"], overview["versions"]) == (None, None, [])
        assert overview["status"] == {
            "phase": "healthy",
            "message": "No release is in progress; nothing is in production.",
        }

    def test_shows_the_versions_with_their_measures_newest_first(self) -> None:
        second = of("run-2", opened(2), trained(metrics={"rmse": 0.8, "engine": "exact"}), evaluated(), registered(2))
        overview = describe_overview(chain(*complete(1), *second), "shop", START)
        assert [(v["version"], v["stage"], v["verdict"], v["metrics"]) for v in overview["versions"]] == [
            (2, "candidate", "PASS", {"rmse": 0.8}),
            (1, "champion", "", {}),
        ]

    def test_names_the_versions_that_production_can_go_back_to(self) -> None:
        overview = describe_overview(chain(*SERVED_TWICE), "shop", START)
        assert {v["version"]: v["can_be_restored"] for v in overview["versions"]} == {1: True, 2: False}

    def test_of_an_adopted_version_knows_no_run(self) -> None:
        [version] = describe_overview(chain(*of("adopt", adopted())), "shop", START)["versions"]
        assert (version["dag_id"], version["metrics"]) == ("", {})

    def test_of_a_release_that_waits_asks_for_the_answer(self) -> None:
        waiting = of("run-2", opened(2), registered(2), validated(), asked(2))
        release = describe_overview(chain(*complete(1), *waiting), "shop", START)["release"]
        assert (release["run_id"], release["version"], release["is_waiting"], release["has_report"]) == (
            "run-2",
            2,
            True,
            True,
        )
        assert release["test"] is None

    def test_shows_the_newest_of_a_long_history(self) -> None:
        many = [part for number in range(1, MOST + 3) for part in complete(number)]
        overview = describe_overview(chain(*many), "shop", START)
        assert [len(overview[name]) for name in ("periods", "releases")] == [MOST, MOST]
        assert [overview["periods"][at]["serving"]["version"] for at in (0, -1)] == [MOST + 2, 3]
