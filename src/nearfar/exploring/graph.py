"""Each item's nearest neighbours, computed once in the background; duplicates and doubtful labels follow from them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.exploring.collection import Collection
from nearfar.indexing import Neighbours
from nearfar.progress import say

__all__ = ["Doubt", "Graph", "Group", "find_neighbours"]

K = 10
"""Neighbours of each item."""
AT_ONCE = 512
EXACT = 100_000
"""Items up to which their neighbours are found exactly; beyond, by what the index chooses for a recall of 0.95."""
SURE = 0.6
"""The share of neighbours that must agree on another label before one is doubted."""

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Group:
    """Items that are joined by close pairs: their rows, and the distance of the closest pair."""

    rows: list[int]
    distance: float


@dataclass(frozen=True)
class Doubt:
    """An item whose neighbours have another label than its own."""

    row: int
    given: str
    suggested: str
    votes: int
    of: int


def find_neighbours(
    collection: Collection,
    k: int = K,
    *,
    search: Callable[[Floats, int], Neighbours] | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Rows, Floats]:
    """Return (N, k) rows and distances of each item's nearest others, -1 and infinity where there are fewer."""
    count = len(collection)
    rows = np.full((count, k), -1, np.int32)
    distances = np.full((count, k), np.inf, np.float32)
    ask = search or collection.index.search
    for at in range(0, count, AT_ONCE):
        found = ask(collection.vectors[at : at + AT_ONCE], k + 1)
        for offset, (names, values) in enumerate(zip(found.ids, found.distances, strict=True)):
            own = at + offset
            near = [(collection.row.get(str(name), -1), value) for name, value in zip(names, values, strict=False)]
            near = [(row, value) for row, value in near if row not in (own, -1)][:k]
            for place, (row, value) in enumerate(near):
                rows[own, place], distances[own, place] = row, value
        progress(min(1.0, (at + AT_ONCE) / count))
    return rows, distances


class Graph:
    """The neighbours of all items of a collection, found by a thread once somebody asks.

    Args:
        collection: the items.
        search: asks the index; by default the collection's own, by a service the one that takes turns with writes.
    """

    def __init__(self, collection: Collection, search: Callable[[Floats, int], Neighbours] | None = None) -> None:
        self.collection, self._search = collection, search
        self.progress = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: tuple[Rows, Floats] | None = None
        self._error: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether the neighbours are known; asking begins the search.

        Raises:
            Exception: what the search ended with, if it failed.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._found is None and self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="nearfar-graph")
                self._thread.start()
        return self._found is not None

    def wait(self) -> Graph:
        """Find the neighbours now, in this thread, unless they are known."""
        if self._found is None:
            index = self.collection.index
            if len(self.collection) > EXACT and not index.lasting:
                say(index.optimise())
            self._found = find_neighbours(self.collection, search=self._search, progress=self._note)
        return self

    def _note(self, share: float) -> None:
        self.progress = share

    def _run(self) -> None:
        try:
            self.wait()
        except Exception as error:
            self._error = error

    @property
    def found(self) -> tuple[Rows, Floats]:
        """The neighbours' rows and distances; only once `ready`."""
        assert self._found is not None
        return self._found

    def usual_cut(self) -> tuple[float, float]:
        """Return the cut for duplicates that a page begins with, and the largest that is of use.

        They are a tenth of, and, the median distance to the nearest neighbour: what is ten times closer than usual.
        """
        nearest = self.found[1][:, 0]
        fine = nearest[np.isfinite(nearest)]
        most = max(float(np.median(fine)), 1e-6) if len(fine) else 1.0
        return most / 10, most

    def pairs(self, cut: float) -> list[tuple[int, int, float]]:
        """Return pairs (a < b) not farther apart than the cut, the closest first."""
        rows, distances = self.found
        a, place = np.nonzero((distances <= cut) & (rows >= 0))
        b, d = rows[a, place].astype(np.int64), distances[a, place]
        low, high = np.minimum(a, b), np.maximum(a, b)
        _, first = np.unique(low * len(rows) + high, return_index=True)
        order = first[np.lexsort((high[first], low[first], d[first]))]
        return [(int(low[i]), int(high[i]), max(0.0, float(d[i]))) for i in order]

    def duplicates(self, cut: float) -> list[Group]:
        """Return items joined by pairs not farther apart than the cut, the groups with the closest pair first."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        pairs = self.pairs(cut)
        if not pairs:
            return []
        a, b, d = (np.array(column) for column in zip(*pairs, strict=True))
        count = len(self.collection)
        _, parts = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
        members = np.unique(np.concatenate([a, b]))
        order = members[np.argsort(parts[members], kind="stable")]
        borders = np.flatnonzero(np.diff(parts[order])) + 1
        least: dict[int, float] = {}
        for part, distance in zip(parts[a].tolist(), d.tolist(), strict=True):
            least.setdefault(part, distance)  # pairs come closest first
        groups = [Group(rows.tolist(), least[int(parts[rows[0]])]) for rows in np.split(order, borders)]
        return sorted(groups, key=lambda group: (group.distance, group.rows[0]))

    def doubts(self) -> list[Doubt]:
        """Return items of which at least six of ten neighbours have one and the same other label, the surest first."""
        column = self.collection.column("label")
        if column is None or column.kind != "class":
            return []
        rows, distances = self.found
        codes = column.values.astype(np.int64)
        near = np.where(rows >= 0, codes[rows], -1)
        found: list[tuple[float, Any]] = []
        for row in np.flatnonzero((codes >= 0) & (near[:, :1] >= 0).any(axis=1)):
            known = near[row][near[row] >= 0]
            votes = np.bincount(known)
            best = int(votes.argmax())
            if best != codes[row] and votes[best] >= SURE * len(known) and len(known) >= 3:
                doubt = Doubt(int(row), column.names[codes[row]], column.names[best], int(votes[best]), len(known))
                found.append((-votes[best] / len(known) + float(distances[row, 0]) * 1e-6, doubt))
        return [doubt for _, doubt in sorted(found, key=lambda one: (one[0], one[1].row))]
