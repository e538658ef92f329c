"""The scenarios of the crash matrix: the steps of a run, and the crashes that are tried at each call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from steps.bakes import baking
from steps.factories import Run

from recdeploy_ops.domain.baking import BakeResult
from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.events import BakeEnded
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.terminal_rollbacks import RollbackRequest
from recdeploy_ops.domain.terminal_rollbacks import plan_rollback as plan_terminal_rollback
from recdeploy_ops.rollbacks import terminal

SLOW_SECONDS = 0.6
FEW_PROBES = 12  # in a window of a bake

STEPS: Mapping[str, Callable[[Run], Any]] = {
    "plan_release": Run.plan,
    "register_model": Run.register_model,
    "deploy_test": Run.deploy_test,
    "promote": Run.promote,
    "reject": Run.reject,
    "bake": lambda run: bake_quickly(run),
    "close_release": Run.close,
    "plan_rollback": Run.plan_rollback,
    "rehearse_rollback": Run.rehearse,
    "roll_back": Run.switch_back,
    "freeze": Run.freeze,
    "resume": Run.resume,
    "housekeeping": lambda run: run.keep_house(),
}
# The steps between those: they are not crashed, as they change nothing in OCI, or a gate judges what TEST answers.
BETWEEN: Mapping[str, Callable[[Run], Any]] = {
    "make candidate": Run.make,
    "approve": lambda run: (run.validate_test(), run.answer(Decision.PROMOTE)),
}


def roll_back_from_terminal(run: Run) -> None:
    """Go back as the command does, once the person has agreed."""
    request = RollbackRequest(2, "it looks odd")
    planned = plan_terminal_rollback(run.context.refresh(), request)
    terminal.TerminalRollback(run.context, request, planned, "ann").run()


def bake_quickly(run: Run) -> None:
    """Bake with a clock that jumps over every wait; an automatic rollback ends the task with an error, and is done."""
    own = Run(baking(run.context, requests=FEW_PROBES), run.run_id, run.database.parent, finish=run.finish)
    try:
        own.bake()
    except PromotionFailedError:
        ended = own.context.refresh().releases[run.run_id].get(BakeEnded)
        if ended is None or ended.result is not BakeResult.ROLLED_BACK:
            raise


# Several steps in one process, which a terminal's command takes.
COMMANDS: Mapping[str, Callable[[Run], Any]] = {"roll back from a terminal": roll_back_from_terminal}
TAKE = {**STEPS, **BETWEEN, **COMMANDS}


@dataclass(frozen=True)
class Scenario:
    """Steps of a run, the version that production serves after them, and the crashes to test."""

    name: str
    run_id: str
    steps: tuple[str, ...]
    version: int
    crashes: tuple[str, ...] = ()  # by name; all of them if it names none
    pruned: tuple[int, ...] = ()  # versions that are not in the catalog afterwards


RELEASE = ("promote", "close_release")
FIRST_WITHOUT_TEST = Scenario("first release without TEST", "run-1", RELEASE, 1)
FIRST = Scenario(
    "first release",
    "run-1",
    ("plan_release", "make candidate", "register_model", "deploy_test", "approve", *RELEASE),
    1,
)
REJECTION = Scenario("rejection", "run-2", ("reject", "close_release"), 1)
PROMOTION = Scenario("promotion over a champion, with a new size", "run-2", RELEASE, 2)
BACK = Scenario("rollback", "back", ("plan_rollback", "rehearse_rollback", "roll_back", "close_release"), 1)
# Not statuses: a probe that gets one is what a bake counts, and it judges one window more.
IN_A_BAKE = ("killed before", "killed after", "response lost", "timeout")
# A release that failed has left its test deployment, whose model is pruned once that is gone; so is v1, which is
# neither the champion nor the one before.
HOUSEKEEPING = Scenario("housekeeping", "housekeeping", ("housekeeping",), 3, pruned=(1, 4))
# The steps of a rollback in one process: only the way in which the command goes on may differ.
BACK_FROM_TERMINAL = Scenario(
    "rollback from a terminal",
    "terminal",
    ("roll back from a terminal",),
    2,
    crashes=("killed before", "killed after", "response lost", "503"),
)
SWITCH_OF_PROMOTIONS = Scenario("freeze and resume", "switch", ("freeze", "resume"), 2)
BAKE = Scenario("bake that passes", "run-2", ("bake", "close_release"), 2, crashes=IN_A_BAKE)
BAKE_BACK = Scenario("bake that rolls back", "run-2", ("bake", "close_release"), 1, crashes=IN_A_BAKE)
SCENARIOS = (
    FIRST_WITHOUT_TEST,
    FIRST,
    REJECTION,
    PROMOTION,
    BAKE,
    BAKE_BACK,
    BACK,
    BACK_FROM_TERMINAL,
    SWITCH_OF_PROMOTIONS,
    HOUSEKEEPING,
)


@dataclass(frozen=True)
class Crash:
    """A fault of the emulator, how often the SDK sends a request again by itself (never, if once), and its call."""

    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1
    nth: int = 0


CRASHES: Mapping[str, Crash] = {
    "killed before": Crash("kill_client_before"),
    "killed after": Crash("kill_client_after"),
    "dropped before": Crash("drop_before"),
    "response lost": Crash("drop_after"),
    "response lost, sent again": Crash("drop_after", attempts=3),
    "timeout": Crash("slow", {"seconds": SLOW_SECONDS}),
    **{str(status): Crash("status", {"status": status}) for status in (409, 412, 429, 500, 503)},
}


@dataclass(frozen=True)
class Case:
    """One crash at one call of one step."""

    scenario: str
    step: int
    nth: int
    operation: str
    crash: str
