"""From embeddings to the two coordinates of a map."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import extra, require

__all__ = ["project"]


def project(
    embeddings: NDArray[Any], method: Literal["pca", "tsne", "pacmap"] = "pca", *, seed: int = 0
) -> NDArray[np.float32]:
    """Return two coordinates for every embedding.

    PCA is exact and the same everywhere, and keeps what is globally far apart far apart; t-SNE (perplexity 30,
    https://jmlr.org/papers/v9/vandermaaten08a.html) and PaCMAP (https://jmlr.org/papers/v22/20-1061.html) show
    neighbourhoods better, and sizes of and distances between their clusters mean little.

    Args:
        embeddings: (N, D) numbers, N >= 2; normalise them before for a map of cosine distances.
        method: ``"pca"`` and ``"tsne"`` are scikit-learn's; ``"pacmap"`` needs the package of that name.
        seed: for t-SNE and PaCMAP.

    Returns:
        (N, 2) float32.

    Raises:
        InputError: on another shape, values that are not finite, or an unknown method.
        MissingExtraError: when PaCMAP is asked for and not installed.
    """
    values = np.asarray(embeddings, dtype=np.float32)
    require(values.ndim == 2 and len(values) >= 2, "project", "embeddings", "of shape (N >= 2, D)", values.shape)
    require(bool(np.isfinite(values).all()), "project", "embeddings", "finite", "NaN or infinity")
    known = ("pca", "tsne", "pacmap")
    require(method in known, "project", "method", f"one of {', '.join(known)}", repr(method))
    if values.shape[1] < 2:
        values = np.pad(values, ((0, 0), (0, 2 - values.shape[1])))
    if method == "pacmap":
        logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of every seed
        reducer = extra("pacmap", "pacmap", "project").PaCMAP(n_components=2, random_state=seed)
        return np.asarray(reducer.fit_transform(values, init="pca"), dtype=np.float32)
    if method == "tsne":
        from sklearn.manifold import TSNE

        reducer = TSNE(perplexity=min(30.0, (len(values) - 1) / 3), init="pca", random_state=seed)
    else:
        from sklearn.decomposition import PCA

        reducer = PCA(2, svd_solver="full")
    return np.asarray(reducer.fit_transform(values), dtype=np.float32)
