"""The one distance in compiled loops: query against numbered rows, in float64, rounded once at the end.

The order of the additions is written out (eight running sums, then a fixed tree), so a pair has the same distance
whatever stands beside it and however many threads there are. Only numba and numpy may be imported here.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["measure"]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _dot(a: Any, b: Any, n: int) -> float:
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    i = 0
    while i + 8 <= n:
        s0 += np.float64(a[i]) * np.float64(b[i])
        s1 += np.float64(a[i + 1]) * np.float64(b[i + 1])
        s2 += np.float64(a[i + 2]) * np.float64(b[i + 2])
        s3 += np.float64(a[i + 3]) * np.float64(b[i + 3])
        s4 += np.float64(a[i + 4]) * np.float64(b[i + 4])
        s5 += np.float64(a[i + 5]) * np.float64(b[i + 5])
        s6 += np.float64(a[i + 6]) * np.float64(b[i + 6])
        s7 += np.float64(a[i + 7]) * np.float64(b[i + 7])
        i += 8
    while i < n:
        s0 += np.float64(a[i]) * np.float64(b[i])
        i += 1
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _square(a: Any, b: Any, n: int) -> float:
    s0 = s1 = s2 = s3 = 0.0
    i = 0
    while i + 4 <= n:
        d0 = np.float64(a[i]) - np.float64(b[i])
        d1 = np.float64(a[i + 1]) - np.float64(b[i + 1])
        d2 = np.float64(a[i + 2]) - np.float64(b[i + 2])
        d3 = np.float64(a[i + 3]) - np.float64(b[i + 3])
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
        i += 4
    while i < n:
        d0 = np.float64(a[i]) - np.float64(b[i])
        s0 += d0 * d0
        i += 1
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _one(kind: int, query: Any, vectors: Any, rows: Any, out: Any) -> None:
    n = query.shape[0]
    norm = _dot(query, query, n) if kind == 0 else 0.0
    for c in range(rows.shape[0]):
        if rows[c] < 0:
            out[c] = np.inf
            continue
        x = vectors[rows[c]]
        if kind == 0:
            norms = math.sqrt(_dot(x, x, n) * norm)
            cosine = _dot(x, query, n) / norms if norms > 0 else 0.0
            out[c] = max(0.0, 1.0 - cosine)
        elif kind == 1:
            out[c] = math.sqrt(_square(x, query, n))
        elif kind == 2:
            out[c] = _square(x, query, n)
        else:
            out[c] = 0.0 - _dot(x, query, n)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _many(kind: int, queries: Any, vectors: Any, rows: Any, out: Any) -> None:
    for q in range(rows.shape[0]):
        _one(kind, queries[q], vectors, rows[q], out[q])


KINDS = {"cosine": 0, "euclidean": 1, "sqeuclidean": 2, "dot": 3}
FEW = 4096
"""Pairs below which handing them to threads costs more than it saves."""


def measure(
    metric: str, queries_QD: NDArray[np.float32], vectors_ND: NDArray[np.float32], rows_QK: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (Q, K) float32 distances of each query to its own K rows of ``vectors_ND``; -1 is at infinity."""
    out = np.empty(rows_QK.shape, np.float32)
    kind, threads = KINDS[metric], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if rows_QK.size < FEW or threads == 1 or len(out) < 2:
        _many(kind, queries_QD, vectors_ND, rows_QK, out)
        return out
    step = -(-len(out) // threads)
    parts = [slice(start, start + step) for start in range(0, len(out), step)]
    work = [_pool().submit(_many, kind, queries_QD[p], vectors_ND, rows_QK[p], out[p]) for p in parts]
    for one in work:
        one.result()
    return out


@cache
def _pool() -> ThreadPoolExecutor:
    """Plain threads: the loops let go of the interpreter's lock, and unlike numba's own threads they survive a fork."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="nearfar-measure")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
