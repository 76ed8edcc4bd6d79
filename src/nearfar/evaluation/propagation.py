r"""Label propagation: a few labels spread over the graph of nearest neighbours.

Zhou, Bousquet, Lal, Weston, Schölkopf, "Learning with Local and Global Consistency", NIPS 2003,
https://papers.nips.cc/paper/2506-learning-with-local-and-global-consistency, on the graph of Iscen, Tolias, Avrithis,
Chum, "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, https://arxiv.org/abs/1904.04717:

    affinity   A_ij = max(cos(v_i, v_j), 0)^γ for the k nearest j of i, else 0   (Iscen, equation 7)
    graph      W = A + Aᵀ, S = D^(-1/2) W D^(-1/2), D the degrees
    spreading  F = (I − α S)⁻¹ Y by conjugate gradients                          (Zhou, equation 3; Iscen, equation 10)

Nothing is trained and no test label is needed: it is the cheap baseline for few labels on frozen embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.protocol import Floats, Labels, unit_rows
from nearfar.ranking import chunks, smallest

__all__ = ["label_propagation"]


def label_propagation(
    features: Floats,
    labels_with_minus_one: Labels,
    *,
    k: int = 50,
    alpha: float = 0.99,
    gamma: float = 3.0,
    classes: int | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Floats:
    """Return class probabilities of all rows from the labels of a few.

    Args:
        features: embeddings (N, D) float32; normalised here, so that their product is the cosine.
        labels_with_minus_one: (N,) int64, -1 where unknown; at least one is known.
        k: nearest neighbours of every row, at most N - 1 (fewer rows are taken as they are); 50 as Iscen et al.
        alpha: how much a row takes from its neighbours beside its own label; 0.99 as in both papers.
        gamma: γ, the power of the cosine; 3 as Iscen et al.
        classes: C; one more than the highest label by default.
        tolerance: conjugate gradients stop when no class's residual is above this part of its labels' norm.
        max_iterations: the most steps of conjugate gradients.

    Returns:
        (N, C) float32, rows with the sum 1. A labelled row keeps no privilege: where its neighbours disagree, its
        class may change, as in the papers. A row that no label reaches gets 1 / C everywhere.

    Raises:
        InputError: on a wrong shape, values that are not finite, no known label, alpha outside (0, 1), k < 1, or
            gamma <= 0.
    """
    who = "label_propagation"
    x, y = np.ascontiguousarray(features, dtype=np.float32), np.asarray(labels_with_minus_one)
    require(x.ndim == 2 and len(x) >= 2, who, "features", "of shape (N, D), N >= 2", x.shape)
    require(bool(np.isfinite(x).all()), who, "features", "finite", "NaN or infinity")
    require(y.shape == x.shape[:1] and y.dtype.kind in "iu", who, "labels", f"{len(x)} whole numbers", y.shape)
    require(bool((y >= 0).any()), who, "labels", "known for some rows", "none", "label at least one row")
    require(0 < alpha < 1, who, "alpha", "between 0 and 1", alpha)
    require(gamma > 0, who, "gamma", "> 0", gamma)
    require(k >= 1, who, "k", ">= 1", k)
    count = int(y.max()) + 1 if classes is None else classes
    require(int(y.max()) < count, who, "labels", f"below the {count} classes", int(y.max()))
    known = np.flatnonzero(y >= 0)
    start = np.zeros((len(x), count))
    start[known, y[known]] = 1
    spread = _solve(_graph(x, min(k, len(x) - 1), gamma), start, alpha, tolerance, max_iterations)
    spread = np.maximum(spread, 0)  # the exact solution has no negative entry: what is below 0 is rounding
    total = spread.sum(axis=1, keepdims=True)
    answer: Floats = np.where(total > 0, spread / np.where(total > 0, total, 1), 1 / count).astype(np.float32)
    return answer


def _graph(x: Floats, k: int, gamma: float) -> Any:
    """Return S (N, N), sparse and symmetric, in float64."""
    from scipy import sparse

    rows, count = unit_rows(x), len(x)
    values, columns = np.empty((count, k)), np.empty((count, k), dtype=np.int64)
    for part in chunks(count, count):
        distances = -(rows[part] @ rows.T)
        own = np.arange(count)[part]
        distances[np.arange(len(own)), own] = np.inf
        near, columns[part] = smallest(distances, k)
        values[part] = np.maximum(-near.astype(np.float64), 0) ** gamma
    starts = np.arange(0, count * k + 1, k)
    affinity = sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=(count, count))
    weights = (affinity + affinity.T).tocsr()
    degrees = weights.sum(axis=1)
    scale = sparse.diags_array(np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0))
    return (scale @ weights @ scale).tocsr()


def _solve(graph: Any, start: NDArray[np.float64], alpha: float, tolerance: float, steps: int) -> NDArray[np.float64]:
    """Return (I − α S)⁻¹ Y by conjugate gradients, every class with steps of its own."""
    answer = np.zeros_like(start)
    rest = start.copy()
    way = rest.copy()
    size = np.square(rest).sum(axis=0)
    enough = np.square(tolerance) * size
    for _ in range(steps):
        if (size <= enough).all():
            break
        moved = way - alpha * (graph @ way)
        curve = (way * moved).sum(axis=0)
        length = np.where(curve > 0, size / np.where(curve > 0, curve, 1), 0)
        answer += length * way
        rest -= length * moved
        after = np.square(rest).sum(axis=0)
        way = rest + np.where(size > 0, after / np.where(size > 0, size, 1), 0) * way
        size = after
    return answer
