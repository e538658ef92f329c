"""A promoted version is watched: it passes, is held, or goes back to the previous champion by itself, once."""

from datetime import timedelta

import pytest
from steps.bakes import LEAST, REQUESTS, baking_run, serve_secretly
from steps.factories import answer_of, served, switch_by_hand, tidy_up

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain import baking
from recdeploy_ops.domain.baking import BakeResult, Health
from recdeploy_ops.domain.errors import (
    AnswerRefusedError,
    ApprovalError,
    BakeHeldError,
    LockHeldError,
    PromotionFailedError,
    PromotionsFrozenError,
    StateMismatchError,
)
from recdeploy_ops.domain.events import (
    BakeEnded,
    BakeStarted,
    BaselineMeasured,
    RollbackCause,
    RolledBack,
    SwitchStarted,
    WindowJudged,
)
from recdeploy_ops.domain.freezes import FreezeWindow
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.release_status import Phase, describe_history, judge
from recdeploy_ops.domain.timelines import summarise_releases, trace_production
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.evaluation import baselines
from recdeploy_ops.rollout.current import read_current
from recdeploy_ops.steps import bake

DEGRADED = Health.DEGRADED


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(baking, "LEAST_REQUESTS", LEAST)


@pytest.fixture
def promoted(context, validated, begin_with, tmp_path):
    """v2 was promoted over v1, and is to be watched."""

    def make():
        validated(2).answer(Decision.PROMOTE)
        baking_run(context, "run-2", tmp_path).promote()

    begin_with("promoted-and-to-bake", make)
    second = baking_run(context, "run-2", tmp_path)
    second.context.refresh()
    return second


def judged(context, run_id="run-2"):
    return [
        entry.event for entry in context.history() if isinstance(entry.event, WindowJudged) and entry.run_id == run_id
    ]


def test_a_version_that_answers_as_it_should_passes(context, promoted):
    assert promoted.bake() == {"bake": "passed", "version": 2}
    windows = judged(promoted.context)
    assert [window.health for window in windows] == [Health.HEALTHY] * 3
    assert all(window.found.requests >= REQUESTS for window in windows)
    assert [len(window.windows) for window in windows] == [1, 2, 3]
    promoted.close()
    release = promoted.context.refresh().releases["run-2"]
    assert (release.outcome, release.require(BakeEnded).result) == ("promoted", BakeResult.PASSED)
    assert served(context) == 2


def test_the_champion_is_measured_before_the_switch_with_three_times_the_requests(promoted):
    release = promoted.context.release
    order = list(release.events)
    measured = release.require(BaselineMeasured)
    assert order.index(BaselineMeasured.type) < order.index(SwitchStarted.type)
    assert (measured.version, measured.baseline.requests) == (1, 3 * REQUESTS)
    assert measured.baseline.is_measured


@pytest.mark.parametrize("what", ["a window begins", "a person freezes", "production is changed by hand"])
def test_what_happens_while_the_champion_is_measured_stops_the_switch(
    context, validated, run, emulator, tmp_path, monkeypatch, what
):
    validated(2).answer(Decision.PROMOTE)
    second = baking_run(context, "run-2", tmp_path)
    start = utc_now().replace(tzinfo=None) - timedelta(hours=1)
    begin = {
        "a window begins": lambda: monkeypatch.setitem(
            second.context.settings.release.__dict__,
            "freeze_windows",
            (FreezeWindow(start, start + timedelta(hours=2), "Black Friday"),),
        ),
        "a person freezes": lambda: run("freeze").freeze(),
        "production is changed by hand": lambda: switch_by_hand(context, emulator, 2),
    }[what]
    measure = baselines.measure_champion

    def measured(*arguments):
        begin()
        return measure(*arguments)

    monkeypatch.setattr(baselines, "measure_champion", measured)
    reason = "somebody changed" if "hand" in what else "promotions are frozen"
    with pytest.raises((PromotionsFrozenError, StateMismatchError), match=reason):
        second.promote()
    assert second.context.refresh().releases["run-2"].get(SwitchStarted) is None


def test_without_a_bake_the_ledger_says_so_at_once(context, approved):
    approved.promote()
    assert approved.bake() == {"bake": "not baked", "version": 2}
    ended = context.refresh().releases["run-2"].require(BakeEnded)
    assert (ended.result, "release.bake_minutes is 0" in ended.reason) == (BakeResult.NOT_BAKED, True)
    assert context.state.releases["run-2"].get(BaselineMeasured) is None


def test_the_first_window_is_judged_when_it_is_over(promoted):
    waiting = bake.advance(promoted.context)
    assert isinstance(waiting, Waiting)
    assert waiting.deployment_id is None
    started = promoted.context.release.require(BakeStarted)
    assert (waiting.deadline - started.at).total_seconds() == 300
    assert bake.advance(promoted.context) == waiting, "a try again waits for the same moment"
    assert judged(promoted.context) == []


