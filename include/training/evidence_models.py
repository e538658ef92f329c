"""ADS's model for recipes that rank items and predict no ratings: the same inputs, outputs and report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import report_creator as rc
from surprise.utils import get_rng

from include.training.models import ArrayModel
from include.training.recipes import Task

if TYPE_CHECKING:
    from include.training.popularity import Ranker
    from include.training.recipes import Trainer

DESCRIPTIONS = {
    "ease": "EASE learns for each pair of items how much having the one speaks for the other, in closed form "
    '(Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019). The same data give the same lists.',
    "als": "ALS for implicit feedback learns factors of users and items from what users took, and how often "
    '(Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008).',
}
NOT_APPLICABLE = (
    "RMSE and MAE do not apply: this recipe ranks items and predicts no ratings. The column of ratings is a monotone "
    "map of its scores onto the scale of the ratings, so that it falls along a list."
)


class EvidenceModel(ArrayModel):
    """A recipe that learns from what users took."""

    def __init__(self, config: Any, datasets: Any, *, recipe: str, trainer: Trainer) -> None:
        """Prepare the training.

        Args:
            config: the operator's.
            datasets: ADS's tables; their interactions become categorical.
            recipe: its name.
            trainer: of the recipe.
        """
        super().__init__(config, datasets)
        self._name, self._trainer = recipe, trainer

    def _train(self) -> tuple[Ranker, dict[str, Any]]:
        trained = self._trainer.train(Task(self._ratings, self._catalogue, self.spec.top_k, get_rng(None)))
        self._write_measures(trained.measures)
        shown = {name: value for name, value in trained.measures.items() if isinstance(value, int | float)}
        return trained.ranker, {"RMSE": "does not apply", "MAE": "does not apply", **shown}

    def _generate_report(self) -> tuple[Any, Any]:
        _, sections = super()._generate_report()
        return rc.Text(f"{DESCRIPTIONS[self._name]} {NOT_APPLICABLE}"), sections
