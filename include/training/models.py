"""ADS's recommender model with progress and metrics, and the same model computed from arrays.

All are subclasses of ADS's own and run inside its ``operate()``, which reads the configuration, builds the report and
writes the outputs. ``StockModel`` computes like ADS. ``ExactModel`` gives the same recommendations, metrics and list
for new users, byte for byte, tens to thousands of times sooner depending on size, and accepts data that breaks ADS.
Other recipes are in ``evidence_models.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ads.opctl.operator.lowcode.common.utils import _write_data
from ads.opctl.operator.lowcode.recommender.constant import SupportedMetrics, SupportedModels

# The factory must be imported before the models: they and their base import each other.
from ads.opctl.operator.lowcode.recommender.model.factory import RecommenderOperatorModelFactory, SVDOperatorModel
from surprise import SVD
from surprise.utils import get_rng

from include.training.learning import Recipe, learn
from include.training.new_users import compare_lists
from include.training.progress import Progress, tell
from include.training.scoring import Scorer, usable_cpus
from include.training.sgd import choose_fit
from include.training.trainsets import encode_ratings, hold_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from include.training.factors import Factors, Hyperparameters
    from include.training.learning import Measures
    from include.training.popularity import Ranker
    from include.training.scoring import Lists
    from include.training.sgd import Fit

MEASURES = "measures.json"
NEW_USERS = "new_users.csv"


class OutputError(Exception):
    """The results could not be written."""


@contextlib.contextmanager
def stdout_restored() -> Iterator[None]:
    """Restore standard output, which ADS redirects for good when it writes a file."""
    stdout = sys.stdout
    try:
        yield
    finally:
        if sys.stdout not in {stdout, sys.__stdout__}:
            sys.stdout.close()
        sys.stdout = stdout


@contextlib.contextmanager
def registered(
    model: Callable[..., OperatorModel],
    parameters: Hyperparameters | None = None,
    *,
    name: str = SupportedModels.SVD,
    **options: Any,
) -> Iterator[None]:
    """Let ADS's factory create ``model`` for the duration of the block.

    Args:
        model: created with the keyword arguments ``config`` and ``datasets``.
        parameters: of the SGD; None for a recipe without.
        name: of the recipe, in ADS's report. ADS knows one name, which its factory and its report look up.
        options: other arguments of the model.
    """
    models, stock = RecommenderOperatorModelFactory._MAP, SupportedModels.SVD
    if parameters is not None:
        options["parameters"] = parameters
    unchanged = dict(models)
    models[name] = partial(model, **options)
    SupportedModels.SVD = name
    try:
        yield
    finally:
        SupportedModels.SVD = stock
        models.clear()
        models.update(unchanged)


class OperatorModel(SVDOperatorModel):  # type: ignore[misc]  # ADS has no types
    """ADS's model, which does not hide errors of writing."""

    def _write_measures(self, measures: Mapping[str, Any]) -> None:
        """Write what was measured, for the process that started this one."""
        Path(MEASURES).write_text(json.dumps(measures), encoding="utf-8")

    def _save_report(self, report_sections: Any, result_df: pd.DataFrame) -> None:
        """Let ADS write the report; write the lists without ADS's wrapper, which hides every failure."""
        with stdout_restored():
            super()._save_report(report_sections, result_df.head(0))
        self._write(result_df, self.spec.recommendations_filename)

    def _write(self, frame: pd.DataFrame, name: str) -> None:
        target = os.path.join(self.spec.output_directory.url, name)  # noqa: PTH118 - it may be a URL
        try:
            with stdout_restored():
                _write_data(frame, target, "csv")
        except OSError as err:
            raise OutputError(f"Cannot write {target}: {err}. Check its folder and the space on its disk.") from err