def test_a_degraded_version_goes_back_to_the_previous_champion_at_the_same_url(context, promoted, emulator):
    url = promoted.context.state.production.url
    serve_secretly(promoted.context, emulator, 1)
    with pytest.raises(
        PromotionFailedError, match=r"v2 was rolled back automatically: v1 serves again at .*another version"
    ):
        promoted.bake()
    promoted.close()

    state = promoted.context.refresh()
    release = state.releases["run-2"]
    done = release.require(RolledBack)
    assert (done.version, done.cause, done.url) == (1, RollbackCause.AUTOMATIC, url)
    assert (state.production.version, state.previous_champion.version, state.holder) == (1, 2, None)
    assert (release.outcome, release.require(BakeEnded).result) == ("rolled back", BakeResult.ROLLED_BACK)
    assert release.require(WindowJudged).windows == (DEGRADED,) * 3
    assert served(context) == 1
    assert read_current(context.store)["version"] == 1
    assert answer_of(context)["digest"] == state.versions[1].digest


def test_a_rollback_by_itself_is_said_wherever_people_look(promoted, emulator, caplog):
    serve_secretly(promoted.context, emulator, 1)
    with pytest.raises(PromotionFailedError):
        promoted.bake()
    promoted.close()

    entries = promoted.context.history()
    assert "v2 was rolled back automatically: v1 serves at" in caplog.text
    assert "cause=automatic" in describe_history(entries)
    last = trace_production(entries)[-1]
    assert (last.serving.version, last.how, last.by) == (1, "rolled_back", "recdeploy")
    assert "the bake of v2" in last.reason
    assert "the bake of v2" in summarise_releases(entries)[-1].reason
    status = judge(promoted.context.refresh())
    assert status.phase is Phase.DEGRADED
    assert "v2 was degraded and rolled back automatically; v1 serves" in status.message


def test_production_goes_back_once(promoted, emulator):
    serve_secretly(promoted.context, emulator, 1)
    for _ in range(2):
        with pytest.raises(PromotionFailedError, match="rolled back automatically"):
            promoted.bake()
    entries = promoted.context.history()
    assert sum(isinstance(entry.event, RolledBack) for entry in entries) == 1


def test_an_approval_is_used_up_by_an_automatic_rollback(promoted, emulator):
    serve_secretly(promoted.context, emulator, 1)
    with pytest.raises(PromotionFailedError):
        promoted.bake()
    with pytest.raises(ApprovalError, match="This run promoted v2 before, and production now serves v1"):
        promoted.promote()
    promoted.close()
    promoted.plan()
    with pytest.raises(ApprovalError, match="This run promoted v2 before, and production now serves v1"):
        promoted.promote()


def test_a_version_that_was_rolled_back_is_promoted_again_only_by_a_person(context, promoted, emulator, run):
    serve_secretly(promoted.context, emulator, 1)
    with pytest.raises(PromotionFailedError):
        promoted.bake()
    promoted.close()
    promoted.plan()
    with pytest.raises(AnswerRefusedError, match=r"frozen since .* by an automatic rollback"):
        promoted.answer(Decision.PROMOTE, attempt=2)
    run("resume").resume(asked_at=promoted.context.now())
    promoted.answer(Decision.PROMOTE, attempt=3)
    promoted.promote()
    assert promoted.bake() == {"bake": "passed", "version": 2}
    promoted.close()
    assert served(context) == 2
    assert promoted.context.refresh().releases["run-2"].outcome == "promoted"


def test_without_requests_the_bake_holds_and_the_version_stays(context, promoted, emulator, caplog):
    emulator.fail_next("Predict", "status", status=429, times=None)
    with pytest.raises(
        BakeHeldError,
        match=r"v2 stays in production, but its bake could not be passed: .* 3 missing; 0 requests were seen",
    ):
        promoted.bake()
    emulator.clear_faults()
    assert [window.health for window in judged(promoted.context)] == [Health.MISSING] * 3
    assert "is missing" in caplog.text
    promoted.close()
    release = promoted.context.refresh().releases["run-2"]
    assert (release.outcome, release.require(BakeEnded).result) == ("promoted", BakeResult.HELD)
    assert served(context) == 2


def test_server_errors_are_counted_and_a_champion_that_serves_well_comes_back(context, promoted, emulator):
    emulator.fail_next("Predict", "status", status=503, times=3 * REQUESTS)
    with pytest.raises(PromotionFailedError, match="48 of 48 requests ended in a server error"):
        promoted.bake()
    assert served(context) == 1


