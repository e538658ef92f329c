"""The experiments of preflight: what is damaged, how often, and what the gates said."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from preflight.damaged_lists import LIST_DAMAGES, SMALL_DAMAGES
from preflight.tallies import Tally
from preflight.trials import Trials, draw
from recdeploy_ops.domain.recipes import recipe_of
from simulation.damages import DAMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator

    from preflight.trials import Draw
    from preflight.weeks import Pair, Week
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings

RANDOM_SHARES = (0.1, 0.2, 0.3, 0.5, 1.0)
STALE_WEEKS = (1, 4)


@dataclass(frozen=True)
class TrainedShop:
    """What trials are made on.

    Attributes:
        shop: its name.
        settings: with the thresholds.
        weeks: for the gates before training, in the order of their ends.
        pairs: of successive weeks, with their models.
        step: how many places later the next week stands, whose newest interactions are all later.
        pair_step: likewise, of the pairs.
    """

    shop: str
    settings: Settings
    weeks: Sequence[Week]
    pairs: Sequence[Pair]
    step: int = 1
    pair_step: int = 1


@dataclass(frozen=True)
class Experiment:
    """Some trials of one kind.

    Attributes:
        kind: a name in `KINDS`.
        name: of the damage; empty for none.
        trials: how many.
        seed: of the random numbers.
    """

    kind: str
    name: str
    trials: int
    seed: int


def run(file: Path, experiment: Experiment) -> Tally:
    """Run an experiment on what is pickled in a file by preflight itself."""
    trained = _load(file)
    return KINDS[experiment.kind](trained, experiment, np.random.default_rng(experiment.seed))


@cache
def _load(file: Path) -> TrainedShop:
    trained: TrainedShop = pickle.loads(file.read_bytes())  # noqa: S301 - written by this run, in its temporary folder
    return trained


def _honest_weeks(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    """Judge each week once: there is nothing to draw."""
    trials, tally = Trials(trained.settings), Tally(f"{trained.shop}: data of successive weeks", is_damage=False)
    for before, now in zip(trained.weeks, trained.weeks[trained.step :], strict=False):
        tally.add(trials.judge_data(before, now, now.shop))
    return tally


def _damaged_weeks(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    damage = DAMAGES[experiment.name]
    trials, tally = Trials(trained.settings), Tally(damage.what, is_damage=True, is_missed=damage.is_missed)
    for _ in range(experiment.trials):
        number = int(random.integers(trained.step, len(trained.weeks)))
        before, now = trained.weeks[number - trained.step], trained.weeks[number]
        tally.add(trials.judge_data(before, now, damage.plant(now.shop, before.shop.newest, random)))
    return tally


def _on_pairs(trained: TrainedShop, experiment: Experiment, random: Generator) -> Iterator[tuple[Pair, Draw]]:
    for _ in range(experiment.trials):
        pair = trained.pairs[int(random.integers(len(trained.pairs)))]
        yield pair, draw(pair, random, trained.settings.gates.quality.seeds)


def _honest_pairs(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    trials = Trials(trained.settings)
    tally = Tally(f"{trained.shop}: lists, training and backtest of successive weeks", is_damage=False)
    if recipe_of(trained.settings.model).is_deterministic:  # there is nothing to draw: each pair is judged once
        on_pairs = [(pair, draw(pair, random, 1)) for pair in trained.pairs]
    else:
        on_pairs = list(_on_pairs(trained, experiment, random))
    for pair, drawn in on_pairs:
        tally.add(trials.judge_candidate(pair, drawn))
    return tally


def _damaged_lists(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    damage, trials = (LIST_DAMAGES | SMALL_DAMAGES)[experiment.name], Trials(trained.settings)
    tally = Tally(damage.what, is_damage=True, is_missed=damage.is_missed)
    for pair, drawn in _on_pairs(trained, experiment, random):
        lists = damage.plant(pair.candidate.lists[drawn.candidate[0]], pair.now, random)
        tally.add(trials.judge_candidate(pair, drawn, lists))
    return tally


def _stale_lists(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    """The lists of an older week are offered, for the users and items that both have."""
    back, trials = int(experiment.name), Trials(trained.settings)
    tally = Tally(f"the artifact of {back} week{'s' if back > 1 else ''} before is offered", is_damage=True)
    for _ in range(experiment.trials):
        places = (back - 1) * trained.pair_step
        number = int(random.integers(places, len(trained.pairs)))
        pair, old = trained.pairs[number], trained.pairs[number - places]
        drawn = draw(pair, random, trained.settings.gates.quality.seeds)
        lists = old.champion.lists[int(random.integers(len(old.champion.lists)))]
        tally.add(trials.judge_candidate(pair, drawn, _renumber(lists, old.before, pair.now)))
    return tally


def _renumber(lists: Matrix, old: Week, now: Week) -> Matrix:
    """Return lists with the users and items of a later week; users who are new have none."""
    from recdeploy_ops.evaluation.interactions import positions

    items = np.append(positions(old.population.items, now.population.items), -1).astype(np.int32)
    users = positions(now.population.users, old.population.users)
    return np.where(users[:, None] >= 0, items[lists[users]], np.int32(-1))


def _damaged_recipes(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    tally, trials = Tally(f"training with {experiment.name}", is_damage=True), Trials(trained.settings)
    pairs = [pair for pair in trained.pairs if experiment.name in pair.damaged]
    for _ in range(experiment.trials):
        pair = pairs[int(random.integers(len(pairs)))]
        models = pair.damaged[experiment.name]
        drawn = draw(pair, random, trained.settings.gates.quality.seeds, models)
        tally.add(trials.judge_candidate(pair, drawn, models=models))
    return tally


def _worst_first(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    tally, trials = Tally("the worst items instead of the best", is_damage=True), Trials(trained.settings)
    pairs = [pair for pair in trained.pairs if pair.candidate.whole_lists]
    for _ in range(experiment.trials):
        pair = pairs[int(random.integers(len(pairs)))]
        drawn = draw(pair, random, trained.settings.gates.quality.seeds)
        whole = pair.candidate.whole_lists[int(random.integers(len(pair.candidate.whole_lists)))]
        lists = reverse(whole, pair.candidate.lists[0].shape[1])
        tally.add(trials.judge_candidate(pair, drawn, lists))
    return tally


def _rankers(trained: TrainedShop, experiment: Experiment, random: Generator) -> Tally:
    """Only the backtest is judged: does it tell a bad ranker?"""
    kind, trials, seeds = experiment.name, Trials(trained.settings), trained.settings.gates.quality.seeds
    what = f"backtest of a ranker: {RANKERS[kind]}"
    tally = Tally(what, is_damage=True, is_missed=kind == WEAKEST_RANKER, must_fail=kind in STRONG_RANKERS)
    pairs = [pair for pair in trained.pairs if pair.candidate.whole_backtests]
    for _ in range(experiment.trials):
        pair = pairs[int(random.integers(len(pairs)))]
        drawn = draw(pair, random, seeds)
        whole = pair.candidate.whole_backtests
        lists = [pair.candidate.backtests[number] for number in drawn.backtests[1]]
        depth = lists[0].shape[1]
        if kind == "reversed":
            lists = [reverse(one, depth) for one in whole]
        else:
            share = float(kind)
            lists = [_mix(one, whole[0], share, random) for one in lists]
        tally.add(trials.judge_quality(pair, drawn, lists))
    return tally


RANKERS = {str(share): f"random lists for {share:.0%} of the users" for share in RANDOM_SHARES} | {
    "reversed": "the worst items first"
}
STRONG_RANKERS = ("1.0", "reversed")  # which must FAIL
WEAKEST_RANKER = "0.1"  # which the backtest alone may pass: the twins see random lists


def reverse(whole: Matrix, depth: int) -> Matrix:
    """Return the last items of each list, from the end; shape (users, depth).

    Args:
        whole: every unrated item of each user in order, -1 where there are fewer; shape (users, items).
        depth: length of the lists.
    """
    lengths = (whole >= 0).sum(axis=1)
    places = lengths[:, None] - 1 - np.arange(depth)
    return np.where(places >= 0, np.take_along_axis(whole, np.maximum(places, 0), axis=1), np.int32(-1))


def _mix(lists: Matrix, whole: Matrix, share: float, random: Generator) -> Matrix:
    """Replace the lists of a share of the users by unrated items at random."""
    lists = lists.copy()
    hit = random.choice(len(lists), int(share * len(lists)), replace=False)
    keys = np.where(whole[hit] >= 0, random.random(whole[hit].shape), 2.0)
    order = np.argsort(keys, axis=1)[:, : lists.shape[1]]
    lists[hit] = np.take_along_axis(whole[hit], order, axis=1)
    return lists


KINDS: dict[str, Callable[[TrainedShop, Experiment, Generator], Tally]] = {
    "honest weeks": _honest_weeks,
    "honest pairs": _honest_pairs,
    "damaged weeks": _damaged_weeks,
    "damaged lists": _damaged_lists,
    "stale lists": _stale_lists,
    "damaged recipes": _damaged_recipes,
    "worst first": _worst_first,
    "rankers": _rankers,
}
