"""The shops on which preflight makes its trials, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from preflight.damaged_lists import LIST_DAMAGES, SMALL_DAMAGES
from preflight.experiments import KINDS, RANKERS, STALE_WEEKS, Experiment, TrainedShop
from preflight.weeks import DAYS, Plan, every_day, last_weeks, train_pairs, write_weeks
from recdeploy_ops.domain.recipes import RECIPES
from recdeploy_ops.settings import DEFAULT_PATH, load_settings
from simulation.damages import DAMAGES
from simulation.files import read_shop
from simulation.generated import end_of_week, generate_shop
from simulation.synthetic import make_synthetic_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from recdeploy_ops.settings import Settings
    from simulation.shops import Shop

# What is wrong in the settings of each recipe; EASE has none.
WRONG_SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "svd": {
        "a learning rate of 0.5": {"learning_rate": 0.5},
        "a learning rate of 0.00005": {"learning_rate": 0.00005},
        "1 factor": {"factors": 1},
        "1 epoch": {"epochs": 1},
    },
    "ease": {},
    "als": {
        "a regularization of 100,000": {"regularization": 100_000},
        "1 factor": {"factors": 1},
        "1 epoch": {"epochs": 1},
    },
}
FIRST_DAY = date(2026, 1, 5)
# The thresholds were chosen on the latest ten weeks of MovieLens and on the shops and seeds of TUNING, which are never
# reported; `Scope.is_tuning` shows them.
TUNING_SHOP, REPORTED_SHOP = 0, 1
TUNING_SEED, REPORTED_SEED = 0, 500_000


@dataclass(frozen=True)
class Scope:
    """How much is tried.

    Attributes:
        pairs: of successive weeks on MovieLens and on the generated store.
        served: models of a week whose lists are served.
        backtests: trainings of each side of a pair.
        honest: trials on successive weeks.
        damaged: trials of each damage.
        data_weeks: weeks of the generated store for the gates before training.
        recipe: by which all models are trained.
        is_tuning: whether the weeks and seeds are those on which the thresholds were chosen.
    """

    pairs: int = 10
    served: int = 10
    backtests: int = 8
    honest: int = 200
    damaged: int = 100
    data_weeks: int = 31
    recipe: str = "svd"
    is_tuning: bool = False


QUICK = Scope(pairs=2, served=6, backtests=6, honest=20, damaged=5, data_weeks=6)


@dataclass(frozen=True)
class ShopPlan:
    """A shop, before its models are trained.

    Attributes:
        name: of the shop.
        shop: its whole life.
        ends: of the weeks whose models are trained; of a deterministic recipe, which has nothing to draw, those of
            real shops end on every day, too.
        data_ends: of the weeks of the gates before training; those of real and synthetic shops end on every day, so
            that one busy week does not decide.
        settings: with the thresholds.
        plan: of the trainings.
        step: places between the ends of successive weeks in ``data_ends``.
        experiments: what is tried.
    """

    name: str
    shop: Shop
    ends: Sequence[int]
    data_ends: Sequence[int]
    settings: Settings
    plan: Plan
    step: int = 1
    experiments: Sequence[Experiment] = ()

    def prepare(self, folder: Path, report: Callable[[str], None]) -> TrainedShop:
        """Write the extracts and train the models."""
        report(f"{self.name}: writing the extracts of {len(self.data_ends)} weeks")
        weeks = write_weeks(self.shop, self.data_ends, folder / "data", self.settings)
        if self.ends == self.data_ends:
            trained_weeks = weeks
        else:
            trained_weeks = write_weeks(self.shop, self.ends, folder / "trained", self.settings)
        pairs = train_pairs(trained_weeks, self.plan, folder / "models", self.settings, report)
        return TrainedShop(self.name, self.settings, weeks, pairs, self.step, self.plan.step)


def plan_shops(movielens: Path | None, scope: Scope, only: Collection[str] = KINDS) -> list[ShopPlan]:
    """Return the shops: real ratings if there are any, the demo's generated store, and a synthetic shop.

    Damage is planted in the first of them.

    Args:
        movielens: a folder of CSV files as `read_shop` reads them; None for none.
        scope: how much is tried.
        only: kinds of experiments.

    Raises:
        FileNotFoundError: a file of ``movielens`` is missing.
        KeyError: a column is missing.
        ValueError: a rating or a time is not a number, or a shop is not old enough for so many weeks.
    """
    # First, as a mistake in these files is found at once.
    real = None if movielens is None else read_shop(movielens, segment="occupation")
    number = TUNING_SHOP if scope.is_tuning else REPORTED_SHOP
    plans = [_generated(scope, seed=8 + number)]
    if scope.pairs > QUICK.pairs:
        shop = make_synthetic_shop(seed=number)
        ends = last_weeks(shop, scope.pairs // 2)
        days = every_day(ends)
        plans.append(ShopPlan("synthetic shop", shop, ends, days, _settings(None, scope), _plan(scope), DAYS))
    if real is not None:
        ends = last_weeks(real, scope.pairs, skipped=0 if scope.is_tuning else 10)
        days, plan = every_day(ends), _plan(scope)
        if RECIPES[scope.recipe].is_deterministic:
            ends, plan = days, replace(plan, step=DAYS)
        plans.insert(0, ShopPlan("MovieLens-100k", real, ends, days, _settings("segment", scope), plan, DAYS))
    planned = []
    for place, shop_plan in enumerate(plans):
        seed = 100_000 * number + 1_000 * place
        experiments = [Experiment("honest weeks", "", 1, seed), Experiment("honest pairs", "", scope.honest, seed + 1)]
        plan = shop_plan.plan
        if place == 0:
            # On the generated store SVD ranks no better than at random: nothing tells random lists from its own.
            experiments += _plan_damages(scope, seed + 2, RANKERS if real is not None else ())
            damaged = set(only) & {"damaged recipes", "worst first", "rankers"}
            wrong = WRONG_SETTINGS[scope.recipe]
            plan = replace(plan, damaged_weeks=2 if damaged else 0, recipes=wrong)
        wanted = [experiment for experiment in experiments if experiment.kind in only]
        planned.append(replace(shop_plan, plan=plan, experiments=wanted))
    return planned


def _plan_damages(scope: Scope, seed: int, rankers: Iterable[str]) -> list[Experiment]:
    named = [
        *(("damaged weeks", name) for name in DAMAGES),
        *(("damaged lists", name) for name in LIST_DAMAGES),
        *(("stale lists", str(weeks)) for weeks in STALE_WEEKS if weeks <= scope.pairs),
        *(("damaged recipes", name) for name in WRONG_SETTINGS[scope.recipe]),
        ("worst first", ""),
        *(("rankers", name) for name in rankers),
        *(("damaged lists", name) for name in SMALL_DAMAGES),
    ]
    return [Experiment(kind, name, scope.damaged, seed + number) for number, (kind, name) in enumerate(named)]


def _generated(scope: Scope, seed: int) -> ShopPlan:
    shop = generate_shop(FIRST_DAY, seed=seed)
    ends = [end_of_week(FIRST_DAY, week) for week in range(scope.pairs + 1)]
    data_ends = [end_of_week(FIRST_DAY, week) for week in range(scope.data_weeks + 1)]
    return ShopPlan("generated store", shop, ends, data_ends, _settings("segment", scope), _plan(scope))


def _plan(scope: Scope) -> Plan:
    seed = TUNING_SEED if scope.is_tuning else REPORTED_SEED
    recipe = RECIPES[scope.recipe]
    return Plan(seed, served=recipe.trainings(scope.served), backtests=recipe.trainings(scope.backtests))


def _settings(segment: str | None, scope: Scope) -> Settings:
    settings = load_settings(DEFAULT_PATH)
    source = settings.source.model_copy(update={"segment_column": segment})
    training = settings.training.model_copy(update={"recipe": scope.recipe})
    return settings.model_copy(update={"source": source, "training": training})
