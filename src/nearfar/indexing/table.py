"""Items in memory, in the order of insertion: what the back ends of one process stand on.

An item has a slot. Removing marks the slot as dead, which costs nothing; ``compact`` takes dead slots out and moves the
others up, which costs a copy, so it is done for many at once. Slots keep the order of insertion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.columns import Column, Columns, mask, objects, reserve
from nearfar.indexing.filters import Filter
from nearfar.indexing.metrics import Metric, side_numbers
from nearfar.indexing.records import Floats, Id, Neighbours, Records

__all__ = ["Slots", "Table"]

Slots = NDArray[np.int64]


class Table:
    """Growing arrays with a dictionary from id to slot.

    Args:
        dim: the length of a vector.
        metric: which side numbers to keep.

    Attributes:
        size: how many slots there are, dead ones among them.
        dead: how many of them are dead.
        slot: id to slot, of the living.
        largest_square: no squared norm of a vector is larger.
    """

    def __init__(self, dim: int, metric: Metric) -> None:
        self.metric: Metric = metric
        self.size = self.dead = 0
        self.slot: dict[Id, int] = {}
        self.largest_square = 0.0
        self._ids, self._labels, self._metadata = Column(), Column(), Columns()
        self._thumbnails: dict[int, bytes] = {}
        self._vectors: Floats = np.empty((0, dim), np.float32)
        self._side: Floats = np.empty(0, np.float32)
        self._alive = np.empty(0, bool)
        self._stamps: Slots = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self.size - self.dead

    @property
    def vectors(self) -> Floats:
        """(S, D) float32 by slot, a view."""
        return self._vectors[: self.size]

    @property
    def side(self) -> Floats:
        """(S,) float32 by slot, a view: the vectors' side numbers."""
        return self._side[: self.size]

    @property
    def alive(self) -> NDArray[np.bool_]:
        """(S,) by slot, a view."""
        return self._alive[: self.size]

    @property
    def stamps(self) -> Slots:
        """(S,) int64 by slot, ascending, a view: numbers that stay when slots move."""
        return self._stamps[: self.size]

    @property
    def ids(self) -> list[Id]:
        """All ids in the order of insertion."""
        return list(self.slot)

    @property
    def kinds(self) -> tuple[type | None, type | None]:
        """The types of the ids and of the labels, as far as known."""
        first = next(iter(self.slot), None)
        labels = (value for value in self._labels.values[: self.size] if value is not None)
        return None if first is None else type(first), next((type(label) for label in labels), None)

    def append(self, rows: Records, stamps: Slots | None = None, *, adopt: bool = False) -> None:
        """Add items at the end.

        Args:
            rows: the items.
            stamps: ascending numbers above all before; the next ones if not given.
            adopt: take the array of vectors itself, if the table is empty, and not a copy.
        """
        before, after = self.size, self.size + len(rows.ids)
        self._fit_ids(rows.ids)
        if adopt and not before:
            self._vectors = rows.vectors
        self._reserve(after)
        if not (adopt and not before):
            self._vectors[before:after] = rows.vectors
        first = int(self._stamps[before - 1]) + 1 if before else 0
        self._stamps[before:after] = np.arange(first, first + len(rows.ids)) if stamps is None else stamps
        self._side[before:after] = side_numbers(self.metric, rows.vectors)
        self._alive[before:after] = True
        self._ids.values[before:after] = rows.ids if self._ids.values.dtype == np.int64 else objects(rows.ids)
        self._labels.values[before:after] = objects(rows.labels)
        self.largest_square = max(self.largest_square, largest_square(rows.vectors))
        self.slot.update(zip(rows.ids, range(before, after), strict=True))
        self._metadata.append(rows.metadata)
        for slot, picture in enumerate(rows.thumbnails, start=before):
            if picture is not None:
                self._thumbnails[slot] = picture
        self.size = after

    def delete(self, ids: list[Id]) -> Slots:
        """Mark the slots of ids that are present as dead, and return them."""
        slots = np.array([self.slot.pop(name) for name in ids], dtype=np.int64)
        self._alive[slots] = False
        self.dead += len(slots)
        for slot in slots.tolist() if self._thumbnails else ():
            self._thumbnails.pop(slot, None)
        return slots

    def compact(self) -> Slots:
        """Take dead slots out and return which slots stay, ascending: the new slot is the place in that list."""
        kept = np.flatnonzero(self.alive)
        self._vectors, self._side, self._stamps = self.vectors[kept], self.side[kept], self.stamps[kept]
        for column in (self._ids, self._labels):
            column.values = column.values[kept]
            column.forget()
        self._metadata.keep(kept)
        if self._thumbnails:
            place = dict(zip(kept.tolist(), range(len(kept)), strict=True))
            self._thumbnails = {place[slot]: picture for slot, picture in self._thumbnails.items()}
        self.size, self.dead = len(kept), 0
        self._alive = np.ones(self.size, bool)
        self.slot = dict(zip(self._ids.values.tolist(), range(self.size), strict=True))
        self.largest_square = largest_square(self._vectors)
        return kept

    def passing(self, where: Filter) -> NDArray[np.bool_]:
        """(S,) which slots are alive and pass a filter."""
        return mask(where, self.size, self._column) & self.alive

    def _column(self, name: str) -> Column | None:
        if name not in ("id", "label"):
            return self._metadata.column(name)
        column = self._ids if name == "id" else self._labels
        column.prepare(self.size)
        return column

    def records(self, slots: Slots, *, thumbnails: bool = False) -> Records:
        """Return copies of what is kept in slots."""
        listed = slots.tolist()
        return Records(
            self._ids.values[slots].tolist(),
            self.vectors[slots],
            self._labels.values[slots].tolist(),
            self._metadata.rows(listed),
            [self._thumbnails.get(slot) for slot in listed] if thumbnails else [],
        )

    def batches(self, size: int, slots: Slots | None = None, *, thumbnails: bool = False) -> Iterator[Records]:
        """Yield the living items (or those of ``slots``) in order, ``size`` at a time."""
        slots = np.flatnonzero(self.alive) if slots is None else slots
        for start in range(0, len(slots), size):
            yield self.records(slots[start : start + size], thumbnails=thumbnails)

    def neighbours(self, distances: Floats, slots: Slots) -> Neighbours:
        """Put ids and labels to the slots found; those at infinite distance are none."""
        ids, labels = self._ids.values[slots].tolist(), self._labels.values[slots].tolist()
        if distances.size and np.isinf(distances[:, -1]).any():
            counts = np.isfinite(distances).sum(axis=1).tolist()
            ids = [found[:count] for found, count in zip(ids, counts, strict=True)]
            labels = [found[:count] for found, count in zip(labels, counts, strict=True)]
            width = max(counts)
            distances = distances[:, :width]
        return Neighbours(distances, ids, labels)

    def _fit_ids(self, ids: list[Id]) -> None:
        """Keep whole numbers as such: bringing 10,000 scattered objects from memory takes as long as finding them."""
        whole, kept = bool(ids) and isinstance(ids[0], int), self._ids.values
        if whole and not self.size and kept.dtype == object:
            self._ids.values = np.zeros(len(kept), np.int64)
        elif ids and not whole and kept.dtype == np.int64:  # all numbers were removed before texts came
            self._ids.values = kept.astype(object)

    def _reserve(self, count: int) -> None:
        if count <= len(self._alive):
            return
        capacity = max(count, len(self._alive) * 3 // 2)
        if len(self._vectors) < count:
            self._vectors = _grown(self._vectors, capacity, self.size)
        self._side = _grown(self._side, capacity, self.size)
        self._alive = _grown(self._alive, capacity, self.size)
        self._stamps = _grown(self._stamps, capacity, self.size)
        self._ids.values = reserve(self._ids.values, capacity)
        self._labels.values = reserve(self._labels.values, capacity)


def _grown(array: NDArray[Any], capacity: int, used: int) -> NDArray[Any]:
    larger = np.empty((capacity, *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


def largest_square(vectors: Floats) -> float:
    """Return the largest squared norm of (N, D)."""
    return float(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0))
