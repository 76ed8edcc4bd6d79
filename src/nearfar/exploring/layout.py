"""Two coordinates for every item: PaCMAP where it is installed, else principal components; kept for the next time."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError, RunError
from nearfar.files import atomic_path
from nearfar.indexing import normalised
from nearfar.progress import say, track
from nearfar.report import project

__all__ = ["Method", "cache_folder", "layout", "method_for"]

Method = Literal["auto", "pca", "pacmap", "umap"]
Floats = NDArray[np.float32]

FITTED = 60_000
"""Items that a map is fitted to; more are placed between those of them that are nearest."""
FEWEST = 50
"""Below that many PaCMAP has too few neighbours to choose from."""
VERSION = 1
NOTES = {
    "pca": "principal components",
    "pacmap": "PaCMAP: neighbourhoods count, sizes and gaps mean little",
    "umap": "UMAP: neighbourhoods count, sizes and gaps mean little",
}


def method_for(count: int, method: Method = "auto") -> str:
    """Return the method that is used for so many items."""
    if method != "auto":
        return method
    return "pacmap" if count >= FEWEST and importlib.util.find_spec("pacmap") else "pca"


def layout(vectors: Floats, metric: str, *, method: Method = "auto", seed: int = 0, cache: bool = True) -> Floats:
    """Return (N, 2) float32 coordinates.

    Args:
        vectors: (N, D).
        metric: cosine maps directions, every other metric the vectors themselves.
        method: ``auto`` is PaCMAP where it is installed and there are 50 items or more, else PCA.
        seed: of PaCMAP and UMAP.
        cache: keep the coordinates in the user's cache folder, where the same vectors find them again.

    Raises:
        InputError: on an unknown method.
        MissingExtraError: when the method's package is not installed.
    """
    name = method_for(len(vectors), method)
    if name not in NOTES:
        raise InputError(f"explore: method must be auto, pca, pacmap or umap, got {name!r}")
    if len(vectors) < 3:
        return np.column_stack([np.arange(len(vectors)), np.zeros(len(vectors))]).astype(np.float32)
    path = cache_folder() / f"map-{_digest(vectors, metric, name, seed)}.npy"
    if cache and path.exists():
        kept = _kept(path, len(vectors))
        if kept is not None:
            return kept
    x = normalised(vectors) if metric == "cosine" else vectors
    found = project(x, "pca") if name == "pca" else _fitted(x, name, seed)
    if cache and len(vectors) > 2_000:
        _keep(path, found)
    return found


def _fitted(x: Floats, name: str, seed: int) -> Floats:
    """Fit a sample; place the others at the weighted mean of their five nearest of it."""
    if len(x) <= FITTED:
        return _projected(x, name, seed)
    from nearfar.indexing import create

    say(f"map: {name} of {FITTED:,} of {len(x):,} items, the others between their nearest of them")
    chosen = np.sort(np.random.default_rng(seed).choice(len(x), FITTED, replace=False))
    places = _projected(x[chosen], name, seed)
    index = create(x.shape[1], metric="euclidean", backend="faiss")
    index.add([str(row) for row in range(FITTED)], x[chosen])
    found = np.empty((len(x), 2), np.float32)
    for at in track(range(0, len(x), 4_096), "map", step=4_096, total=len(x)):
        near = index.search(x[at : at + 4_096], 5)
        rows = np.array(near.ids).astype(np.int64)
        weights = 1 / (near.distances + 1e-3 * near.distances[:, -1:] + 1e-9)
        weights /= weights.sum(axis=1, keepdims=True)
        found[at : at + 4_096] = (places[rows] * weights[..., None]).sum(axis=1)
    found[chosen] = places
    return found


def _projected(x: Floats, name: str, seed: int) -> Floats:
    if name == "umap":
        from nearfar.errors import extra

        reducer = extra("umap", "umap", "explore").UMAP(random_state=seed)
        return np.asarray(reducer.fit_transform(x), dtype=np.float32)
    return project(x, "pacmap", seed=seed)


def cache_folder() -> Path:
    """Return ``$NEARFAR_CACHE``, else ``nearfar/maps`` in the user's cache folder."""
    given, user = os.environ.get("NEARFAR_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(user) if user else Path.home() / ".cache") / "nearfar" / "maps"


def _digest(vectors: Floats, metric: str, name: str, seed: int) -> str:
    state = hashlib.blake2b(digest_size=12)
    state.update(f"{VERSION} {metric} {name} {seed} {vectors.shape}".encode())
    state.update(np.ascontiguousarray(vectors).data)
    return state.hexdigest()


def _kept(path: Path, count: int) -> Floats | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    fine = found.shape == (count, 2) and found.dtype == np.float32 and bool(np.isfinite(found).all())
    return found if fine else None


def _keep(path: Path, found: Floats) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
    except (OSError, RunError) as error:
        say(f"map: not kept for the next time ({error})")
