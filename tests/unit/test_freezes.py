"""When nothing is promoted: freezes by a person, the hold after a rollback, and windows of the settings."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from events import (
    PROJECT,
    START,
    answered,
    chain,
    closed,
    complete,
    frozen,
    of,
    opened,
    opened_rollback,
    promoted,
    registered,
    resumed,
    rolled_back,
    validated,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from recdeploy_ops.domain.errors import PromotionsFrozenError
from recdeploy_ops.domain.events import Purpose
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.freezes import (
    WINDOWS_SETTING,
    Freeze,
    FreezeCause,
    FreezeWindow,
    Repeats,
    find_freezes,
    require_not_frozen,
)
from recdeploy_ops.domain.overviews import describe_overview
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.release_status import describe_history, summarise
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.domain.replay import replay

TWICE = (*complete(1), *complete(2))
BACK = of("back", opened_rollback(1), rolled_back(1), closed(Outcome.ROLLED_BACK, 1))
FREEZE, RESUME = of("freeze-1", frozen()), of("resume-1", resumed())
BERLIN = "Europe/Berlin"
LOCAL_START = datetime.fromisoformat("2026-01-01")


def causes(*events):
    return [str(freeze.cause) for freeze in replay(chain(*events)).freezes]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (TWICE, []),
        ((*TWICE, *FREEZE), ["person"]),
        ((*TWICE, *FREEZE, *RESUME), []),
        ((*TWICE, *FREEZE, *complete(3)), ["person"]),
        ((*TWICE, *BACK), ["rollback"]),
        ((*TWICE, *BACK, *RESUME), []),
        ((*TWICE, *FREEZE, *BACK), ["person", "rollback"]),
        ((*TWICE, *FREEZE, *BACK, *RESUME), []),
        ((*TWICE, *BACK, *RESUME, *of("back-2", opened_rollback(2), rolled_back(2))), ["rollback"]),
        ((*TWICE, *FREEZE, *BACK, *complete(3)), ["person"]),  # a ledger from before there were holds
        ((*TWICE, *of("back", opened_rollback(1), closed(Outcome.FAILED, 1))), []),
    ],
)
def test_a_freeze_lasts_until_a_person_resumes_and_every_rollback_begins_one(events, expected):
    assert causes(*events) == expected


def test_a_freeze_says_who_began_it_when_and_why():
    [freeze] = replay(chain(*TWICE, *FREEZE)).freezes

    assert freeze == Freeze(FreezeCause.PERSON, "Black Friday", "ann", (START + timedelta(minutes=12)).isoformat())
    assert str(freeze) == "since 2026-03-02 03:12 UTC by ann, until a person resumes them: Black Friday"
    assert freeze.began_after(START)
    assert not freeze.began_after(START + timedelta(minutes=12))


ASKED = of("back", opened_rollback(1), answered(Decision.ROLL_BACK, by="eve"), rolled_back(1))
UNEXPLAINED = of("back", opened_rollback(1, triggered_by=None), rolled_back(1, reason=None))
BY_ITSELF = of("run-3", opened(3), registered(3), validated(), answered(), promoted(3), rolled_back(2))


@pytest.mark.parametrize(
    ("events", "by", "reason"),
    [
        (BACK, "bo", "production went from v2 to v1: it looks odd"),
        (ASKED, "eve", "production went from v2 to v1: it looks odd"),
        (BY_ITSELF, "", "production went from v3 to v2: it looks odd"),
        (UNEXPLAINED, "", "production went from v2 to v1"),
    ],
)
def test_the_hold_after_a_rollback_names_the_versions_and_who_decided(events, by, reason):
    [hold] = replay(chain(*TWICE, *events)).freezes

    assert (hold.cause, hold.by, hold.reason, hold.until) == (FreezeCause.ROLLBACK, by, reason, None)
    assert f"by {by or 'an automatic rollback'}, until" in str(hold)


def test_a_rollback_to_a_lost_production_holds_too():
    registered_only = of("run-1", opened(1), registered(1), validated())
    [hold] = replay(chain(*registered_only, *of("b", opened(1, purpose=Purpose.ROLLBACK), rolled_back(1)))).freezes

    assert hold.reason == "v1 serves: it looks odd"


def window(start, end, zone=BERLIN, repeats=None, reason="sale"):
    return FreezeWindow(datetime.fromisoformat(start), datetime.fromisoformat(end), reason, zone, repeats)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


ONCE = window("2026-11-26 18:00", "2026-12-01 06:00")
WEEKEND = window("2026-01-02 16:00", "2026-01-05 08:00", repeats=Repeats.WEEKLY)
XMAS = window("2026-12-20 00:00", "2027-01-07 00:00", repeats=Repeats.YEARLY)
# 2026: Berlin's clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
GAP_START, GAP_END = window("2026-03-29 02:30", "2026-03-29 06:00"), window("2026-03-28 22:00", "2026-03-29 02:30")
TWICE_START, TWICE_END = window("2026-10-25 02:30", "2026-10-25 06:00"), window("2026-10-24 22:00", "2026-10-25 02:30")


@pytest.mark.parametrize(
    ("planned", "now", "is_frozen"),
    [
        (ONCE, "2026-11-26 16:59:59", False),
        (ONCE, "2026-11-26 17:00", True),  # 18:00 in Berlin
        (ONCE, "2026-12-01 04:59:59", True),
        (ONCE, "2026-12-01 05:00", False),
        (ONCE, "2027-11-27 12:00", False),
        (window("2026-11-26 18:00", "2026-11-26 19:00", "America/New_York"), "2026-11-26 23:30", True),
        (window("2026-11-26 18:00", "2026-11-26 19:00", "Asia/Kolkata"), "2026-11-26 12:31", True),
        (window("2026-11-26 18:00", "2026-11-26 19:00", "UTC"), "2026-11-26 18:30", True),
        (WEEKEND, "2025-12-27 12:00", False),  # before it began to repeat
        (WEEKEND, "2026-01-03 12:00", True),
        (WEEKEND, "2026-07-03 13:59", False),  # summer: 16:00 in Berlin is 14:00 UTC
        (WEEKEND, "2026-07-03 14:00", True),
        (WEEKEND, "2026-07-06 05:59", True),
        (WEEKEND, "2026-07-06 06:00", False),
        (WEEKEND, "2026-12-04 14:59", False),  # winter: 15:00 UTC
        (WEEKEND, "2026-12-04 15:00", True),
        (WEEKEND, "2040-07-04 12:00", False),  # a Wednesday
        (XMAS, "2026-01-03 12:00", False),
        (XMAS, "2026-12-25 12:00", True),
        (XMAS, "2030-01-03 12:00", True),
        (XMAS, "2030-01-06 22:59", True),
        (XMAS, "2030-01-06 23:00", False),
        (GAP_START, "2026-03-29 00:29", False),
        (GAP_START, "2026-03-29 00:30", True),  # half an hour before a time that does not occur
        (GAP_END, "2026-03-29 01:29", True),
        (GAP_END, "2026-03-29 01:30", False),
        (TWICE_START, "2026-10-25 00:29", False),
        (TWICE_START, "2026-10-25 00:30", True),  # the first time that it is 02:30
        (TWICE_END, "2026-10-25 01:29", True),  # until the second time that it is 02:30
        (TWICE_END, "2026-10-25 01:30", False),
    ],
)
def test_a_window_freezes_in_the_wall_time_of_its_place(planned, now, is_frozen):
    assert (planned.find_freeze(at(now)) is not None) is is_frozen


def test_the_freeze_of_a_window_says_when_it_ends_in_utc():
    assert WEEKEND.find_freeze(at("2026-07-04 12:00")) == Freeze(
        FreezeCause.WINDOW, "sale", WINDOWS_SETTING, "2026-07-03T14:00:00+00:00", "2026-07-06T06:00:00+00:00"
    )
    assert str(ONCE.find_freeze(at("2026-11-27 12:00"))) == (
        "since 2026-11-26 17:00 UTC by release.freeze_windows, until 2026-12-01 05:00 UTC: sale"
    )


def test_a_yearly_window_over_the_end_of_february_ends_on_its_day_in_leap_years_too() -> None:
    wall = datetime.fromisoformat
    planned = FreezeWindow(wall("2026-02-26"), wall("2026-03-01"), "stocktaking", "UTC", Repeats.YEARLY)
    ends = [planned.find_freeze(at(f"{year}-02-27 00:00")).until[:10] for year in (2027, 2028)]
    assert ends == ["2027-03-01", "2028-03-01"]


@settings(max_examples=150, deadline=None)
@given(
    now=st.datetimes(LOCAL_START, LOCAL_START + timedelta(days=3650)).map(lambda moment: moment.replace(tzinfo=UTC)),
    zone=st.sampled_from([BERLIN, "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "UTC"]),
    repeats=st.sampled_from([None, *Repeats]),
    start=st.datetimes(LOCAL_START, LOCAL_START + timedelta(days=365)),
    hours=st.integers(1, 24 * 7),
)
def test_the_freeze_of_a_window_contains_the_moment_and_lasts_as_long_as_the_window(now, zone, repeats, start, hours):
    planned = FreezeWindow(start, start + timedelta(hours=hours), "sale", zone, repeats)
    freeze = planned.find_freeze(now)

    wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if freeze is None:
        assert not planned.start + timedelta(hours=1) < wall < planned.end - timedelta(hours=1)
        return
    since, until = datetime.fromisoformat(freeze.since), datetime.fromisoformat(freeze.until)
    assert since <= now < until
    leap = timedelta(days=1 if repeats is Repeats.YEARLY else 0)  # from a day of February to one of March
    assert -timedelta(hours=1) <= until - since - timedelta(hours=hours) <= timedelta(hours=1) + leap
    assert repeats or abs(since - start.replace(tzinfo=ZoneInfo(zone))) <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"reason": " "}, "reason is empty"),
        ({"start": "2026-11-26T18:00+01:00"}, "start has an offset or is a number"),
        ({"end": "2026-11-26T18:00+01:00"}, "end has an offset or is a number"),
        ({"start": "0026-11-26"}, "start is in the year 26, not in 2000 to 2200"),
        ({"end": "9026-11-26"}, "end is in the year 9026"),
        ({"end": "2026-11-26 18:00"}, "it ends at 2026-11-26 18:00:00, which is not after its start"),
        ({"zone": "Europe/Atlantis"}, "time_zone is 'Europe/Atlantis': it must be a name such as Europe/Berlin"),
        ({"zone": "../etc/passwd"}, "time_zone is"),
        ({"zone": "Europe"}, "time_zone is"),
        ({"zone": ""}, "time_zone is"),
        ({"end": "2026-12-03 18:01", "repeats": Repeats.WEEKLY}, "longer than the time between two weekly windows"),
        ({"end": "2027-11-26 18:01", "repeats": Repeats.YEARLY}, "longer than the time between two yearly windows"),
        ({"start": "2028-02-29", "end": "2028-03-03", "repeats": Repeats.YEARLY}, "start is on 29 February"),
    ],
)
def test_an_impossible_window_is_refused_by_its_field(fields, says):
    with pytest.raises(ValueError, match=says):
        window(**{"start": "2026-11-26 18:00", "end": "2026-12-01 06:00"} | fields)


@pytest.mark.parametrize(
    ("planned", "end"),
    [(Repeats.WEEKLY, "2026-12-03 18:00"), (Repeats.YEARLY, "2027-11-26 18:00")],
)
def test_a_repeated_window_may_be_as_long_as_the_time_between_two(planned, end):
    always = window("2026-11-26 18:00", end, repeats=planned)

    assert all(always.find_freeze(at("2026-11-27 00:00") + timedelta(hours=hour)) for hour in range(0, 24 * 800, 7))


def test_freezes_of_the_ledger_and_of_the_settings_are_refused_together():
    state = replay(chain(*TWICE, *FREEZE))
    now = at("2026-11-27 12:00")
    freezes = find_freezes(state.freezes, (ONCE, WEEKEND), now)

    with pytest.raises(PromotionsFrozenError) as refused:
        require_not_frozen(3, freezes)
    assert refused.value.message == (
        "Refusing to promote v3: promotions are frozen since 2026-03-02 03:12 UTC by ann, until a person resumes them: "
        "Black Friday; and since 2026-11-26 17:00 UTC by release.freeze_windows, until 2026-12-01 05:00 UTC: sale."
    )
    assert "recommender_freeze with freeze off and a reason and wait until 2026-12-01 05:00 UTC" in str(refused.value)


@pytest.mark.parametrize(
    ("events", "windows", "remedy"),
    [
        ((*TWICE, *BACK), (), "Trigger recommender_freeze with freeze off and a reason, then clear the task"),
        (TWICE, (ONCE,), "Wait until 2026-12-01 05:00 UTC (or change the setting release.freeze_windows), then clear"),
    ],
)
def test_the_remedy_of_a_freeze_depends_on_its_cause(events, windows, remedy):
    freezes = find_freezes(replay(chain(*events)).freezes, windows, at("2026-11-27 12:00"))

    with pytest.raises(PromotionsFrozenError) as refused:
        require_not_frozen(3, freezes)
    assert refused.value.remedy.describe(Audience.AIRFLOW).startswith(remedy)


def test_without_a_freeze_nothing_is_refused():
    require_not_frozen(3, find_freezes((), (ONCE,), at("2026-11-01 12:00")))


def test_the_overview_of_the_page_has_every_freeze():
    entries = chain(*TWICE, *FREEZE)

    assert describe_overview(entries, PROJECT, at("2026-11-27 12:00"))["freeze"] == [
        {
            "cause": "person",
            "reason": "Black Friday",
            "by": "ann",
            "since": "2026-03-02T03:12:00+00:00",
            "until": None,
        }
    ]
    shown = describe_overview(chain(*TWICE), PROJECT, at("2026-11-27 12:00"), (ONCE,))["freeze"]
    assert [(freeze["cause"], freeze["until"]) for freeze in shown] == [("window", "2026-12-01T05:00:00+00:00")]
    assert describe_overview(chain(*TWICE), PROJECT, at("2026-11-27 12:00"))["freeze"] == []


def test_the_status_has_a_line_for_each_freeze_which_cannot_forge_another():
    state = replay(chain(*TWICE, *of("f", frozen(reason="a\nb"))))
    shown = summarise(state, PROJECT, freezes=state.freezes)

    assert shown.splitlines()[-2] == (
        "🧊 Promotions are frozen since 2026-03-02 03:12 UTC by ann, until a person resumes them: a\\nb"
    )
    assert "frozen" not in summarise(state, PROJECT)


def test_the_history_shows_who_froze_and_who_resumed_and_why():
    shown = describe_history(chain(*TWICE, *FREEZE, *RESUME)).splitlines()[-2:]

    assert shown[0].endswith('promotions_frozen       freeze-1  reason="Black Friday" by=ann')
    assert shown[1].endswith('promotions_resumed      resume-1  reason="it is over" by=bo')
