"""From rough distances to the k nearest, in the one distance and the one order of all back ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.metrics import (
    Metric,
    normalised,
    rough_distances,
    rough_error,
)
from nearfar.indexing.table import Table
from nearfar.ranking import chunks, smallest

__all__ = ["SLACK", "scan", "scan_some", "scan_table", "settle", "unsettled"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

ELEMENTS = 16_000_000
"""Distances held at once: 64 MB, twice while the nearest are picked. The more, the more queries share a pass."""

SLACK = 16
"""Candidates asked for beyond k: enough, but for many near-equal distances, to know that none is missing."""


def scan_table(table: Table, queries: Floats, k: int, passing: NDArray[np.bool_] | None = None) -> tuple[Floats, Rows]:
    """Compare every query with every living vector, or with those of the slots in ``passing``; see ``scan``.

    ``k`` is at most the number of such slots. Few of them are copied together first; of many, the others are hidden.
    """
    if passing is None and not table.dead:
        return scan(table.metric, queries, table.vectors, table.side, table.largest_square, k)
    shown = table.alive if passing is None else passing
    slots = np.flatnonzero(shown)
    if 3 * len(slots) < table.size:
        return scan_some(table, queries, k, slots)
    return scan(table.metric, queries, table.vectors, table.side, table.largest_square, k, hidden=~shown)


def scan_some(table: Table, queries: Floats, k: int, slots: Rows) -> tuple[Floats, Rows]:
    """Compare every query with the vectors in these slots alone, ascending."""
    few, side = table.vectors[slots], table.side[slots]
    distances, rows = scan(table.metric, queries, few, side, table.largest_square, k)
    return distances, slots[rows]


def scan(
    metric: Metric,
    queries_QD: Floats,
    vectors_ND: Floats,
    side_N: Floats,
    largest_square: float,
    k: int,
    *,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Rows]:
    """Compare every query with every vector.

    A row among the k nearest has a rough distance of at most r + 2 e, where r is the k-th smallest rough distance and e
    bounds the error. All such rows are measured exactly; usually k + ``SLACK`` candidates hold them.

    Returns:
        Distances (Q, k) float32, ascending, and rows (Q, k); equal distances in the order of the rows.
    """
    distances, rows = np.empty((len(queries_QD), k), np.float32), np.empty((len(queries_QD), k), np.int64)
    pointed = normalised(queries_QD) if metric == "cosine" else queries_QD
    errors = rough_error(metric, pointed, largest_square)
    for part in chunks(len(queries_QD), len(vectors_ND), ELEMENTS):
        rough = rough_distances(metric, pointed[part], vectors_ND, side_N)
        if hidden is not None:
            rough[:, hidden] = np.inf
        values, candidates = smallest(rough, min(len(vectors_ND), k + SLACK))
        candidates[np.isinf(values)] = -1
        distances[part], rows[part] = settle(metric, queries_QD[part], vectors_ND, candidates, k)
        for query in np.flatnonzero(unsettled(values, errors[part], k, len(vectors_ND))):
            few = np.flatnonzero(rough[query] <= values[query, k - 1] + 2 * errors[part][query])
            one = part.start + query
            distances[one], rows[one] = _measure(metric, queries_QD[one], vectors_ND, few, k)
    return distances, rows


def settle(metric: Metric, queries_QD: Floats, vectors_ND: Floats, candidates_QK: Rows, k: int) -> tuple[Floats, Rows]:
    """Measure each query's candidates and return the k nearest, as ``scan`` does; -1 is no candidate, at infinity."""
    from nearfar.indexing.measure import measure  # compiled loops, brought in when they are needed

    candidates = np.sort(candidates_QK, axis=1)
    distances, columns = smallest(measure(metric, queries_QD, vectors_ND, candidates), k)
    return distances, np.take_along_axis(candidates, columns, axis=1)


def unsettled(values_QK: Floats, errors_Q: NDArray[np.float64], k: int, count: int) -> NDArray[np.bool_]:
    """Mark the queries (Q,) for which a row beyond the candidates could still belong to the k nearest."""
    if values_QK.shape[1] == count:
        return np.zeros(len(values_QK), dtype=bool)
    return np.asarray(values_QK[:, -1] <= values_QK[:, k - 1] + 2 * errors_Q)


def _measure(metric: Metric, query_D: Floats, vectors_ND: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
    from nearfar.indexing.measure import measure

    distances, columns = smallest(measure(metric, query_D[None], vectors_ND, rows[None]), k)
    return distances[0], rows[columns[0]]
