r"""Scores of rankings: what share of the nearest are right, how high the right ones stand.

For a query with R right items, of which the one at rank i is right (h_i = 1) or not (0):

    recall@k       1 where any of the first k is right, else 0
    precision@k    (h_1 + ... + h_k) / k
    ndcg@k         Σ_{i<=k} h_i / log2(i + 1), over its largest possible value Σ_{i<=min(k, R)} 1 / log2(i + 1)
                   (Järvelin, Kekäläinen, ACM TOIS 2002, https://doi.org/10.1145/582415.582418)
    map@r          1/R Σ_{i<=R} h_i precision@i      (Musgrave et al. 2020, https://arxiv.org/abs/2003.08505)
    r-precision    precision@R
    mrr            1 / the rank of the first right one, 0 where there is none in the list
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require

__all__ = ["ranking_scores", "tar_at_far"]


def ranking_scores(
    hits: NDArray[np.bool_], right: NDArray[np.int64], ks: tuple[int, ...] = (1, 5, 10)
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return every query's scores.

    Args:
        hits: (Q, K) bool, h; what lies beyond the list counts as wrong, so K should be at least the largest R and k.
        right: (Q,) R, how many right items there are, each >= 1.
        ks: for recall@k, precision@k and ndcg@k.

    Returns:
        The names (M,), and the values (Q, M) float64.

    Raises:
        InputError: on a k < 1, an R < 1, or shapes that do not fit.
    """
    require(min(ks, default=1) >= 1, "ranking_scores", "ks", "numbers >= 1", ks)
    ok = hits.ndim == 2 and right.shape == (len(hits),)
    require(ok, "ranking_scores", "hits and right", "of shapes (Q, K) and (Q,)", f"{hits.shape}, {right.shape}")
    require(bool((right >= 1).all()), "ranking_scores", "right", ">= 1 for every query", int(right.min(initial=1)))
    names = tuple(f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in ks)
    names = (*names, "map@r", "r-precision", "mrr")
    if not len(hits):
        return names, np.empty((0, len(names)))
    depth = hits.shape[1]
    ranks = np.arange(1, depth + 1)
    gains = 1 / np.log2(ranks + 1)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, max(ks, default=1) + 1) + 1))])
    running = np.cumsum(hits, axis=1)
    columns: list[NDArray[Any]] = [np.asarray(hits[:, :k].any(axis=1)) for k in ks]
    columns += [running[:, min(k, depth) - 1] / k for k in ks]
    columns += [(hits[:, :k] * gains[:k]).sum(axis=1) / ideal[np.minimum(k, right)] for k in ks]
    within = hits & (ranks <= right[:, None])
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    columns += [(running / ranks * within).sum(axis=1) / right, within.sum(axis=1) / right, first]
    return names, np.stack(columns, axis=1).astype(np.float64)


def tar_at_far(far: NDArray[np.float64], tar: NDArray[np.float64], limit: float) -> float:
    """Return the largest true-accept rate whose false-accept rate is at most ``limit``, without lines between points.

    Args:
        far: (M,) false-accept rates, ascending.
        tar: (M,) true-accept rates.
        limit: in [0, 1].

    Raises:
        InputError: when the limit is out of range.
    """
    require(0 <= limit <= 1, "tar_at_far", "limit", "in [0, 1]", limit)
    at = int(np.searchsorted(far, limit + 1e-12, side="right")) - 1
    return float(tar[at]) if at >= 0 else 0.0