class StockModel(OperatorModel):
    """ADS's model, which also tells its progress and writes its metrics."""

    def __init__(self, config: Any, datasets: Any, parameters: Hyperparameters) -> None:
        super().__init__(config, datasets)
        self.algo = SVD(**parameters.for_surprise())
        self._progress: Progress | None = None

    def _build_model(self) -> tuple[pd.DataFrame, dict[str, np.float64]]:
        tell(f"Fitting {len(self.interactions):,} interactions of {len(self.users):,} users")
        variance = self._variance_of_held_out()
        frame, metrics = super()._build_model()
        learned = (self.algo.bu, self.algo.bi, self.algo.pu, self.algo.qi)
        self._write_measures(describe_errors(metrics, variance, learned))
        tell(f"Scored all users: {len(frame):,} recommendations")
        return frame, metrics

    def _get_recommendations(self, user_id: Any, n: int) -> list[tuple[Any, Any]]:
        self._progress = self._progress or Progress("Scored", len(self.users), "users")
        recommendations: list[tuple[Any, Any]] = super()._get_recommendations(user_id, n)
        self._progress.advance()
        return recommendations

    def _variance_of_held_out(self) -> np.float64:
        """Return the variance of the ratings that ADS is about to hold out; draws no random number."""
        random = np.random.RandomState()
        random.set_state(np.random.get_state())
        rows = hold_out(random, len(self.interactions), self.test_size)[1]
        return np.float64(np.var(self.interactions[self.interaction_column].to_numpy(np.float64)[rows]))


