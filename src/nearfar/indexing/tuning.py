"""Finding the cheapest parameters that keep the target recall, by measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.engines import Engine
from nearfar.indexing.plans import Plan
from nearfar.indexing.records import Floats

__all__ = ["recall_of", "tune"]

QUERIES = 256
K = 10
MARGIN = 0.3
"""Of the allowed loss, the share kept in reserve for queries unlike those measured with."""

PATIENCE = 3
"""So many wider searches in a row without a gain: the codes are the limit, not the breadth."""

Slots = NDArray[np.int64]
Settle = Callable[[Slots, Slots, int], Slots]


def tune(engine: Engine, points: Floats, settle: Settle, target: float, *, seed: int = 0) -> Plan:
    """Return the engine's plan with the cheapest parameters that were measured to reach the target, and set it.

    Queries are ``QUERIES`` of the index's own points, each without itself, compared with an exact search. Parameters
    grow by half an octave at a time; where even the widest search stays below, it is taken, and the plan says so.

    Args:
        engine: filled.
        points: (S, D), all of them living.
        settle: from the rows of Q queries and (Q, C) candidate slots to the k nearest slots, measured again.
        target: recall@10.
        seed: of the choice of queries.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(points), min(QUERIES, len(points)), replace=False))
    queries = np.ascontiguousarray(points[rows])
    k = min(K, len(points) - 1)
    truth = _truth(engine, queries, points, rows, k)
    aim = target + (1 - target) * MARGIN
    best, idle, factor = engine.plan, 0, 0
    for plan in _ladder(engine.plan):
        idle = 0 if plan.factor != factor else idle
        factor = plan.factor
        if idle >= PATIENCE:
            continue
        engine.plan = plan
        _, candidates = engine.search(queries, (k + 1) * plan.factor)
        rough = _recall(_others(candidates[:, : k + 1], rows, k), truth)
        found = rough if plan.factor == 1 else _recall(_others(settle(rows, candidates, k + 1), rows, k), truth)
        exact_codes = plan.kind == "hnsw" or plan.codes == "float"
        idle = idle + 1 if best.recall is not None and found < best.recall + 1e-3 else 0
        if best.recall is None or found > best.recall:
            best = replace(plan, recall=found, rough_recall=None if exact_codes else rough)
        if found >= aim:
            break
    engine.plan = best
    return best


def recall_of(found: Sequence[Sequence[Any]], truth: Sequence[Sequence[Any]]) -> float:
    """Return the mean share of each query's true neighbours that were found."""
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True) if b]
    return float(np.mean(shares)) if shares else 1.0


def _ladder(plan: Plan) -> Iterator[Plan]:
    """Yield plans from cheap to dear."""
    if plan.kind == "hnsw":
        for breadth in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048):
            yield replace(plan, breadth=breadth)
        return
    factors = {"float": (1,), "int8": (2,), "pq": (8, 32), "binary": (16, 64)}[plan.codes]
    steps = sorted({round(2 ** (step / 2)) for step in range(2 * 14)})
    probes = [p for p in steps if p < plan.nlist] + [plan.nlist]
    for probe in probes:
        yield replace(plan, nprobe=probe, factor=factors[0])
    for factor in factors[1:]:
        for probe in probes[len(probes) // 2 :]:
            yield replace(plan, nprobe=probe, factor=factor)


def _truth(engine: Engine, queries: Floats, points: Floats, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT if engine.inner else faiss.METRIC_L2
    _, found = faiss.knn(queries, points, k + 1, metric=metric)
    return _others(found, rows, k)


def _others(found: NDArray[np.int64], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return (Q, k) of (Q, k + 1) without the query itself."""
    itself = found == rows[:, None]
    itself[:, -1] |= ~itself.any(axis=1)
    return np.asarray(found[~itself].reshape(len(found), -1)[:, :k])


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=1)
    return float(hits.mean())
