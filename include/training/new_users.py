"""Compare two lists for new users on held-out users: the recipe's own, and the most popular items.

A fifth of the users is held out. The recipe is trained on the others, and its list for new users and their most popular
items are compared with what each held-out user took. One half of the held-out users chooses between the two lists. The
other half judges, so that the choice does not flatter the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from include.training.learning import learn
from include.training.ndcg import discounts, normalize
from include.training.progress import tell
from include.training.scoring import Scorer

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from include.training.learning import Recipe
    from include.training.trainsets import Ratings

    Floats = NDArray[np.float64]

SHARE = 0.2  # of the users who took anything
MOST_USERS = 5_000  # an interval is then narrow enough
FEWEST_USERS = 30  # in a half; with fewer, Student's interval of a skewed difference is too narrow
LEVEL = 0.95


def compare_lists(
    ratings: Ratings, recipe: Recipe, catalogue: pd.Index[Any], top_k: int, share: float, seed: int
) -> dict[str, Any]:
    """Return how both lists rank what held-out users took; equal arguments give equal numbers.

    Args:
        ratings: all of them.
        recipe: predicts ratings.
        catalogue: distinct item ids; their order decides between equal items.
        top_k: length of a list.
        share: of the other users' ratings to hold out of training, as the recipe does.
        seed: of the draw of users and of the training; both use random numbers of their own.

    Returns:
        ``depth``, the length of a list, and for the halves ``choice`` and ``judged``: ``users``; the mean NDCG of both
        lists, ``operator`` and ``popularity``; and the 95 % interval over users of the second minus the first,
        ``low`` and ``high``. Or only ``why`` nothing was measured, as a clause.
    """
    random = np.random.RandomState(seed)
    columns = _columns_of(ratings, catalogue)
    users = np.unique(ratings.users[columns[ratings.items] >= 0])  # who took anything that can be listed
    drawn = random.permutation(users)[: min(int(SHARE * len(users)), MOST_USERS)]
    if len(drawn) < 2 * FEWEST_USERS:
        return {"why": f"a fifth of the {len(users):,} users with interactions is too few to choose and to judge by"}
    tell(f"Comparing two lists for new users, by {len(drawn):,} users who are held out")
    is_drawn = np.zeros(len(ratings.user_ids), bool)
    is_drawn[drawn] = True
    rows = np.flatnonzero(~is_drawn[ratings.users])
    popular = list_popular(ratings, rows, columns, len(catalogue), top_k)
    with np.errstate(all="ignore"):  # a diverged model is judged, not an error
        factors, _ = learn(ratings, recipe, random, share, lambda: lambda: None, rows=rows)
        own = Scorer(ratings, factors, catalogue).recommend(np.full(1, -1, np.int32), top_k).items
    scores = [_score(ratings, columns, drawn, listed, top_k) for listed in (own, popular)]
    half = (len(drawn) + 1) // 2
    parts = {"choice": slice(None, half), "judged": slice(half, None)}
    return {"depth": top_k, **{name: _compare(*(side[part] for side in scores)) for name, part in parts.items()}}


def list_popular(
    ratings: Ratings, rows: NDArray[np.int64], columns: NDArray[np.int64], items: int, top_k: int
) -> NDArray[np.int64]:
    """Return the items that most users have, as positions in the catalogue; of equally popular ones the earlier first.

    Args:
        ratings: all of them.
        rows: those that count.
        columns: the position of each item code in the catalogue, -1 for none.
        items: of the catalogue.
        top_k: the most items.
    """
    pairs = np.unique(ratings.users[rows].astype(np.int64) * (len(ratings.item_ids) + 1) + ratings.items[rows])
    taken = columns[pairs % (len(ratings.item_ids) + 1)]
    counts = np.bincount(taken[taken >= 0], minlength=items)
    return np.argsort(-counts, kind="stable")[:top_k]


def _columns_of(ratings: Ratings, catalogue: pd.Index[Any]) -> NDArray[np.int64]:
    """Return the position of each item code in the catalogue, -1 for none."""
    return np.asarray(catalogue.get_indexer(ratings.item_ids), np.int64)


def _score(
    ratings: Ratings, columns: NDArray[np.int64], users: NDArray[np.int32], listed: NDArray[Any], top_k: int
) -> Floats:
    """Return the NDCG of one list for each user."""
    numbers = np.full(len(ratings.user_ids), -1, np.int64)
    numbers[users] = np.arange(len(users))
    owners, taken = numbers[ratings.users], columns[ratings.items]
    rows = np.flatnonzero((owners >= 0) & (taken >= 0))
    width = int(columns.max()) + 1
    owners, taken = np.divmod(np.unique(owners[rows] * width + taken[rows]), width)
    gains = np.zeros(max(width, int(listed.max(initial=-1)) + 1))
    gains[listed] = discounts(top_k)[: len(listed)]
    hits = np.bincount(owners, gains[taken], len(users))
    return normalize(hits, np.bincount(owners, minlength=len(users)), top_k)


def _compare(operator: Floats, popularity: Floats) -> dict[str, Any]:
    difference, count = popularity - operator, len(operator)
    mean = float(difference.mean())
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * difference.std(ddof=1) / np.sqrt(count))
    return {
        "users": count,
        "operator": float(operator.mean()),
        "popularity": float(popularity.mean()),
        "low": mean - half,
        "high": mean + half,
    }
