"""Neighbours among the rows themselves, by faiss's exact search, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.progress import track

__all__ = ["neighbours", "pairs_within", "unit"]

Floats = NDArray[np.float32]

BLOCK = 4_096


def unit(who: str, embeddings_ND: Any) -> Floats:
    """Return the rows at norm 1 (zeros stay zeros), checked.

    Raises:
        InputError: on a wrong shape or a value that is not finite.
    """
    array = np.asarray(embeddings_ND)
    ok = array.ndim == 2 and array.size > 0 and array.dtype.kind in "fiu"
    require(ok, who, "embeddings", "numbers of shape (N, D), N and D > 0", f"{array.dtype} {array.shape}")
    rows = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(rows).all(axis=1)
    got = f"NaN or infinity in row {int(np.argmin(finite))}"
    require(bool(finite.all()), who, "embeddings", "finite", got)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = np.divide(
        rows, np.where(largest > 0, largest, 1), dtype=np.float32
    )  # neither 1e30 overflows nor 1e-30 vanishes
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    divided: Floats = (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
    return divided


def neighbours(embeddings_ND: Any, k: int, *, who: str = "neighbours") -> tuple[Floats, NDArray[np.int64]]:
    """Return every row's k nearest other rows, nearest first.

    Args:
        embeddings_ND: (N, D).
        k: how many; N - 1 where there are fewer.
        who: the function that asks, for errors.

    Returns:
        (N, K) float32 distances 1 - cos, and (N, K) int64 rows.

    Raises:
        InputError: on k < 1, fewer than 2 rows, or a wrong shape or value.
    """
    import faiss

    rows = unit(who, embeddings_ND)
    require(k >= 1, who, "k", ">= 1", k)
    require(len(rows) >= 2, who, "rows", ">= 2", len(rows))
    k = min(k, len(rows) - 1)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    distances, found = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
    for start in track(range(0, len(rows), BLOCK), who, total=-(-len(rows) // BLOCK)):
        part = slice(start, min(start + BLOCK, len(rows)))
        similarity, place = index.search(rows[part], k + 1)
        own = place == np.arange(part.start, part.stop)[:, None]
        own[~own.any(axis=1), -1] = True  # ties: others pushed the row itself out, so the last one goes
        place, similarity = place[~own].reshape(-1, k), similarity[~own].reshape(-1, k)
        far = np.clip(1 - similarity, 0, 2)
        order = np.lexsort((place, far), axis=1)
        distances[part] = np.take_along_axis(far, order, 1)
        found[part] = np.take_along_axis(place, order, 1)
    return distances, found


def pairs_within(
    embeddings_ND: Any, distance: float, *, who: str = "pairs_within"
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Yield all pairs of rows i < j at most ``distance`` apart, block after block.

    Args:
        embeddings_ND: (N, D).
        distance: 1 - cos, in [0, 2).
        who: the function that asks, for errors.

    Raises:
        InputError: on a distance out of range, or a wrong shape or value.
    """
    import faiss

    rows = unit(who, embeddings_ND)
    require(0 <= distance < 2, who, "distance", "in [0, 2)", distance)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    slack = 8 * float(np.finfo(np.float32).eps)  # of a float32 sum of products of unit vectors
    for start in track(range(0, len(rows), BLOCK), who, total=-(-len(rows) // BLOCK)):
        limits, similarity, place = index.range_search(rows[start : start + BLOCK], 1 - distance - slack)
        first = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        keep = first < place
        yield first[keep].astype(np.int64), place[keep].astype(np.int64), np.clip(1 - similarity[keep], 0, 2)
