"""One training of EASE: choose its regularization on a part of the evidence, then solve for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from include.training.ease import gram_matrix, solve
from include.training.evidence import Evidence
from include.training.evidence_scoring import EvidenceScorer
from include.training.ndcg import discounts, normalize
from include.training.scoring import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from include.training.popularity import Shelf

# Lambda. Quality is flat around the best one: a step of this grid costs about 1 % (docs/recipes.md).
GRID = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
DEFAULT = 300.0  # where nothing can be held out
SHARE = 0.2  # of the evidence, held out to choose
PLACES = 100  # of the lists that are judged: long ones have less noise, as in the backtest of the gates
# To choose takes less than to solve for all: lambda depends on the users, hardly on the items.
MOST_ITEMS, MOST_USERS = 3_000, 5_000
PARTS = 3  # that `solve` tells


@dataclass(frozen=True)
class Choice:
    """How lambda was chosen.

    Attributes:
        regularization: lambda.
        quality: mean NDCG@100 of each lambda of `GRID` on the evidence that was held out; empty if there was none.
        users: who were asked.
    """

    regularization: float
    quality: dict[float, float]
    users: int


def fit_ease(
    evidence: Evidence, shelf: Shelf, regularization: float, advance: Callable[[], None] = lambda: None
) -> EvidenceScorer:
    """Return a model that scores the items of a shelf.

    Args:
        evidence: of all users.
        shelf: the items to score.
        regularization: lambda.
        advance: called `PARTS` times.
    """
    known = evidence.known
    weights = solve(gram_matrix(evidence.matrix[:, known]), regularization, advance)
    numbers = np.full(len(shelf.columns), -1, np.int64)
    numbers[known] = np.arange(len(known))
    return EvidenceScorer(evidence, _arrange(weights, shelf, numbers), shelf.columns)


def choose_regularization(evidence: Evidence, advance: Callable[[], None] = lambda: None) -> Choice:
    """Return the lambda of `GRID` that ranks held-out evidence best; it does not depend on any seed.

    Args:
        evidence: of all users.
        advance: called for each lambda.
    """
    random = np.random.RandomState(0)
    part = _most_popular(evidence)
    is_held_out = (random.random_sample(part.nnz) < SHARE) & (part.data > 0)
    kept, held_out = _filtered(part, ~is_held_out), _filtered(part, is_held_out)
    asked = np.flatnonzero((np.diff(kept.indptr) > 0) & (np.diff(held_out.indptr) > 0)).astype(np.int32)
    if not len(asked):
        return Choice(DEFAULT, {}, 0)
    if len(asked) > MOST_USERS:
        asked = np.sort(random.choice(asked, MOST_USERS, replace=False))
    popularity = np.bincount(kept.indices[kept.data > 0], minlength=part.shape[1])
    rest = Evidence(kept, popularity)
    gram, known = gram_matrix(kept[:, rest.known]), rest.known
    columns = np.full(part.shape[1], -1, np.int32)
    columns[known] = np.arange(len(known))
    quality = {}
    for regularization in GRID:
        scorer = EvidenceScorer(rest, solve(gram.copy(order="F"), regularization, lambda: None), columns)
        lists = scorer.recommend(asked, PLACES, usable_cpus())
        quality[regularization] = _ndcg(asked[lists.users], known[lists.items], lists.users, held_out, asked)
        advance()
    return Choice(max(quality, key=lambda chosen: quality[chosen]), quality, len(asked))


def _arrange(weights: NDArray[np.float32], shelf: Shelf, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the weights with a column per item of the shelf."""
    arranged = np.zeros((len(weights), len(shelf.positions)), np.float32)
    codes = np.flatnonzero((shelf.columns >= 0) & (numbers >= 0))
    for row, of_item in enumerate(weights):
        arranged[row, shelf.columns[codes]] = of_item[numbers[codes]]
    return arranged


def _most_popular(evidence: Evidence) -> Any:
    """Return the evidence of the most popular items."""
    chosen = np.argsort(-evidence.popularity, kind="stable")[: min(MOST_ITEMS, len(evidence.known))]
    return evidence.matrix[:, np.sort(chosen)]


def _filtered(matrix: Any, is_kept: NDArray[np.bool_]) -> Any:
    """Return a matrix with these of its entries."""
    starts = np.append(0, np.cumsum(is_kept))[matrix.indptr]
    return sparse.csr_matrix((matrix.data[is_kept], matrix.indices[is_kept], starts), matrix.shape)


def _ndcg(
    users: NDArray[np.int32], items: NDArray[np.int64], rows: NDArray[np.int32], held_out: Any, asked: NDArray[np.int32]
) -> float:
    """Return the mean NDCG of lists.

    Args:
        users: of each listed item.
        items: that are listed, in the columns of ``held_out``.
        rows: of each listed item, the number of its list.
        held_out: what is relevant.
        asked: the user of each list.
    """
    owners = np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))
    width = held_out.shape[1]
    is_hit = np.isin(users.astype(np.int64) * width + items, owners * width + held_out.indices)
    ranks = np.arange(len(rows)) - np.searchsorted(rows, rows)
    gains = np.bincount(rows, np.where(is_hit, discounts(PLACES)[ranks], 0), minlength=len(asked))
    return float(np.mean(normalize(gains, np.diff(held_out.indptr)[asked], PLACES)))
