"""Simulate bakes, and print the table of docs/watching.md: how often healthy and degraded versions are rolled back.

    PYTHONPATH=plugins .venv/bin/python -m preflight.bakes            # about 2 minutes
    PYTHONPATH=plugins .venv/bin/python -m preflight.bakes --quick    # some seconds
    PYTHONPATH=plugins .venv/bin/python -m preflight.bakes --tuning   # on the seeds on which the bounds were chosen

Answers are drawn by `simulation.traffic`; intervals, judgement and decision are the product's own, with the bounds of
`WatchSettings`. Nothing waits. It fails if a goal is missed with as many requests in a window as the settings probe.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recdeploy_ops.domain.baking import BakeMove, Health, decide, judge_window
from recdeploy_ops.evaluation.baselines import BASELINE_WINDOWS
from recdeploy_ops.evaluation.watching import Answers, count_probes, measure, measure_baseline
from recdeploy_ops.settings import WatchSettings
from simulation.traffic import DEGRADATIONS, HEALTHY, draw_window

if TYPE_CHECKING:
    from numpy.random import Generator

    from simulation.traffic import Traffic

REPORTING, TUNING = 30_000, 10_000  # seeds: the bounds were chosen on those of tuning alone
HEALTHY_WINDOWS, RUNS, LONGEST = 10_000, 1_000, 5
LEAST_ROLLED_BACK = 0.95
SIZES = (200, 500, 1_000)
WINDOWS = 6  # of a bake: 30 minutes
BOUNDS = WatchSettings()


@dataclass(frozen=True)
class Row:
    """How often versions of one kind were rolled back.

    Attributes:
        what: the kind.
        requests: in each window.
        runs: bakes.
        windows: in all of them.
        rolled_back: bakes that ended so.
        held: bakes that ended so.
    """

    what: str
    requests: int
    runs: int
    windows: int
    rolled_back: int
    held: int

    @property
    def share(self) -> float:
        """Return the share of bakes that were rolled back."""
        return self.rolled_back / self.runs


def bake(traffic: Traffic, requests: int, windows: int, rng: Generator) -> tuple[BakeMove, int]:
    """Bake a version until the decision, or for a number of windows; return the last move and the windows.

    Args:
        traffic: how it answers; its predecessor is healthy.
        requests: probes in a window.
        windows: at most.
        rng: draws everything.
    """
    baseline = measure_baseline(_draw(HEALTHY, BASELINE_WINDOWS * requests, rng))
    healths: list[Health] = []
    move = BakeMove.CONTINUE
    while move is BakeMove.CONTINUE and len(healths) < windows:
        found = measure(_draw(traffic, requests, rng))
        healths.append(judge_window(found, baseline, BOUNDS).health)
        move = decide(healths, WINDOWS, can_roll_back=True).move
    return move, len(healths)


def bake_healthy(requests: int, windows: int, rng: Generator) -> Row:
    """Bake healthy versions, one after the other, until so many windows were judged."""
    moves: list[BakeMove] = []
    done = 0
    while done < windows:
        move, used = bake(HEALTHY, requests, windows, rng)
        moves.append(move)
        done += used
    return _row("healthy", requests, moves, done)


def bake_degraded(what: str, requests: int, runs: int, rng: Generator) -> Row:
    """Bake versions that are degraded in one way, each for five windows at most."""
    ends = [bake(DEGRADATIONS[what], requests, LONGEST, rng) for _ in range(runs)]
    return _row(what, requests, [move for move, _ in ends], sum(used for _, used in ends))


def bake_missing(requests: int, runs: int, rng: Generator) -> Row:
    """Bake healthy versions of which most windows have too few requests: any three of each five."""
    moves: list[BakeMove] = []
    done = 0
    for _ in range(runs):
        baseline = measure_baseline(_draw(HEALTHY, BASELINE_WINDOWS * requests, rng))
        healths: list[Health] = []
        move = BakeMove.CONTINUE
        lost = set(rng.choice(LONGEST, 3, replace=False).tolist())
        while move is BakeMove.CONTINUE and len(healths) < LONGEST:
            sent = 100 if len(healths) in lost else requests
            healths.append(judge_window(measure(_draw(HEALTHY, sent, rng)), baseline, BOUNDS).health)
            move = decide(healths, WINDOWS, can_roll_back=True).move
        moves.append(move)
        done += len(healths)
    return _row("too few requests in three windows of five", requests, moves, done)


def run(seed: int, *, windows: int, runs: int, sizes: tuple[int, ...] = SIZES) -> list[Row]:
    """Return every row of the table."""
    rows = []
    for place, requests in enumerate(sizes):
        rng = np.random.default_rng(seed + place)
        rows.append(bake_healthy(requests, windows, rng))
        rows += [bake_degraded(what, requests, runs, rng) for what in DEGRADATIONS]
        rows.append(bake_missing(requests, runs, rng))
    return rows


def find_missed(rows: list[Row]) -> list[str]:
    """Return a line for each goal that is missed; degradations must be found with the requests of the settings."""
    missed = []
    for row in rows:
        shown = f"{row.what}, {row.requests} requests in a window: {row.rolled_back} of {row.runs} rolled back"
        if row.what in DEGRADATIONS:
            if row.requests >= BOUNDS.requests and row.share < LEAST_ROLLED_BACK:
                missed.append(shown)
        elif row.rolled_back:
            missed.append(shown)
        if row.what.startswith("too few") and row.held != row.runs:
            missed.append(f"{row.what}: {row.held} of {row.runs} held")
    return missed


def describe(rows: list[Row]) -> str:
    """Return the table in Markdown."""
    sizes = sorted({row.requests for row in rows})
    by_kind: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_kind.setdefault(row.what, {})[row.requests] = row
    lines = [
        f"| production | {' | '.join(f'{size:,} requests' for size in sizes)} |",
        f"| --- |{' ---: |' * len(sizes)}",
    ]
    for what, found in by_kind.items():
        lines.append(f"| {what} | {' | '.join(_cell(found[size]) for size in sizes)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    if row.what in DEGRADATIONS:
        return f"{row.share:.1%}"
    if row.held:
        return f"{row.rolled_back} of {row.runs:,}, {row.held:,} held"
    return f"{row.rolled_back} in {row.windows:,} windows"


def _row(what: str, requests: int, moves: list[BakeMove], windows: int) -> Row:
    return Row(what, requests, len(moves), windows, moves.count(BakeMove.ROLL_BACK), moves.count(BakeMove.HOLD))


def _draw(traffic: Traffic, requests: int, rng: Generator) -> Answers:
    drawn = {**vars(draw_window(traffic, *count_probes(requests), rng))}
    return Answers(answered=drawn.pop("requests"), lost=0, **drawn)


def main() -> int:
    """Print the table, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m preflight.bakes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the bakes")
    parser.add_argument("--tuning", action="store_true", help="the seeds on which the bounds were chosen")
    given = parser.parse_args()
    share = 20 if given.quick else 1
    rows = run(TUNING if given.tuning else REPORTING, windows=HEALTHY_WINDOWS // share, runs=RUNS // share)
    sys.stdout.write(f"{describe(rows)}\n")
    missed = find_missed(rows)
    for line in missed:
        sys.stdout.write(f"MISSED: {line}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
