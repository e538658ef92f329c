"""Run the experiments in two processes, and compare the counts with the goals."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

from preflight.experiments import run
from recdeploy_ops.domain.gates.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from preflight.shop_plans import ShopPlan
    from preflight.tallies import Tally

PROCESSES = 2
# Of honest weeks that are rejected, and that a person must look at; of damage that is not passed.
MOST_WRONG_FAIL, MOST_WRONG_HOLD, MOST_WRONG_HOLD_SIMULATED, LEAST_CAUGHT = 0.01, 0.05, 0.10, 0.95


def run_shops(plans: Sequence[ShopPlan], folder: Path, report: Callable[[str], None]) -> list[Tally]:
    """Train the models of each shop, make its experiments, and return the counts in their order."""
    tallies = []
    for number, shop_plan in enumerate(plans):
        own = folder / str(number)
        own.mkdir()
        trained = shop_plan.prepare(own, report)
        (own / "trained.pickle").write_bytes(pickle.dumps(trained))
        tallies += _run_experiments(own / "trained.pickle", shop_plan, report)
    return tallies


def _run_experiments(trained: Path, shop_plan: ShopPlan, report: Callable[[str], None]) -> list[Tally]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of Arrow and BLAS
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        futures = [pool.submit(run, trained, experiment) for experiment in shop_plan.experiments]
        for number, future in enumerate(as_completed(futures), start=1):
            report(f"{shop_plan.name}: experiment {number} of {len(futures)}: {future.result().what}")
    return [future.result() for future in futures]


def check_goals(tallies: Iterable[Tally]) -> list[str]:
    """Return a line for each goal that is missed."""
    missed = []
    for tally in tallies:
        fails, holds = (tally.verdicts[verdict] / tally.trials for verdict in (Verdict.FAIL, Verdict.HOLD))
        most = MOST_WRONG_HOLD if tally.what.startswith("MovieLens") else MOST_WRONG_HOLD_SIMULATED
        if tally.is_damage and not tally.is_missed and tally.caught < LEAST_CAUGHT:
            missed.append(f"{tally.what}: caught {tally.caught:.0%}, wanted {LEAST_CAUGHT:.0%}")
        if not tally.is_damage and fails > MOST_WRONG_FAIL:
            missed.append(f"{tally.what}: wrongly rejected {fails:.1%}, wanted at most {MOST_WRONG_FAIL:.0%}")
        if not tally.is_damage and holds > most:
            missed.append(f"{tally.what}: wrongly on HOLD {holds:.1%}, wanted at most {most:.0%}")
    return missed
