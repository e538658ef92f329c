"""The weeks of a shop, and the models that trials draw from: each is trained once, by the product's own trainings."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.backtests import collect_held_out, hold_out_last
from recdeploy_ops.evaluation.behaviour import read_population
from recdeploy_ops.evaluation.interactions import positions, read_interactions
from recdeploy_ops.training.gate_models import GateModel, Side, train_gate_models
from simulation.shops import WEEK, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recdeploy_ops.evaluation.backtests import HeldOut
    from recdeploy_ops.evaluation.behaviour import Population
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.training.gate_models import TrainedModels
    from simulation.shops import Shop

CHAMPION, CANDIDATE = "champion", "candidate"
# Kinds of models: whose lists are served, of a backtest, and both with every unrated item in order.
SERVED, BACKTEST, FULL_SERVED, FULL_BACKTEST = "served", "backtest", "full-served", "full-backtest"


DAYS = 7  # of a week


@dataclass(frozen=True)
class Plan:
    """Which models are trained.

    Attributes:
        step: how many places later the second week of a pair stands.
        first_seed: of the models; each has another one.
        served: models of a week whose lists are served, or are twins.
        backtests: trainings of each side of a pair.
        damaged_weeks: pairs for which damaged recipes are trained, too.
        recipes: damaged recipes by name: what differs from the settings.
    """

    first_seed: int
    step: int = 1
    served: int = 10
    backtests: int = 8
    damaged_weeks: int = 0
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Models:
    """Models of one recipe and the same rows, which differ by their seeds only.

    Attributes:
        lists: of the served ones, with the users and items of the week; shape (users, top_k) each.
        measures: of each.
        backtests: lists for the users who are asked, with the item numbers of what was held out.
        whole_lists: of served ones that list every unrated item; empty for most.
        whole_backtests: likewise of backtests.
    """

    lists: list[Matrix]
    measures: list[Mapping[str, float]]
    backtests: list[Matrix]
    whole_lists: list[Matrix]
    whole_backtests: list[Matrix]


@dataclass(frozen=True)
class Week:
    """A shop at the end of a week.

    Attributes:
        end: of the week, in microseconds since 1970, UTC.
        shop: as it was then.
        extract: folder of its extract.
        facts: of the extract's manifest.
        population: the users and items of the extract.
        rated: whether a user has rated an item; shape (users, items).
    """

    end: int
    shop: Shop
    extract: Path
    facts: Mapping[str, Any]
    population: Population
    rated: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Two successive weeks: the champion is of the first, the candidate of the second.

    Attributes:
        before: the champion's week.
        now: the candidate's week.
        held_out: what both sides of the backtest are asked for.
        champion: models of the champion's rows.
        candidate: models of the candidate's rows.
        damaged: models of the candidate's rows with a damaged recipe, by its name.
    """

    before: Week
    now: Week
    held_out: HeldOut
    champion: Models
    candidate: Models
    damaged: Mapping[str, Models]


def write_weeks(shop: Shop, ends: Sequence[int], folder: Path, settings: Settings) -> list[Week]:
    """Write the extract of each week, and return the weeks."""
    weeks = []
    for number, end in enumerate(ends):
        extract, then = folder / f"week-{number}", shop.until(end)
        facts = write_extract(then, extract, settings.source)
        population = read_population(extract, settings.source)
        own = then.interactions
        rated = np.zeros((len(population.users), len(population.items)), bool)
        rated[own.users.within(population.users), own.items.within(population.items)] = True
        weeks.append(Week(end, then, extract, facts, population, rated))
    return weeks


def last_weeks(shop: Shop, count: int, *, skipped: int = 0) -> list[int]:
    """Return the ends of the last weeks, and of the one before them; some may be skipped.

    Raises:
        ValueError: the shop is not so old.
    """
    there, wanted = (shop.newest - int(shop.times.min())) // WEEK, count + skipped
    if there < wanted:
        raise ValueError(f"the interactions of a shop span {there} weeks, and {wanted} are needed")
    return [shop.newest - back * WEEK for back in range(count + skipped, skipped - 1, -1)]


def every_day(ends: Sequence[int]) -> list[int]:
    """Return these ends of weeks and every day between them."""
    return list(range(ends[0], ends[-1] + 1, WEEK // DAYS))


def train_pairs(
    weeks: Sequence[Week], plan: Plan, folder: Path, settings: Settings, report: Callable[[str], None]
) -> list[Pair]:
    """Train the models of each pair of successive weeks, two pairs at a time."""
    pairs = len(weeks) - plan.step

    def train(number: int) -> Pair:
        pair = _train_pair(weeks[number], weeks[number + plan.step], number, plan, folder / f"pair-{number}", settings)
        report(f"trained the models of pair {number + 1} of {pairs}")
        return pair

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(train, range(pairs)))


def _train_pair(before: Week, now: Week, number: int, plan: Plan, folder: Path, settings: Settings) -> Pair:
    recipe = settings.model
    approved = read_interactions(before.extract, settings.source)
    held_out = collect_held_out(approved, hold_out_last(approved, settings.gates.quality))
    sides = {CHAMPION: Side(before.extract, recipe), CANDIDATE: Side(now.extract, recipe)}
    damaged = plan.recipes if number < plan.damaged_weeks else {}
    sides |= {name: Side(now.extract, {**recipe, **change}) for name, change in damaged.items()}
    models = _name_models(plan, sides, number, settings, items=len(now.population.items))
    folder.mkdir(parents=True)
    trained = train_gate_models(folder, sides, models, held_out.pairs, settings=settings, report=lambda _: None)
    by_side = {name: _collect(trained, models, name, held_out) for name in sides}
    return Pair(
        before,
        now,
        held_out,
        champion=by_side[CHAMPION],
        candidate=by_side[CANDIDATE],
        damaged={name: by_side[name] for name in damaged},
    )


def _name_models(
    plan: Plan, sides: Mapping[str, Side], number: int, settings: Settings, *, items: int
) -> list[GateModel]:
    quality = settings.gates.quality
    models: list[GateModel] = []
    for side in sides:
        kinds = [(SERVED, settings.training.top_k)] * plan.served + [(BACKTEST, quality.depth)] * plan.backtests
        if side == CANDIDATE and number < plan.damaged_weeks:
            whole = recipe_of(settings.model).trainings(quality.seeds)
            kinds += [(FULL_SERVED, items), (FULL_BACKTEST, items)] * whole
        for kind, depth in kinds:
            seed = plan.first_seed + 1_000 * number + len(models)
            name = f"{side}.{kind}.{len(models)}"
            models.append(GateModel(name, side, seed, depth, is_backtest=kind in {BACKTEST, FULL_BACKTEST}))
    return models


def _collect(trained: TrainedModels, models: Sequence[GateModel], side: str, held_out: HeldOut) -> Models:
    numbers = np.append(positions(trained.inputs[side].items, held_out.items), -1).astype(np.int32)
    names: dict[str, list[str]] = defaultdict(list)
    for model in models:
        if model.side == side:
            names[model.name.split(".")[-2]].append(model.name)
    return Models(
        lists=[trained.lists[name] for name in names[SERVED]],
        measures=[trained.measures[name] for name in names[SERVED]],
        backtests=[numbers[trained.lists[name]] for name in names[BACKTEST]],
        whole_lists=[trained.lists[name] for name in names[FULL_SERVED]],
        whole_backtests=[numbers[trained.lists[name]] for name in names[FULL_BACKTEST]],
    )
