"""What the events of a bake mean: who may preempt it, what an automatic rollback voids, and how the release ends."""

from __future__ import annotations

import pytest
from events import (
    answered,
    asked,
    backed_up,
    bake_ended,
    bake_started,
    baseline_measured,
    chain,
    champion_restored,
    closed,
    complete,
    of,
    opened,
    promoted,
    registered,
    rehearsed,
    restore_started,
    rolled_back,
    switch_failed,
    switch_started,
    validated,
    window_judged,
)

from recdeploy_ops.domain.baking import BakeResult
from recdeploy_ops.domain.errors import ApprovalError, SettingsError
from recdeploy_ops.domain.events import (
    BakeEnded,
    BakeStarted,
    BaselineMeasured,
    Promoted,
    ReleaseOutcome,
    RollbackCause,
    RolledBack,
    SwitchFailed,
    WindowJudged,
)
from recdeploy_ops.domain.release_plan import choose_target, lock_held, require_unused
from recdeploy_ops.domain.release_status import Phase, judge
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.terminal_rollbacks import RollbackRequest, plan_rollback
from recdeploy_ops.domain.timelines import summarise_releases, trace_production
from recdeploy_ops.rollout.closing import decide_outcome
from recdeploy_ops.rollout.locks import can_be_preempted

RUN = "run-2"
BEFORE = (opened(2, champion=1), backed_up(), rehearsed(), registered(2), validated(), asked(2), answered(version=2))
PROMOTED = (*BEFORE, baseline_measured(), switch_started(2), promoted(2))
BAKING = (*PROMOTED, bake_started(), window_judged())
ROLLING_BACK = (*BAKING, switch_started(1))
BACK = rolled_back(1, cause=RollbackCause.AUTOMATIC, reason="the bake of v2: 20 of 1000 requests failed")
GONE_BACK = (*ROLLING_BACK, BACK, bake_ended(result=BakeResult.ROLLED_BACK))


def state_of(*events):
    return replay(chain(*complete(1), *of(RUN, *events)))


@pytest.mark.parametrize(
    ("events", "bakes", "rolls_back"),
    [
        (PROMOTED, False, False),
        (BAKING, True, False),
        ((*BAKING, bake_ended()), False, False),
        (ROLLING_BACK, False, True),
        ((*ROLLING_BACK, BACK), False, False),
        (PROMOTED[:-1], False, False),
    ],
    ids=["promoted", "baking", "passed", "rolling back", "rolled back", "switching"],
)
def test_a_release_can_be_preempted_while_it_only_bakes(events, bakes, rolls_back) -> None:
    state = state_of(*events)
    release = state.releases[RUN]
    assert (release.is_baking, release.is_rolling_back) == (bakes, rolls_back)
    assert can_be_preempted(state, "back") is bakes
    assert not can_be_preempted(state, RUN)


def test_who_waits_for_the_lock_is_told_that_it_bakes() -> None:
    state = state_of(*BAKING)
    assert "and is being watched in production" in lock_held(state.releases[RUN]).message
    plan = plan_rollback(state, RollbackRequest(1, "it looks odd"))
    assert "The rollback preempts it." in "\n".join(plan.summary)
    assert judge(state).message == "v2 is in production and being watched; v2 serves."


def test_the_switch_back_voids_neither_the_promotion_nor_the_bake() -> None:
    release = state_of(*GONE_BACK).releases[RUN]
    for kind in (BaselineMeasured, Promoted, BakeStarted, WindowJudged, RolledBack, BakeEnded):
        assert release.get(kind), kind


def test_a_switch_back_that_fails_voids_neither_and_the_release_stays_promoted() -> None:
    failed = (*ROLLING_BACK, switch_failed(), restore_started(2), champion_restored(2))
    state = state_of(*failed)
    release = state.releases[RUN]
    assert (release.open_switch, release.get(RolledBack)) == (None, None)
    assert all(release.get(kind) for kind in (Promoted, BakeStarted, SwitchFailed))
    assert decide_outcome(state, release) is ReleaseOutcome.PROMOTED


def test_a_switch_back_that_begins_again_voids_its_failure() -> None:
    assert state_of(*ROLLING_BACK, switch_failed(), switch_started(1)).releases[RUN].get(SwitchFailed) is None


def test_an_approval_does_not_count_again_after_an_automatic_rollback() -> None:
    state = state_of(*GONE_BACK)
    with pytest.raises(ApprovalError, match="This run promoted v2 before, and production now serves v1"):
        require_unused(state, state.releases[RUN])


def test_it_does_not_count_again_when_the_release_is_reopened_either() -> None:
    end = closed(ReleaseOutcome.ROLLED_BACK, version=2)
    state = state_of(*GONE_BACK, end, opened(2, champion=1, opening=2))
    assert state.releases[RUN].get(BakeStarted) is None
    with pytest.raises(ApprovalError):
        require_unused(state, state.releases[RUN])


def test_previous_never_means_a_version_that_was_rolled_back_automatically() -> None:
    state = state_of(*GONE_BACK, closed(ReleaseOutcome.ROLLED_BACK, version=2))
    with pytest.raises(SettingsError, match=r"v1 serves since production went back from v2"):
        choose_target(state, "previous")
    assert choose_target(state, 2).number == 2, "a person may name it"


def test_a_release_that_was_rolled_back_ends_so() -> None:
    state = state_of(*GONE_BACK)
    assert decide_outcome(state, state.releases[RUN]) is ReleaseOutcome.ROLLED_BACK
    assert (state.production.version, state.previous_champion.version) == (1, 2)


def test_the_history_says_that_nobody_asked_for_it_and_why() -> None:
    entries = chain(*complete(1), *of(RUN, *GONE_BACK, closed(ReleaseOutcome.ROLLED_BACK, version=2)))
    last = trace_production(entries)[-1]
    assert (last.serving.version, last.by, last.reason) == (1, "recdeploy", BACK.reason)
    summary = summarise_releases(entries)[-1]
    assert (summary.version, summary.outcome, summary.reason) == (2, "rolled back", BACK.reason)
    status = judge(replay(entries))
    assert status.phase is Phase.DEGRADED
    assert status.message == "v2 was degraded and rolled back automatically; v1 serves."


def test_a_new_approval_begins_with_a_new_baseline_and_a_new_bake() -> None:
    release = state_of(*BAKING, asked(2)).releases[RUN]
    assert [release.get(kind) for kind in (BaselineMeasured, Promoted, BakeStarted, WindowJudged)] == [None] * 4
