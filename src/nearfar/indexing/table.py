"""Ids, labels and vectors in memory, in the order of insertion: what the back ends of one process stand on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import InputError
from nearfar.indexing.base import Label, Neighbours, Records
from nearfar.indexing.metrics import Metric, side_numbers

__all__ = ["Table"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Table:
    """Growing arrays with a dictionary from id to row.

    Args:
        dim: the length of a vector.
        metric: which side numbers to keep.
    """

    def __init__(self, dim: int, metric: Metric) -> None:
        self.metric: Metric = metric
        self.ids: list[str] = []
        self.labels: list[Label] = []
        self.row: dict[str, int] = {}
        self.largest_square = 0.0
        self._vectors: Floats = np.empty((0, dim), np.float32)
        self._side: Floats = np.empty(0, np.float32)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def vectors(self) -> Floats:
        """(N, D) float32, a view."""
        return self._vectors[: len(self.ids)]

    @property
    def side(self) -> Floats:
        """(N,) float32, a view: the vectors' side numbers."""
        return self._side[: len(self.ids)]

    def append(self, ids: list[str], vectors: Floats, labels: list[Label]) -> None:
        """Add rows at the end.

        Raises:
            InputError: when the labels are of another kind than those already there.
        """
        kinds = {type(label) for label in (*labels, next((x for x in self.labels if x is not None), None))}
        if len(kinds - {type(None)}) > 1:
            raise InputError("index add: labels must be all text or all whole numbers within one index, got both")
        before, after = len(self), len(self) + len(ids)
        self._reserve(after)
        self._vectors[before:after] = vectors
        self._side[before:after] = side_numbers(self.metric, vectors)
        self.largest_square = max(self.largest_square, _largest_square(vectors))
        self.row.update(zip(ids, range(before, after), strict=True))
        self.ids += ids
        self.labels += labels

    def delete(self, ids: list[str]) -> Rows:
        """Take rows out, keep the order of the others, and return which rows these were, ascending."""
        rows = np.sort(self.rows(ids))
        keep = np.ones(len(self), dtype=bool)
        keep[rows] = False
        vectors, side = self.vectors[keep], self.side[keep]
        left = np.flatnonzero(keep).tolist()
        self.ids = [self.ids[row] for row in left]
        self.labels = [self.labels[row] for row in left]
        self.row = {name: row for row, name in enumerate(self.ids)}
        self._vectors, self._side = vectors, side
        self.largest_square = _largest_square(vectors)
        return rows

    def rows(self, ids: list[str]) -> Rows:
        """Return the rows of ids that are present."""
        return np.array([self.row[name] for name in ids], dtype=np.int64)

    def records(self, ids: list[str]) -> Records:
        """Return copies of what is kept under ids that are present."""
        rows = self.rows(ids)
        return Records(ids, self.vectors[rows], [self.labels[row] for row in rows.tolist()])

    def neighbours(self, distances: Floats, rows: Rows) -> Neighbours:
        """Put ids and labels to the rows found."""
        listed = rows.tolist()
        ids = [[self.ids[row] for row in found] for found in listed]
        return Neighbours(distances, ids, [[self.labels[row] for row in found] for found in listed])

    def _reserve(self, count: int) -> None:
        if count <= len(self._vectors):
            return
        capacity = max(count, len(self._vectors) * 3 // 2)
        vectors = np.empty((capacity, self._vectors.shape[1]), np.float32)
        side = np.empty(capacity, np.float32)
        vectors[: len(self)], side[: len(self)] = self.vectors, self.side
        self._vectors, self._side = vectors, side


def _largest_square(vectors: Floats) -> float:
    return float(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0))
