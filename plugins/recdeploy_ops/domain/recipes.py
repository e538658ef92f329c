"""The recipes by which a model can be made, as far as gates have to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Recipe:
    """A kind of model.

    Attributes:
        name: as the settings and the ledger have it.
        is_deterministic: whether equal rows and settings give equal lists, whatever the seed.
        predicts_ratings: whether it predicts ratings, whose error can be measured, and not only an order.
        settings: the names of those that determine a model, besides its rows, its seed and the length of its lists.
        reads_counts: whether its rows have counts of purchases, clicks or plays instead of ratings.
    """

    name: str
    is_deterministic: bool
    predicts_ratings: bool
    settings: tuple[str, ...]
    reads_counts: bool = False

    def trainings(self, seeds: int) -> int:
        """Return how many trainings show all that chance does: one for a deterministic recipe."""
        return 1 if self.is_deterministic else seeds


SVD = Recipe(
    "svd",
    is_deterministic=False,
    predicts_ratings=True,
    settings=("engine", "factors", "epochs", "learning_rate", "regularization", "refit", "ensemble"),
)
EASE = Recipe("ease", is_deterministic=True, predicts_ratings=False, settings=("implicit",))
ALS = Recipe(
    "als",
    is_deterministic=False,
    predicts_ratings=False,
    settings=("factors", "epochs", "regularization", "weight", "implicit"),
)
RECIPES = {recipe.name: recipe for recipe in (SVD, EASE, ALS)}


def recipe_of(model: Mapping[str, object]) -> Recipe:
    """Return the recipe of a model.

    Args:
        model: its settings, as the ledger has them; without a name of a recipe it is ADS's, SVD.

    Raises:
        KeyError: a later version of this project made it, by a recipe that this one does not know.
    """
    recipe = RECIPES[str(model.get("recipe", SVD.name))]
    return replace(recipe, reads_counts=True) if model.get("implicit") else recipe
