"""The one distance in compiled loops: query against numbered rows, in float64, rounded once at the end.

Additions may be reordered into as many running sums as the processor adds at once. That depends on the processor and on
the length of the vectors alone, so on one machine a pair has the same distance whatever stands beside it and however
many threads there are. Only numba and numpy may be imported here.
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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _sums(a: Any, b: Any, n: int) -> tuple[float, float, float]:
    aa = bb = ab = 0.0
    for i in range(n):
        x, y = np.float64(a[i]), np.float64(b[i])
        aa += x * x
        bb += y * y
        ab += x * y
    return aa, bb, ab


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _dot(a: Any, b: Any, n: int) -> float:
    total = 0.0
    for i in range(n):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _square(a: Any, b: Any, n: int) -> float:
    total = 0.0
    for i in range(n):
        d = np.float64(a[i]) - np.float64(b[i])
        total += d * d
    return total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _one(kind: int, query: Any, vectors: Any, rows: Any, out: Any) -> None:
    n = query.shape[0]
    for c in range(rows.shape[0]):
        if rows[c] < 0:
            out[c] = np.inf
            continue
        x = vectors[rows[c]]
        if kind == 0:
            xx, qq, xq = _sums(x, query, n)  # in one loop, so that a vector has the same norm on either side
            norms = math.sqrt(xx * qq)
            cosine = xq / norms if norms > 0 else 0.0
            out[c] = max(0.0, 1.0 - cosine)
        elif kind == 1:
            out[c] = math.sqrt(_square(x, query, n))
        elif kind == 2:
            out[c] = _square(x, query, n)
        else:
            out[c] = 0.0 - _dot(x, query, n)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _fetch(vectors: Any, rows: Any, out: Any) -> None:
    """Read one number of every 64 bytes, so that memory brings all rows at once; ``out`` keeps the reads alive."""
    for c in range(rows.shape[0]):
        row, read = max(rows[c], 0), np.float32(0)
        for i in range(0, vectors.shape[1] if len(vectors) else 0, 16):
            read += vectors[row, i]
        out[c] = read


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _many(kind: int, queries: Any, vectors: Any, rows: Any, out: Any) -> None:
    for q in range(rows.shape[0]):
        _fetch(vectors, rows[q], out[q])
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
