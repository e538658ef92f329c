"""RMSE and MAE as ``surprise.accuracy`` computes them, bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from include.training.factors import clip, estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from include.training.factors import Factors
    from include.training.trainsets import Ratings


def measure(factors: Factors, ratings: Ratings, rows: NDArray[np.int64]) -> tuple[np.float64, np.float64]:
    """Return RMSE and MAE of the predictions for these rows."""
    inner = factors.inner_users[ratings.users[rows]], factors.inner_items[ratings.items[rows]]
    predicted = clip(estimate(factors, *inner), float(ratings.lowest), float(ratings.highest))
    errors = ratings.values[rows] - predicted
    # float_power calls pow like a scalar's ** 2, whose last bit is not always that of a product.
    rmse = np.float64(np.sqrt(np.mean(np.float_power(errors, 2.0))))
    return rmse, np.float64(np.mean(np.abs(errors)))
