"""Outliers: rows that lie far from all others."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.curation.neighbours import neighbours
from nearfar.errors import require

__all__ = ["outlier_scores"]


def outlier_scores(
    embeddings_ND: Any, *, k: int = 10, how: Literal["distance", "density"] = "distance"
) -> NDArray[np.float64]:
    """Return how far out every row lies; larger is farther.

    Args:
        embeddings_ND: (N, D) float.
        k: neighbours looked at; of the N - 1 others where there are fewer.
        how: ``"distance"``: mean distance 1 - cos to the k nearest (Ramaswamy, Rastogi, Shim, SIGMOD 2000,
            https://doi.org/10.1145/342009.335437, which takes the k-th). ``"density"``: the local outlier factor, which
            compares a row's density with that of its neighbours, so that a loose cluster is no outlier; about 1 is
            usual (Breunig et al., SIGMOD 2000, https://doi.org/10.1145/342009.335388, eq. 2).

    Returns:
        (N,) float64.

    Raises:
        InputError: on k < 1, an unknown ``how``, fewer than 2 rows, or a wrong shape or value.
    """
    require(how in ("distance", "density"), "outliers", "how", "'distance' or 'density'", repr(how))
    near, found = neighbours(embeddings_ND, k, who="outliers")
    distances = near.astype(np.float64)
    if how == "distance":
        return np.asarray(distances.mean(axis=1))
    reach = np.maximum(distances, distances[:, -1][found])  # reachability: at least the neighbour's own k-distance
    density = 1 / np.maximum(reach.mean(axis=1), 1e-10)
    factor: NDArray[np.float64] = density[found].mean(axis=1) / density
    return factor
