"""The distances, defined once: in float64 from the vectors themselves, then rounded to float32.

A back end finds candidates by whatever is fast; what it reports comes from here. Sums of squared norms, which are fast,
lose the digits of small distances, and every library loses others.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "Metric",
    "normalised",
    "pair_distances",
    "rough_distances",
    "rough_error",
    "side_numbers",
]

Metric = Literal["cosine", "euclidean", "sqeuclidean", "dot"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Floats = NDArray[np.float32]


def pair_distances(metric: Metric, queries_QD: Floats, vectors_QKD: Floats) -> Floats:
    """Return the distances of every query to its own K vectors.

    Args:
        metric: one of ``METRICS``.
        queries_QD: (Q, D) float32.
        vectors_QKD: (Q, K, D) float32.

    Returns:
        (Q, K) float32; the same for a pair whatever stands beside it.
    """
    from nearfar.indexing.measure import measure

    count, k = vectors_QKD.shape[:2]
    flat = np.ascontiguousarray(vectors_QKD, np.float32).reshape(count * k, -1)
    rows = np.arange(count * k, dtype=np.int64).reshape(count, k)
    return measure(metric, np.ascontiguousarray(queries_QD, np.float32), flat, rows)


def side_numbers(metric: Metric, vectors_ND: Floats) -> Floats:
    """Return (N,) float32 for ``rough_distances``: 1 / norm for cosine, the squared norm for the others."""
    squares: NDArray[np.float64] = np.square(vectors_ND, dtype=np.float64).sum(axis=1)
    if metric != "cosine":
        return squares.astype(np.float32)
    inverse: NDArray[np.float64] = np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return inverse.astype(np.float32)


def rough_distances(metric: Metric, queries_QD: Floats, vectors_ND: Floats, side_N: Floats) -> Floats:
    """Return (Q, N) float32 that order like the distances up to ``rough_error``, from one matrix product.

    They are -cos, -q·x, or, for both Euclidean metrics, the squared distance without the query's own square.

    Args:
        metric: one of ``METRICS``.
        queries_QD: (Q, D) float32, for cosine normalised by the caller.
        vectors_ND: (N, D) float32.
        side_N: their ``side_numbers``.
    """
    rough: Floats = queries_QD @ vectors_ND.T
    if metric == "cosine":
        rough *= -side_N
    elif metric == "dot":
        np.negative(rough, out=rough)
    else:
        rough *= -2
        rough += side_N
    return rough


def rough_error(metric: Metric, queries_QD: Floats, largest_square: float) -> NDArray[np.float64]:
    """Bound the error of ``rough_distances`` (and of any float32 sum of the same terms), per query (Q,).

    The rounding errors of a float32 sum of D products grow like √D ε times the norms; eight times that is allowed.

    Args:
        metric: one of ``METRICS``.
        queries_QD: (Q, D) float32, for cosine normalised.
        largest_square: the largest squared norm of any vector; unused for cosine.
    """
    growth = 8 * float(np.finfo(np.float32).eps) * float(np.sqrt(queries_QD.shape[1]))
    squares = np.square(queries_QD, dtype=np.float64).sum(axis=1)
    if metric == "cosine":
        return np.full(len(queries_QD), growth)
    if metric == "dot":
        return np.asarray(growth * np.sqrt(squares * largest_square))
    return np.asarray(growth * (squares + largest_square))


def normalised(vectors_ND: Floats) -> Floats:
    """Return the rows at norm 1, zeros as zeros."""
    return vectors_ND * side_numbers("cosine", vectors_ND)[:, None]