def test_customers_requests_count_beside_the_probes(context, promoted, emulator):
    waiting = bake.advance(promoted.context)
    ask = context.deployments.sender(promoted.context.state.production.url, timeout_seconds=10)
    emulator.fail_next("Predict", "status", status=500, times=7)
    for _ in range(30):
        ask({"user_id": "nobody"})
    promoted.context.now.reach(waiting.deadline)
    bake.advance(promoted.context)
    found = promoted.context.release.require(WindowJudged).found
    assert (found.requests, found.errors.count) == (REQUESTS + 30, 7)


def test_a_first_production_cannot_go_back_and_is_held(context, validated, emulator, tmp_path):
    first = validated(1)
    first.answer(Decision.PROMOTE)
    first = baking_run(context, "run-1", tmp_path)
    first.promote()
    emulator.fail_next("Predict", "status", status=500, times=3 * REQUESTS)
    with pytest.raises(BakeHeldError, match="there is no previous champion to go back to"):
        first.bake()
    first.close()
    assert served(context) == 1


def test_a_first_production_passes_without_a_baseline(context, validated, tmp_path):
    validated(1).answer(Decision.PROMOTE)
    first = baking_run(context, "run-1", tmp_path)
    first.promote()
    assert first.bake() == {"bake": "passed", "version": 1}


def test_a_rollback_of_a_person_preempts_a_bake(context, promoted, run):
    bake.advance(promoted.context)
    run("back").roll_back()
    assert served(context) == 1
    assert promoted.bake() == {"bake": "preempted", "by": "back", "version": 2}
    promoted.close()
    state = promoted.context.refresh()
    assert (state.releases["run-2"].outcome, state.releases["back"].outcome) == ("promoted", "rolled back")
    assert (state.production.version, served(context)) == (1, 1)


def test_a_release_does_not_preempt_a_bake(promoted, run):
    bake.advance(promoted.context)
    with pytest.raises(
        LockHeldError, match=r"v2 \(run run-2\) has held the release lock .* is being watched in production"
    ):
        run("run-3").plan()


def test_a_bake_that_is_rolling_back_is_not_preempted(promoted, run, emulator):
    serve_secretly(promoted.context, emulator, 1)
    begin_rolling_back(promoted)
    with pytest.raises(LockHeldError):
        run("back").plan_rollback()


def begin_rolling_back(run):
    """Advance the bake until it has requested the switch."""
    while not run.context.release.is_rolling_back:
        waiting = bake.advance(run.context)
        if waiting.deployment_id is None:
            run.context.now.reach(waiting.deadline)


@pytest.mark.parametrize("ending", ["close", "takeover", "plan"])
def test_an_automatic_rollback_whose_run_has_ended_goes_on_to_the_previous_champion(
    context, promoted, emulator, run, ending
):
    serve_secretly(promoted.context, emulator, 1)
    begin_rolling_back(promoted)
    emulator.wait_until_idle()
    match ending:
        case "close":
            promoted.close()
        case "takeover":
            tidy_up(context, ended=True)
        case "plan":
            promoted.plan()
    state = context.refresh()
    assert (state.production.version, served(context)) == (1, 1)
    assert state.releases["run-2"].require(RolledBack).cause is RollbackCause.AUTOMATIC
    if ending != "plan":
        assert (state.holder, state.releases["run-2"].outcome) == (None, "rolled back")


def test_an_automatic_rollback_that_fails_restores_what_served_and_calls_a_person(context, promoted, emulator):
    serve_secretly(promoted.context, emulator, 1)
    emulator.fail_next("UpdateModelDeployment", kind="work_request_failed", message="No capacity")
    failed = (
        r"^PRODUCTION NEEDS A PERSON\. The automatic rollback failed: v2 is degraded, and could not be rolled back to "
        r"v1: v2 serves at .*, verified\. Why: (?s:.)*No capacity"
    )
    with pytest.raises(PromotionFailedError, match=failed):
        promoted.bake()
    promoted.close()
    state = promoted.context.refresh()
    release = state.releases["run-2"]
    assert (release.outcome, release.require(BakeEnded).result) == ("promoted", BakeResult.ROLLBACK_FAILED)
    assert (state.production.version, served(context)) == (2, 2)


def test_a_change_by_hand_during_a_bake_is_not_overwritten(context, promoted, emulator):
    context.deployments.switch_model(
        context.deployments.get(promoted.context.state.production.deployment_id), context.refresh().versions[1].model_id
    )
    emulator.wait_until_idle()
    with pytest.raises(StateMismatchError, match=r"somebody changed .* by hand"):
        promoted.bake()
    assert promoted.context.refresh().releases["run-2"].get(RolledBack) is None
