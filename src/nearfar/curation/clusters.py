"""Clusters of embeddings by scikit-learn's k-means and HDBSCAN, on rows of length 1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import unit
from nearfar.errors import require

__all__ = ["Clusters", "hdbscan_clusters", "k_means_clusters"]

LARGEST = 50_000
"""Rows beyond which HDBSCAN, whose time grows with their square, is refused."""


class Clusters(NamedTuple):
    """What was found.

    Attributes:
        labels: (N,) int64 cluster of every row, numbered by size, the largest 0; -1 for noise.
        distances: (N,) float32 distance 1 - cos to the mean direction of the cluster; NaN for noise.
        centers: (C, D) float32 mean directions, of length 1.
    """

    labels: NDArray[np.int64]
    distances: NDArray[np.float32]
    centers: NDArray[np.float32]


def k_means_clusters(embeddings_ND: Any, *, clusters: int = 10, seed: int = 0) -> Clusters:
    """Cluster by k-means on the sphere's points.

    The centres are found from at most 20,000 rows, or 256 a cluster where that is more, drawn by the seed: more change
    them little. Every row then goes to the nearest.

    Args:
        embeddings_ND: (N, D) float.
        clusters: how many, at most N.
        seed: of the rows and of the start; the best of 4 starts is taken.

    Raises:
        InputError: on a number out of range, or a wrong shape or value.
    """
    from sklearn.cluster import KMeans

    rows = unit("cluster", embeddings_ND)
    require(1 <= clusters <= len(rows), "cluster", "clusters", f"in [1, {len(rows)}]", clusters)
    model = KMeans(clusters, n_init=4, random_state=seed)
    enough = max(20_000, 256 * clusters)
    if len(rows) <= enough:
        return _numbered(rows, np.asarray(model.fit_predict(rows), dtype=np.int64))
    model.fit(rows[np.sort(np.random.default_rng(seed).choice(len(rows), enough, replace=False))])
    blocks = [model.predict(rows[start : start + 65_536]) for start in range(0, len(rows), 65_536)]
    return _numbered(rows, np.concatenate(blocks).astype(np.int64))


def hdbscan_clusters(embeddings_ND: Any, *, smallest: int = 5, samples: int | None = None) -> Clusters:
    """Cluster by density: the number of clusters follows from the data, and rows in sparse places are noise.

    Campello, Moulavi, Sander, "Density-Based Clustering Based on Hierarchical Density Estimates", PAKDD 2013,
    https://doi.org/10.1007/978-3-642-37456-2_14.

    Args:
        embeddings_ND: (N, D) float; N at most 50,000.
        smallest: rows of the smallest cluster.
        samples: neighbours that tell how dense a place is; ``smallest`` if not given.

    Raises:
        InputError: on a number out of range, or a wrong shape or value.
    """
    from sklearn.cluster import HDBSCAN

    rows = unit("cluster", embeddings_ND)
    fix = "use k-means, or cluster a part"
    require(len(rows) <= LARGEST, "cluster", "rows for HDBSCAN", f"<= {LARGEST:,}", len(rows), fix)
    require(2 <= smallest <= len(rows), "cluster", "smallest", f"in [2, {len(rows)}]", smallest)
    require(samples is None or 1 <= samples <= len(rows), "cluster", "samples", f"in [1, {len(rows)}]", samples)
    model = HDBSCAN(min_cluster_size=smallest, min_samples=samples, copy=True)
    return _numbered(rows, np.asarray(model.fit_predict(rows.astype(np.float64)), dtype=np.int64))


def _numbered(rows: NDArray[np.float32], found: NDArray[np.int64]) -> Clusters:
    names, sizes = np.unique(found[found >= 0], return_counts=True)
    first = {int(name): int(np.argmax(found == name)) for name in names}
    order = sorted(range(len(names)), key=lambda n: (-int(sizes[n]), first[int(names[n])]))
    number = {int(names[old]): new for new, old in enumerate(order)}
    labels = np.array([number.get(int(name), -1) for name in found], dtype=np.int64)
    centers = np.zeros((len(names), rows.shape[1]), dtype=np.float32)
    distances = np.full(len(rows), np.nan, dtype=np.float32)
    for new in range(len(names)):
        inside = np.flatnonzero(labels == new)
        mean = rows[inside].mean(axis=0, dtype=np.float64)
        centers[new] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        distances[inside] = np.clip(1 - rows[inside] @ centers[new], 0, 2)
    return Clusters(labels, distances, centers)
