"""What the back ends share that ask a database: candidates with their vectors come back and are ranked here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.indexing.card import LastingCard, key_of
from nearfar.indexing.metrics import normalised, rough_error
from nearfar.indexing.records import Floats, Id, Label, Neighbours, Records
from nearfar.indexing.tuning import recall_of
from nearfar.ranking import smallest

__all__ = ["Candidates", "Served", "decoded_id", "decoded_label", "encoded_label", "item_of", "key_of", "loads"]


class Candidates(NamedTuple):
    """What a database proposes for one query: numbers of insertion, vectors as added, ids, labels, rough distances.

    ``rough`` are -cos, -q·x or squared distances by the database's own sums, ascending.
    """

    numbers: NDArray[np.int64]
    vectors: Floats
    ids: list[Id]
    labels: list[Label]
    rough: NDArray[np.float64]


class Served(LastingCard):
    """An index whose items lie in a database."""

    def _know_largest(self, vectors: Floats) -> None:
        """Keep a bound on the squared norms, rounded up to a power of two, so that it seldom changes."""
        largest = float(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0))
        known = float(self._described.get("largest_square", 0.0))
        if self.metric != "cosine" and largest > known:
            self._described["largest_square"] = 2.0 ** math.ceil(math.log2(largest))
            self._write_card()

    def _errors(self, query: Floats) -> float:
        pointed = normalised(query[None]) if self.metric == "cosine" else query[None]
        return float(rough_error(self.metric, pointed, float(self._described.get("largest_square", 0.0)))[0])

    def _ranked(self, queries: Floats, found: Sequence[Candidates], k: int) -> Neighbours:
        """Measure each query's candidates and return the k nearest, equal distances in the order of insertion."""
        from nearfar.indexing.measure import measure

        counts = [len(one.ids) for one in found]
        places = np.full((len(found), max(counts, default=0)), -1, np.int64)
        for row, (one, first) in enumerate(zip(found, accumulate(counts, initial=0), strict=False)):
            places[row, : counts[row]] = first + np.argsort(one.numbers, kind="stable")
        vectors = np.concatenate([one.vectors for one in found])
        k = min(k, places.shape[1])
        distances, columns = smallest(measure(self.metric, queries, vectors, places), k)
        nearest = np.take_along_axis(places, columns, axis=1).tolist()
        ids, labels = [[value for one in found for value in one[part]] for part in (2, 3)]
        lists = [row[: min(k, count)] for row, count in zip(nearest, counts, strict=True)]
        return Neighbours(distances, *([[values[at] for at in row] for row in lists] for values in (ids, labels)))

    def _recall(self, found: Neighbours, truth: Neighbours) -> float:
        return recall_of(found.ids, truth.ids)


def encoded_label(label: Label) -> tuple[str | None, bool]:
    """Return a label as text, and whether it stands for a whole number."""
    return (None if label is None else str(label)), isinstance(label, int)


def decoded_label(text: str | None, whole: bool) -> Label:
    """Undo ``encoded_label``."""
    return int(text) if text is not None and whole else text


def decoded_id(text: str, whole: bool) -> Id:
    """Return an id that was kept as text."""
    return int(text) if whole else text


def item_of(rows: Records, row: int) -> dict[str, Any]:
    """Return an item as filters see it."""
    return {**rows.metadata[row], "id": rows.ids[row], "label": rows.labels[row]}


def loads(text: str | None) -> dict[str, Any]:
    """Read metadata."""
    found: dict[str, Any] = json.loads(text) if text else {}
    return found
