"""Retrieval: do an item's nearest neighbours share its class?

Recall@k and R-precision as in Musgrave, Belongie, Lim, "A Metric Learning Reality Check", ECCV 2020,
https://arxiv.org/abs/2003.08505, section 3.2, where MAP@R is defined:

    MAP@R = 1/R Σ_{i=1..R} P(i),   P(i) = precision at i if the i-th retrieval is correct, else 0

with R the number of positives of the query. The reciprocal rank is 1 / (the rank of the first positive).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.intervals import bootstrap_mean
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, unit_rows
from nearfar.ranking import chunks, smallest

__all__ = ["Retrieval", "retrieval_values"]


def retrieval_values(
    embeddings_ND: Floats, labels_N: Labels, ks: tuple[int, ...] = (1, 5, 10)
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return every query's metrics: each row queries all others, by cosine, and never finds itself.

    Distances are made in chunks, never N × N at once. Equal distances rank in the order of the rows.

    Args:
        embeddings_ND: (N, D) float32.
        labels_N: (N,) int64, all known.
        ks: for recall@k: 1 if any of the k nearest is of the query's class.

    Returns:
        The metrics' names (M,), and their values (Q, M) float64 for the Q queries that have a positive.

    Raises:
        InputError: when a k is < 1.
    """
    require(min(ks, default=1) >= 1, "retrieval", "ks", "numbers >= 1", ks)
    names = (*(f"recall@{k}" for k in ks), "map@r", "r-precision", "mrr")
    rows = unit_rows(embeddings_ND)
    _, codes, sizes = np.unique(labels_N, return_inverse=True, return_counts=True)
    positives_N = sizes[codes] - 1
    queries = np.flatnonzero(positives_N)
    if not len(queries):
        return names, np.empty((0, len(names)))
    depth = min(len(rows) - 1, max(int(positives_N.max()), *ks, 1))
    values = [
        _chunk_values(rows, codes, positives_N, queries[part], depth, ks) for part in chunks(len(queries), len(rows))
    ]
    return names, np.concatenate(values)


def _chunk_values(
    rows: Floats, codes: Labels, positives_N: Labels, queries: Labels, depth: int, ks: tuple[int, ...]
) -> NDArray[np.float64]:
    distances = -(rows[queries] @ rows.T)
    distances[np.arange(len(queries)), queries] = np.inf
    _, columns = smallest(distances, depth)
    hits = codes[columns] == codes[queries][:, None]  # (Q, depth)
    R = positives_N[queries]
    ranks = np.arange(1, depth + 1)
    within_R = hits & (ranks <= R[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
    for row in np.flatnonzero(first == 0):  # the nearest positive lies deeper than the list
        first[row] = _first_positive(distances[row], codes == codes[queries[row]])
    recalls = [hits[:, :k].any(axis=1) for k in ks]
    return np.stack([*recalls, (precision * within_R).sum(axis=1) / R, within_R.sum(axis=1) / R, 1 / first], axis=1)


def _first_positive(distances_N: Floats, same_N: NDArray[np.bool_]) -> int:
    """Return the rank, from 1, of the first of the same class (the query itself stands at infinity)."""
    best = int(np.argmin(np.where(same_N, distances_N, np.inf)))
    ahead = (distances_N < distances_N[best]).sum() + (distances_N[:best] == distances_N[best]).sum()
    return int(ahead) + 1


@dataclass(frozen=True)
class Retrieval(Protocol):
    """Leave-one-out retrieval among the test rows.

    Attributes:
        ks: for recall@k.
        resamples: of the bootstrap over queries.
        seed: of the bootstrap.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    resamples: int = 1000
    seed: int = 0

    name: ClassVar[str] = "retrieval"

    def __post_init__(self) -> None:
        require(min(self.ks, default=1) >= 1, "Retrieval", "ks", "numbers >= 1", self.ks)
        require(self.resamples >= 1, "Retrieval", "resamples", ">= 1", self.resamples)

    def describe(self) -> str:
        """Say who queries whom, the metric, what is left out, and the interval."""
        return (
            "retrieval among the test rows, cosine: each row queries all others, itself excluded; queries without "
            "another row of their class are left out and counted; 95 % interval by bootstrap over queries "
            f"({self.resamples} resamples, seed {self.seed})"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``recall@k`` for every k, ``map@r``, ``r-precision`` and ``mrr``; ``train`` is unused."""
        x, y = test.known("retrieval")
        names, values = retrieval_values(x, y, self.ks)
        require(
            len(values) > 0, "retrieval", "test rows", "two or more in some class", "none with another of its class"
        )
        low, high = bootstrap_mean(values, resamples=self.resamples, seed=self.seed)
        left_out = len(y) - len(values)
        note = f"{left_out} queries without a positive left out" if left_out else ""
        for column, name in enumerate(names):
            mean = float(values[:, column].mean())
            yield Score(name, mean, low=float(low[column]), high=float(high[column]), n=len(values), note=note)
