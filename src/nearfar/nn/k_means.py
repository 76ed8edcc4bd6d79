r"""Spherical k-means: clusters of directions, found over all ranks.

Dhillon, Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering", Machine Learning 42, 2001,
https://doi.org/10.1023/A:1007612920971; used by DeepCluster-v2, https://arxiv.org/abs/2006.09882, appendix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.distributed import sum_over_ranks
from nearfar.errors import require

__all__ = ["spherical_k_means"]

_ENTRIES = 1 << 24
"""Scores held at once: 64 MiB."""


@torch.no_grad()
def spherical_k_means(rows: Tensor, centroids: Tensor, *, iterations: int = 10) -> tuple[Tensor, Tensor]:
    r"""Lloyd's iterations on the sphere.

    .. math:: a_i = \arg\max_k z_i \cdot c_k, \qquad c_k \leftarrow \sum_{a_i = k} z_i \Big/ \Bigl\lVert \sum_{a_i = k}
        z_i \Bigr\rVert

    A centroid without rows stays where it is. Every rank gives its own share of the rows and the same centroids to
    start from, and gets the same centroids back.

    Args:
        rows: (N, D) float32, this rank's unit vectors; N may be 0 and may differ between ranks.
        centroids: (K, D) the unit vectors to start from; not changed.
        iterations: >= 0, how often the centroids move; 10 in DeepCluster-v2.

    Returns:
        The (K, D) centroids, and (N,) int64, the number of each row's nearest centroid, the first one of several.

    Raises:
        InputError: shapes or the number of iterations are wrong.
    """
    require(iterations >= 0, "spherical_k_means", "iterations", ">= 0", iterations)
    fits = rows.ndim == 2 and centroids.ndim == 2 and rows.shape[1] == centroids.shape[1] and len(centroids) >= 1
    got = f"{tuple(rows.shape)} and {tuple(centroids.shape)}"
    require(fits, "spherical_k_means", "rows and centroids", "of shapes (N, D) and (K, D), K >= 1", got)
    for _ in range(iterations):
        sums = torch.zeros_like(centroids).index_add_(0, _nearest(rows, centroids), rows)
        sums = sum_over_ranks(sums)
        length = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
        centroids = torch.where(length > 0, sums / torch.where(length > 0, length, 1), centroids)
    return centroids, _nearest(rows, centroids)


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    size = max(1, _ENTRIES // len(centroids))
    starts = range(0, max(1, len(rows)), size)
    return torch.cat([(rows[start : start + size] @ centroids.T).argmax(1) for start in starts])