def describe_errors(
    metrics: Mapping[str, np.float64], variance: np.float64, learned: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    """Return the measures of a model that predicts ratings.

    Args:
        metrics: ADS's.
        variance: of the held-out ratings.
        learned: its biases and factors.
    """
    return {
        "rmse": float(metrics[SupportedMetrics.RMSE]),
        "mae": float(metrics[SupportedMetrics.MAE]),
        "variance": float(variance),
        "finite": all(bool(np.isfinite(np.sum(values))) for values in learned),
    }


class ArrayModel(OperatorModel):
    """A model computed from arrays, which also accepts what stops ADS.

    That is: repeated users, a catalogue that everyone has rated, no report.
    """

    def __init__(self, config: Any, datasets: Any) -> None:
        """Replace the ids by codes, and free the rest.

        Args:
            config: the operator's.
            datasets: ADS's tables; their interactions become categorical.
        """
        super().__init__(config, datasets)
        self.spec.interactions_data.data = None  # set by tables.preload_interactions; the report does not need it
        self._ratings = encode_ratings(self.interactions, self.user_id, self.item_id, self.interaction_column)
        codes = {self.user_id: self._ratings.users, self.item_id: self._ratings.items}
        ids = {self.user_id: self._ratings.user_ids, self.item_id: self._ratings.item_ids}
        columns = {name: pd.Categorical.from_codes(codes[name], ids[name]) for name in codes}
        self.interactions: pd.DataFrame = pd.DataFrame(columns, copy=False)
        datasets.interactions = self.interactions  # for the report
        self._catalogue = pd.Index(self.items[self.item_id].unique())

    @abstractmethod
    def _train(self) -> tuple[Ranker, dict[str, Any]]:
        """Train, and return what lists items, and the metrics for the report."""

    def generate_report(self) -> None:
        """Build the model, and the report if it is requested."""
        if self.spec.generate_report:
            super().generate_report()
        else:
            self._save_report([], self._build_model()[0])

    def _build_model(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        tell(f"Fitting {len(self._ratings):,} interactions of {len(self.users):,} users")
        self._scorer, metrics = self._train()
        users = self.users[self.user_id]
        progress = Progress("Scored", len(users), "users")
        lists = self._scorer.recommend(self._codes(users), self.spec.top_k, usable_cpus(), progress.advance)
        self._recommendations = self._frame(users.to_numpy(), lists)
        tell(f"Scored all users: {len(lists.users):,} recommendations")
        if users.is_unique:
            return self._recommendations, metrics
        # The report's heat map has one cell per user and item.
        return self._recommendations.drop_duplicates([self.user_id, self.item_id]), metrics

    def _get_recommendations(self, user_id: Any, n: int) -> list[tuple[Any, Any]]:
        return self._list_of(self._codes(pd.Index([user_id])), n)

    def _list_of(self, code: NDArray[np.int32], top_k: int) -> list[tuple[Any, Any]]:
        lists = self._scorer.recommend(code, top_k)
        return list(zip(self._catalogue[lists.items], self._in_type_of_ratings(lists.scores), strict=True))

    def _codes(self, users: Any) -> NDArray[np.int32]:
        return self._ratings.user_ids.get_indexer(users).astype(np.int32)

    def _frame(self, users: NDArray[Any], lists: Lists) -> pd.DataFrame:
        columns = {
            self.user_id: users[lists.users],
            self.item_id: self._catalogue.to_numpy()[lists.items],
            self.interaction_column: self._in_type_of_ratings(lists.scores),
        }
        return pd.DataFrame(columns, copy=False)

    def _in_type_of_ratings(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        """Return the scores as they are written."""
        return scores

    def _save_report(self, report_sections: Any, result_df: pd.DataFrame) -> None:  # noqa: ARG002 - see _build_model
        super()._save_report(report_sections, self._recommendations)
        rows = self._list_of(np.full(1, -1, np.int32), self.spec.top_k)
        self._write(pd.DataFrame(rows, columns=[self.item_id, self.interaction_column]), NEW_USERS)


class ExactModel(ArrayModel):
    """ADS's model computed from arrays, with the same recommendations, metrics and report, byte for byte."""

    def __init__(
        self,
        config: Any,
        datasets: Any,
        parameters: Hyperparameters,
        *,
        refit: bool = False,
        fit: Fit | None = None,
        ensemble: int = 1,
        new_users_seed: int | None = None,
    ) -> None:
        """Prepare the training.

        Args:
            config: the operator's.
            datasets: ADS's tables; their interactions become categorical.
            parameters: of the SGD.
            refit: whether to train on all ratings once the metrics are measured on those held out.
            fit: how to learn factors; by default the choice of `choose_fit`.
            ensemble: number of models whose predictions are averaged; with one, it is ADS's own.
            new_users_seed: of the comparison of two lists for new users; None for none.
        """
        super().__init__(config, datasets)
        self._recipe = Recipe(parameters, refit, fit or choose_fit(parameters), ensemble)
        self._new_users_seed = new_users_seed

    def _train(self) -> tuple[Ranker, dict[str, Any]]:
        compared = self._compare_new_users()
        factors, measures = self._learn()
        tell(f"RMSE: {measures.rmse:1.4f}")  # in scikit-surprise's words
        tell(f"MAE:  {measures.mae:1.4f}")
        metrics = {SupportedMetrics.RMSE: measures.rmse, SupportedMetrics.MAE: measures.mae}
        self._write_measures(describe_errors(metrics, measures.variance, factors.learned()) | compared)
        return Scorer(self._ratings, factors, self._catalogue), metrics

    def _compare_new_users(self) -> dict[str, Any]:
        """Compare two lists for new users, before the training, as less is in memory then."""
        given = self._ratings, self._recipe, self._catalogue, self.spec.top_k, self.test_size
        return {} if self._new_users_seed is None else {"new_users": compare_lists(*given, self._new_users_seed)}

    def _learn(self) -> tuple[Factors, Measures]:
        def begin() -> Callable[[], None]:
            return Progress("Fitted", self._recipe.parameters.epochs, "epochs").advance

        def refitting() -> None:
            tell(f"Fitting all {len(self._ratings):,} interactions, those held out for the metrics too")

        return learn(self._ratings, self._recipe, get_rng(None), self.test_size, begin, refitting)

    def _in_type_of_ratings(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        """Return integers where ADS does: a clipped score is the bound itself, in the type of the ratings."""
        bounds = [self._ratings.lowest, self._ratings.highest]
        only_bounds = len(scores) > 0 and isinstance(bounds[0], np.integer) and np.isin(scores, bounds).all()
        return scores.astype(np.int64) if only_bounds else scores
