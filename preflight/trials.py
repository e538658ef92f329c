"""Trials of the gates: honest weeks, damaged weeks and damaged lists, judged by the product's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from recdeploy_ops.domain.gates.applicability import leave_out
from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.domain.gates.history import judge_history
from recdeploy_ops.domain.gates.lists import judge_lists
from recdeploy_ops.domain.gates.newest import judge_newest
from recdeploy_ops.domain.gates.quality import judge_quality
from recdeploy_ops.domain.gates.training import explained_variance, judge_training
from recdeploy_ops.domain.gates.verdicts import GateReport, Verdict
from recdeploy_ops.domain.recipes import recipe_of
from recdeploy_ops.evaluation.backtests import compare_quality
from recdeploy_ops.evaluation.behaviour import judge_behaviour, measure_behaviour
from recdeploy_ops.evaluation.extracts import measure_data
from recdeploy_ops.evaluation.history import Extracts, measure_history
from recdeploy_ops.evaluation.list_matrix import ListMatrix, jaccard, read_matrix
from recdeploy_ops.evaluation.lists import measure_lists
from recdeploy_ops.training.recommendations import RECOMMENDATIONS
from simulation.shops import SECOND, write_extract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator

    from preflight.weeks import Models, Pair, Week
    from recdeploy_ops.domain.gates.verdicts import Finding
    from recdeploy_ops.evaluation.list_matrix import Matrix
    from recdeploy_ops.settings import Settings
    from simulation.shops import Shop

HELD_OUT_SHARE = 0.2  # of the ratings, by ADS's operator


@dataclass(frozen=True)
class Draw:
    """The models of one trial.

    Attributes:
        candidate: its number among those that are served, and of its two twins.
        champion: likewise, in the champion's week.
        backtests: numbers of the trainings of either side.
    """

    candidate: Sequence[int]
    champion: Sequence[int]
    backtests: tuple[Sequence[int], Sequence[int]]


def draw(pair: Pair, random: Generator, seeds: int, models: Models | None = None) -> Draw:
    """Draw models; those of the candidate from others if they are given."""
    own = models or pair.candidate
    sides = [random.permutation(len(side.backtests))[:seeds].tolist() for side in (pair.champion, own)]
    # A deterministic recipe has one model of a week, which is its own twin.
    served = (np.resize(random.permutation(len(side.lists)), 3) for side in (own, pair.champion))
    candidate, champion = (chosen.tolist() for chosen in served)
    return Draw(candidate, champion, (sides[0], sides[1]))


class Trials:
    """Judges as a release does, from what was trained once.

    Args:
        settings: with the thresholds.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gates = settings.gates
        self._recipe = recipe_of(settings.model)

    def judge_data(self, before: Week, now: Week, shop: Shop) -> tuple[Finding, ...]:
        """Judge an extract of a shop by the gates before training.

        Args:
            before: the champion's week.
            now: today.
            shop: what the queries return today.
        """
        with TemporaryDirectory() as scratch:
            extract = Path(scratch)
            facts = write_extract(shop, extract, self._settings.source)
            return self._leave_out(self._judge_extract(before, now, extract, facts))

    def _judge_extract(
        self, before: Week, now: Week, extract: Path, facts: Mapping[str, object]
    ) -> tuple[Finding, ...]:
        measured = measure_data(extract, self._settings, facts)
        report = judge_data(measured, self._gates, datetime.fromtimestamp(now.end / SECOND, UTC))
        if report.verdict is Verdict.FAIL:
            return report.findings
        history, newest = measure_history(
            Extracts(extract, before.extract, self._settings.source), windows=self._gates.newest.windows
        )
        return (
            *report.findings,
            *judge_history(history, self._gates.history, why=""),
            *judge_newest(newest, self._gates.newest, why="interactions have no timestamps"),
        )

    def judge_candidate(
        self, pair: Pair, drawn: Draw, lists: Matrix | None = None, models: Models | None = None
    ) -> tuple[Finding, ...]:
        """Judge a candidate by the gates after training, without those that need an endpoint.

        Args:
            pair: of weeks.
            drawn: the models of the trial.
            lists: the candidate's, if they are not those that were trained.
            models: of the candidate's recipe, if it is not the settings'.
        """
        own = models or pair.candidate
        chosen, first, second = drawn.candidate
        lists = own.lists[chosen] if lists is None else lists
        twins = [own.lists[first], own.lists[second]]
        findings = (
            *self._judge_lists(pair, drawn, lists, twins[: self._recipe.trainings(len(twins))]),
            self._judge_training(pair, own.measures[chosen], pair.champion.measures[drawn.champion[0]]),
            *self.judge_quality(pair, drawn, [own.backtests[number] for number in drawn.backtests[1]]),
        )
        return self._leave_out(findings)

    def judge_quality(self, pair: Pair, drawn: Draw, candidate: list[Matrix]) -> tuple[Finding, ...]:
        """Judge a backtest; ``candidate`` has the lists of each training."""
        champion = [pair.champion.backtests[number] for number in drawn.backtests[0]]
        facts = compare_quality(champion, candidate, pair.held_out, (0.0, 0.0))
        return (judge_quality(facts, self._gates.quality, why=""),)

    def _leave_out(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return leave_out(GateReport(findings), self._recipe).findings

    def _judge_lists(self, pair: Pair, drawn: Draw, lists: Matrix, twins: list[Matrix]) -> tuple[Finding, ...]:
        chosen, first, second = drawn.champion
        champions = pair.champion.lists
        floor = float(jaccard(champions[first], champions[second]).mean())
        week, source = pair.now, self._settings.source
        with TemporaryDirectory() as scratch:
            results = Path(scratch)
            _write_lists(lists, week, results, (source.user_column, source.item_column, source.rating_column))
            candidate = read_matrix(results, source)
            new_users = [(week.population.items[item].as_py(), 1.0) for item in range(lists.shape[1])]
            measured = measure_lists(
                results, week.extract, settings=self._settings, top_k=lists.shape[1], fallback=new_users
            )
        behaviour = measure_behaviour(
            candidate,
            _as_list_matrix(champions[chosen], pair.before),
            twins,
            week.population,
            fewest_in_slice=self._gates.lists.fewest_in_slice,
        )
        return (
            *judge_lists(measured, min_user_coverage=self._gates.min_user_coverage).findings,
            *judge_behaviour(behaviour, floor, self._gates.lists.of(self._recipe), no_twins="", no_champion=""),
        )

    def _judge_training(self, pair: Pair, own: Mapping[str, float], champion: Mapping[str, float]) -> Finding:
        rows = int(HELD_OUT_SHARE * len(pair.now.shop.interactions))
        return judge_training(explained_variance(own), explained_variance(champion), rows, self._gates.training, why="")


def _as_list_matrix(lists: Matrix, week: Week) -> ListMatrix:
    rows = np.flatnonzero(lists[:, 0] >= 0)
    population = week.population
    return ListMatrix(population.users.take(pa.array(rows)), population.items, lists[rows], np.zeros(len(rows), bool))


def _write_lists(lists: Matrix, week: Week, folder: Path, columns: tuple[str, str, str]) -> None:
    """Write ``recommendations.csv`` with ratings that fall along each list."""
    users, ranks = np.nonzero(lists >= 0)
    table = pa.table(
        {
            columns[0]: week.population.users.take(pa.array(users)),
            columns[1]: week.population.items.take(pa.array(lists[users, ranks])),
            columns[2]: 5 - ranks / lists.shape[1],
        }
    )
    pa.csv.write_csv(table, folder / RECOMMENDATIONS)
