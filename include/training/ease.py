"""EASE: an item-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019).

With the evidence X, a row per user and a column per item, the model B minimises ``|X - X B|^2 + lambda |B|^2`` among
all matrices with a zero diagonal. Its solution is ``B = I - P diag(1 / diag(P))`` with ``P = (X'X + lambda I)^-1``.
The scores of a user are their row of ``X B``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from include.training.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from include.training.kernels import Array

COLUMNS = 1 << 10  # of the Gram matrix that are computed at a time


class SingularError(Exception):
    """The Gram matrix cannot be inverted, which a positive regularization prevents but for numbers that overflow."""


def gram_matrix(matrix: Any) -> NDArray[np.float64]:
    """Return ``X'X``, dense; shape (items, items), in Fortran's order, as LAPACK takes it without a copy.

    Args:
        matrix: the evidence X of the items, sparse; shape (users, items).
    """
    items = matrix.shape[1]
    gram = np.empty((items, items), order="F")
    transposed, by_column = matrix.T.tocsr(), matrix.tocsc()
    for first in range(0, items, COLUMNS):
        gram[:, first : first + COLUMNS] = (transposed @ by_column[:, first : first + COLUMNS]).toarray()
    return gram


def solve(gram: NDArray[np.float64], regularization: float, advance: Callable[[], None]) -> NDArray[np.float32]:
    """Return B, a row and a column per item, from the Gram matrix, which is overwritten.

    Cholesky's factorization and the inverse from it run in place, so that the matrix is in memory once. They are
    computed in float64: with float32 the condition of a large Gram matrix leaves few correct digits.

    Args:
        gram: of the items.
        regularization: lambda, positive.
        advance: called after each of three parts.

    Raises:
        SingularError: an overflow, or no positive regularization.
    """
    gram[np.diag_indices_from(gram)] += regularization
    with threadpool_limits(1, "blas"):  # the order of a summation is part of the result
        _, status = lapack.dpotrf(gram, lower=True, clean=False, overwrite_a=True)
        _require(status)
        advance()
        _, status = lapack.dpotri(gram, lower=True, overwrite_c=True)
        _require(status)
        advance()
    weights = np.empty(gram.shape, np.float32)
    divide_by_diagonal(gram.T, weights)  # the transposed is in C's order
    advance()
    return weights


def _require(status: int) -> None:
    if status:
        raise SingularError(f"LAPACK cannot invert the Gram matrix (status {status}): the counts overflow.")


@compiled
def divide_by_diagonal(inverse: Array, weights: Array) -> None:
    """Write ``I - P diag(1 / diag(P))`` into ``weights``.

    Args:
        inverse: P, of which the upper triangle is read.
        weights: gets B, float32.
    """
    for row in range(len(inverse)):
        for column in range(row):
            weights[row, column] = -inverse[column, row] / inverse[column, column]
        weights[row, row] = 0
        for column in range(row + 1, len(inverse)):
            weights[row, column] = -inverse[row, column] / inverse[column, column]
