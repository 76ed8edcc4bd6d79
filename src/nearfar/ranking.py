"""The k smallest of every row, with ties in the order of the columns: one rule for evaluation and for every index.

Only numpy may be imported here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["chunks", "smallest"]

CHUNK_ELEMENTS = 4_000_000
"""Distances held at once by chunked work: 16 MB in float32, 32 MB as sorting keys."""

WIDE = 16
"""From so many times k columns on, a partial sort of the values finds the few that need keys."""


def chunks(rows: int, columns: int, elements: int = CHUNK_ELEMENTS) -> Iterator[slice]:
    """Cut ``rows`` into slices of at most ``elements // columns`` rows (at least one), in order."""
    step = max(1, elements // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def smallest(distances: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k smallest values of every row in ascending order, and the columns they stand in.

    Equal values come in the order of their columns, which a partial sort of the values alone does not promise.

    Args:
        distances: (Q, N) float32 without NaN; N below 2³¹.
        k: how many; at most N.

    Returns:
        Values (Q, k) float32 and columns (Q, k) int64.
    """
    if k < 1 or WIDE * k > distances.shape[1]:
        return _by_keys(distances, k)
    largest = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    among = distances <= largest
    tied = among.sum(axis=1) > k  # more than k are no farther than the k-th: equal ones, of which the first count
    among[tied] = False
    few = np.flatnonzero(among).reshape(-1, k) - np.flatnonzero(~tied)[:, None] * distances.shape[1]
    values, columns = np.empty((len(distances), k), np.float32), np.empty((len(distances), k), np.int64)
    values[~tied], order = _by_keys(np.take_along_axis(distances[~tied], few, axis=1), k)
    columns[~tied] = np.take_along_axis(few, order, axis=1)
    values[tied], columns[tied] = _by_keys(distances[tied], k)
    return values, columns


def _by_keys(distances: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Select by whole numbers that are all different.

    A float's bits, read as an integer, sort like the float; with the column in the low half of a 64-bit key every
    key is different, so the fast unstable selection has only one possible answer.
    """
    bits = (distances + np.float32(0)).view(np.int32)  # adding 0 turns -0 into 0: equal values, equal bits
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = (ordered.astype(np.int64) << 32) | np.arange(distances.shape[1], dtype=np.int64)
    if k < distances.shape[1]:
        keys = np.partition(keys, k, axis=1)[:, :k]
    keys.sort(axis=1)
    ordered = (keys >> 32).astype(np.int32)
    values = (ordered ^ ((ordered >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)
    return values, keys & np.int64(0xFFFFFFFF)
